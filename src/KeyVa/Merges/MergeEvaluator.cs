using System.Globalization;
using KeyVa.Engines;
using KeyVa.Partitions;

namespace KeyVa.Merges;

/// <summary>
/// Evaluates the merges of one command after another against a partition's newest state, and keeps what they came to until the command
/// is written: so that a command of which one merge is refused changes nothing.
/// </summary>
/// <remarks>
/// <para>Thread-safety: writer only; for a commit over several partitions its values stay from check to apply, since their roles are held.</para>
/// <para>It reads the newest state of the merged keys and nothing older, so a replay over files that have forgotten history comes to the same. Each key
/// stands in a command once, so its merges do not see each other, nor what the command removes.</para>
/// </remarks>
internal sealed class MergeEvaluator(MergeRegistry registry)
{
    /// <summary>What the merges of one command may come to together; more would be applied at once without room having been made for it.</summary>
    public const int MaxCommandBytes = Limits.MaxValueBytesCeiling;

    private readonly MergeResult _result = new();
    private readonly List<(int Offset, int Length, long ExpiresAt)> _values = [];

    /// <summary>Merges evaluated since <see cref="Begin"/>.</summary>
    public int Count => _values.Count;

    /// <summary>Forgets the values of the command before.</summary>
    public void Begin()
    {
        _result.Clear();
        _values.Clear();
    }

    /// <summary>What the merge came to, by its place among the merges of the command.</summary>
    public ReadOnlySpan<byte> Value(int merge) => _result.Slice(_values[merge].Offset, _values[merge].Length);

    /// <summary>When the merged key expires; 0: never.</summary>
    public long ExpiresAt(int merge) => _values[merge].ExpiresAt;

    /// <summary>A copy of every value.</summary>
    public ReadOnlyMemory<byte>[] Copy()
    {
        var values = new ReadOnlyMemory<byte>[_values.Count];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = Value(i).ToArray();
        }

        return values;
    }

    /// <summary>Evaluates one merge. Ok; or MergeRefused or TooLarge, with the reason in <paramref name="detail"/>.</summary>
    /// <exception cref="StoreException">The function is not known, or threw; or the key cannot be read.</exception>
    public Status Evaluate(Engine engine, in Operation operation, long stamp, out string? detail)
    {
        int offset = _result.Length;
        bool found = engine.TryGet(operation.Key, ReadVersion.Newest, out ValueLease lease);
        using (lease)
        {
            bool exists = found && !CommandApplier.IsExpired(lease, stamp);
            var input = new MergeInput
            {
                Key = operation.Key,
                Exists = exists,
                Existing = exists ? lease.Value : default,
                Operand = operation.Value,
            };
            Status status = MergeStack.Is(operation.Function)
                ? MergeCall.RunStack(registry, operation.Value, input, _result, operation.Limit, out detail)
                : MergeCall.Run(registry.Resolve(operation.Function), input, _result, operation.Limit, out detail);
            if (status != Status.Ok)
            {
                return status;
            }

            long expiresAt = operation.Expiry != 0 ? operation.ExpiresAt(stamp) : exists ? lease.ExpiresAtUnixMilliseconds : 0;
            _values.Add((offset, _result.Length - offset, expiresAt));
            if (_result.Length <= MaxCommandBytes)
            {
                return Status.Ok;
            }

            detail = string.Create(CultureInfo.InvariantCulture, $"the merges of the batch would come to more than {MaxCommandBytes} bytes together");
            return Status.TooLarge;
        }
    }
}
