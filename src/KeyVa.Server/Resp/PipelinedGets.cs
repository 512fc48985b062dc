using System.Diagnostics;
using KeyVa.Partitions;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>
/// The GETs that stand one behind the other in a pipeline. A read of one random key among millions is mostly waiting for memory; so the places of
/// several are fetched first, then what stands there, and then they are read one by one as if alone. One thread at a time.
/// </summary>
/// <remarks>Each is a read of its own, at its own moment: nothing but the waiting is shared.</remarks>
internal sealed class PipelinedGets
{
    /// <summary>As many as the processor's buffers for lines under way can serve, about.</summary>
    private const int MaxGets = 32;

    [ThreadStatic]
    private static PipelinedGets? _ofThisThread;

    private readonly ReadOnlyMemory<byte>[] _keys = new ReadOnlyMemory<byte>[MaxGets];
    private readonly ulong[] _hashes = new ulong[MaxGets];
    private readonly int[] _places = new int[MaxGets];
    private int _count;
    private long _partition;
    private long _began;

    /// <summary>Empty between two calls of <see cref="RespSession.Process"/>, so one per thread is enough.</summary>
    public static PipelinedGets OfThisThread => _ofThisThread ??= new PipelinedGets();

    public bool IsEmpty => _count == 0;

    public bool IsFull => _count == MaxGets;

    /// <summary>Takes a key, whose bytes must stay until <see cref="TryReply"/>, and the place in the buffer where its command begins.</summary>
    public void Add(Store store, ReadOnlyMemory<byte> key, int place)
    {
        Debug.Assert(!IsFull, "the caller replies when it is full");
        ulong hash = XxHash64.Compute(key.Span);
        long partition = store.Prefetch(key.Span, hash);

        if (_count == 0)
        {
            _began = Stopwatch.GetTimestamp();
        }

        // Of several partitions the last one is fetched from alone: a hint, no more.
        _partition = partition;
        _places[_count] = place;
        _hashes[_count] = hash;
        _keys[_count++] = key;
    }

    /// <summary>Forgets keys that will not be answered: their connection has failed.</summary>
    public void Forget() => _count = 0;

    /// <summary>
    /// Replies to all; or, if that comes to more than is to wait for a client, to the first: false, and <paramref name="place"/> is where the others begin.
    /// </summary>
    public bool TryReply(RespSession session, int most, ref int place)
    {
        int count = _count;
        _count = 0;
        long began = session.Reads.TakeAsked() is > 0 and var confirming ? confirming : _began;
        long asked = ReadTimes.Begin(session.Door.Observer.Tracer);
        if (count > 1)
        {
            session.Door.Store.Prefetch(_partition, _hashes.AsSpan(0, count));
        }

        for (int i = 0; i < count; i++)
        {
            Reply(session, _keys[i].Span);
            if (session.Output.Length > most && i + 1 < count)
            {
                place = _places[i + 1];
                Observe(session, began, asked, i + 1);
                return false;
            }
        }

        Observe(session, began, asked, count);
        return true;
    }

    /// <summary>Replies what a key holds now.</summary>
    private static void Reply(RespSession session, ReadOnlySpan<byte> key)
    {
        RespOutput output = session.Output;
        int place = output.Length;
        try
        {
            using ValueLease lease = session.Door.Store.Get(key);
            if (lease.Found)
            {
                output.Bulk(lease.Value);
            }
            else if (lease.Status is Status.NotFound or Status.Invalid or Status.TooLarge)
            {
                output.Null();
            }
            else
            {
                output.Error(RespErrors.Of(lease.Status, null));
            }
        }
        catch (StoreException failure)
        {
            session.Refuse(failure, place);
        }
    }

    private void Observe(RespSession session, long began, long asked, int count)
    {
        GetsObservation request = new(session, _keys[0], count, ReadTimes.End(asked));
        session.Door.Observer.End(session.Door.Meter, Operation.Get, began, ref request, count);
    }
}
