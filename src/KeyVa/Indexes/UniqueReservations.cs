using System.Diagnostics.CodeAnalysis;

namespace KeyVa.Indexes;

/// <summary>
/// Values of unique indexes that writes under way are about to take: of two writes of one value, whichever partitions they go to,
/// the second waits until the first is done, and then sees it.
/// </summary>
/// <remarks>
/// Thread-safe. Places are taken in the order of their bytes, so that no two commands wait for each other; whoever waits for one is
/// served in the order of coming. Only writes of partitions that are not alone use it.
/// </remarks>
internal sealed class UniqueReservations
{
    private const int Stripes = 32;

    private readonly Dictionary<byte[], Queue<TaskCompletionSource>?>[] _stripes = new Dictionary<byte[], Queue<TaskCompletionSource>?>[Stripes];

    public UniqueReservations()
    {
        for (int i = 0; i < Stripes; i++)
        {
            _stripes[i] = new Dictionary<byte[], Queue<TaskCompletionSource>?>(BytesComparer.Instance);
        }
    }

    /// <summary>Takes these places, which differ; they become ordered. Ends when all of them are held.</summary>
    public async ValueTask EnterAsync(List<byte[]> places)
    {
        places.Sort(static (a, b) => a.AsSpan().SequenceCompareTo(b));
        foreach (byte[] place in places)
        {
            if (Enter(place) is { } turn)
            {
                await turn.ConfigureAwait(false);
            }
        }
    }

    /// <summary>Gives them back.</summary>
    public void Leave(List<byte[]> places)
    {
        foreach (byte[] place in places)
        {
            Dictionary<byte[], Queue<TaskCompletionSource>?> stripe = StripeOf(place);
            lock (stripe)
            {
                if (stripe[place] is { Count: > 0 } waiting)
                {
                    waiting.Dequeue().SetResult();
                }
                else
                {
                    stripe.Remove(place);
                }
            }
        }
    }

    private Task? Enter(byte[] place)
    {
        Dictionary<byte[], Queue<TaskCompletionSource>?> stripe = StripeOf(place);
        lock (stripe)
        {
            if (stripe.TryAdd(place, null))
            {
                return null;
            }

            var turn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            (stripe[place] ??= new Queue<TaskCompletionSource>()).Enqueue(turn);
            return turn.Task;
        }
    }

    private Dictionary<byte[], Queue<TaskCompletionSource>?> StripeOf(byte[] place) =>
        _stripes[(uint)BytesComparer.Instance.GetHashCode(place) % Stripes];

    internal sealed class BytesComparer : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
    {
        public static readonly BytesComparer Instance = new();

        public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

        public int GetHashCode([DisallowNull] byte[] obj) => GetHashCode(obj.AsSpan());

        public int GetHashCode(ReadOnlySpan<byte> alternate)
        {
            var hash = default(HashCode);
            hash.AddBytes(alternate);
            return hash.ToHashCode();
        }

        public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

        public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();
    }
}
