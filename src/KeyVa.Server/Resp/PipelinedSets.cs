using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using KeyVa.Io;
using KeyVa.Measurements;
using KeyVa.Partitions;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>
/// Gathers the plain SETs that stand one behind the other in a pipeline into batches, one per partition, so that they share the work of a write and,
/// if the store syncs, one sync. Their replies come when all are as durable as the store promises.
/// </summary>
/// <remarks>
/// <para>Belongs to one session at a time, from its first SET of a pipeline until the last is answered.</para>
/// <para>Invariants.
/// 1. No key stands twice among those that have not been answered: whatever becomes of one batch, no other holds an older or newer value of its keys.
/// 2. A batch that is refused changed nothing. Its SETs are done one by one then, so that each has the answer it would have had alone. Not so where that is no matter of what they write
/// (<see cref="IsOfAll"/>): a batch whose end is not known may be done yet, and nothing of it is sent a second time.</para>
/// </remarks>
internal sealed class PipelinedSets
{
    /// <summary>SETs that are gathered at most.</summary>
    private const int MaxSets = 1024;

    /// <summary>Batches under way at most.</summary>
    private const int MaxBatches = 64;

    /// <summary>SETs for which there is room at first: where syncs are waited for, each of many connections has such a place at once.</summary>
    private const int FirstSets = 32;

    private const int SlotsPerSet = 4;

    private readonly Store _store;
    private readonly List<Batch> _batches = [];

    // Of each SET, as many as there is room for.
    private int[] _batchOf = new int[FirstSets];
    private ulong[] _hashes = new ulong[FirstSets];

    // An open-addressed set of hashes; a slot counts if its round is the present one, so that forgetting all costs nothing.
    private (uint Round, ulong Hash)[] _seen = new (uint, ulong)[FirstSets * SlotsPerSet];
    private uint _round = 1;
    private int _firstOpen;
    private int _firstGathered;
    private int _firstSeen;
    private int _started;
    private long _began;

    public PipelinedSets(Store store) => _store = store;

    /// <summary>SETs that have not been answered.</summary>
    public int Count { get; private set; }

    /// <summary>Once they are written: where the time of the batch went that was noted last; null: of none.</summary>
    public WriteTimes? Times
    {
        get
        {
            WriteTimes? times = null;
            for (int i = 0; i < _started; i++)
            {
                times = _batches[i].Take().Times ?? times;
            }

            return times;
        }
    }

    /// <summary>The key of the first SET that is here.</summary>
    public byte[] FirstKey()
    {
        ReadOnlySpan<byte> commands = _batches[_batchOf[0]].Writes.Commands.Buffer.Written;
        return OperationEncoding.TryRead(ref commands, out KeyVa.Partitions.Operation put) ? put.Key.ToArray() : [];
    }

    /// <summary>Takes a SET; false: it is one that the store would refuse, its key is among those here (or seems to be), or there are too many already.</summary>
    public bool TryAdd(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, in WriteOptions options)
    {
        StoreOptions limits = _store.Options;
        if (Count == MaxSets || (uint)(key.Length - 1) >= Limits.MaxKeyBytes || value.Length > limits.MaxValueBytes)
        {
            return false;
        }

        if (Count == _hashes.Length)
        {
            Grow();
        }

        ulong hash = XxHash64.Compute(key);
        if (!TrySee(hash))
        {
            return false;
        }

        long partition = _store.Prefetch(key, hash);
        if (partition == 0)
        {
            return false;
        }

        int batch = OpenBatch(partition, key.Length + value.Length, limits.MaxBatchBytes);
        if (batch < 0)
        {
            return false;
        }

        if (Count == 0)
        {
            _began = Stopwatch.GetTimestamp();
        }

        _batches[batch].Writes.Commands.Put(key, value, options, isDistinct: true);
        _hashes[Count] = hash;
        _batchOf[Count++] = batch;
        return true;
    }

    /// <summary>Has everything written and replies, if that needs no waiting; false: <see cref="FinishAsync"/> does it.</summary>
    public bool TryFinish(RespSession session)
    {
        RespOutput output = session.Output;
        StartAll();
        for (int i = 0; i < _started; i++)
        {
            if (!_batches[i].IsDone)
            {
                return false;
            }
        }

        for (int i = 0; i < _started; i++)
        {
            if (!_batches[i].Take().IsOk)
            {
                return false;
            }
        }

        for (int i = 0; i < Count; i++)
        {
            output.Ok();
        }

        for (int i = 0; i < _started; i++)
        {
            session.Receipts?.Note(_batches[i].Take());
        }

        Observe(session);
        Clear();
        return true;
    }

    /// <summary>Waits for what <see cref="TryFinish"/> did not, and replies.</summary>
    public async Task FinishAsync(RespSession session)
    {
        RespOutput output = session.Output;
        for (int i = 0; i < _started; i++)
        {
            Batch batch = _batches[i];
            await batch.WaitAsync();
            if (batch.Take() is { IsOk: false, Status: var status } && !IsOfAll(status))
            {
                await batch.WriteOneByOneAsync(_store);
            }
        }

        Span<int> next = stackalloc int[MaxBatches];
        for (int i = 0; i < Count; i++)
        {
            int batch = _batchOf[i];
            WriteResult result = _batches[batch].ResultOf(next[batch]++);
            session.Receipts?.Note(result);
            if (result.IsOk)
            {
                output.Ok();
            }
            else
            {
                output.Error(RespErrors.Of(result.Status, result.Detail));
            }
        }

        Observe(session);
        Clear();
    }

    /// <summary>Whether a write that ended so says what every other of its partition would be told now, after as long a wait.</summary>
    private static bool IsOfAll(Status status) => status is Status.Unavailable or Status.Unknown or Status.Failed;

    private void Observe(RespSession session)
    {
        if (Count > 0)
        {
            SetsObservation request = new(session, this);
            session.Door.Observer.End(session.Door.Meter, Operation.Upsert, _began, ref request, Count);
        }
    }

    private void Grow()
    {
        int room = Math.Min(_hashes.Length * 4, MaxSets);
        Array.Resize(ref _batchOf, room);
        Array.Resize(ref _hashes, room);
        _seen = new (uint, ulong)[room * SlotsPerSet];
        _round = 1;
        foreach (ulong hash in _hashes.AsSpan(_firstSeen, Count - _firstSeen))
        {
            TrySee(hash);
        }
    }

    /// <summary>False: a key with this hash is among those that have not been answered.</summary>
    private bool TrySee(ulong hash)
    {
        int last = _seen.Length - 1;
        for (int slot = (int)(hash & (ulong)last); ; slot = (slot + 1) & last)
        {
            ref (uint Round, ulong Hash) seen = ref _seen[slot];
            if (seen.Round != _round)
            {
                seen = (_round, hash);
                return true;
            }

            if (seen.Hash == hash)
            {
                return false;
            }
        }
    }

    private int OpenBatch(long partition, int bytes, int maxBytes)
    {
        for (int i = _firstOpen; i < _started; i++)
        {
            if (_batches[i].Partition == partition && _batches[i].Writes.Bytes + bytes <= maxBytes)
            {
                return i;
            }
        }

        if (_started == MaxBatches)
        {
            return -1;
        }

        if (_started == _batches.Count)
        {
            _batches.Add(new Batch());
        }

        _batches[_started].Partition = partition;
        return _started++;
    }

    private void StartAll()
    {
        if (Count - _firstGathered > 1)
        {
            // Of several partitions the last one is fetched from alone: a hint, no more.
            _store.Prefetch(_batches[_started - 1].Partition, _hashes.AsSpan(_firstGathered, Count - _firstGathered));
        }

        _firstGathered = Count;
        while (_firstOpen < _started)
        {
            _batches[_firstOpen++].Start(_store);
        }

        ForgetSeen();
    }

    private void ForgetSeen()
    {
        _firstSeen = Count;
        if (++_round == 0)
        {
            Array.Clear(_seen);
            _round = 1;
        }
    }

    private void Clear()
    {
        for (int i = 0; i < _started; i++)
        {
            _batches[i].Clear();
        }

        _started = 0;
        _firstOpen = 0;
        _firstGathered = 0;
        _firstSeen = 0;
        Count = 0;
    }

    private sealed class Batch
    {
        /// <summary>What is said of SETs behind one that did not get anywhere.</summary>
        private static readonly WriteResult NotTried = new()
        {
            Status = Status.Unavailable,
            FailedOperation = -1,
            Detail = "a write before it in the pipeline could not be done, so this one was not tried; nothing was done, try again",
        };

        private ValueTask<WriteResult> _write;
        private WriteResult? _result;
        private List<WriteResult>? _each;

        public WriteBatch Writes { get; } = new();

        public long Partition { get; set; }

        public bool IsDone => _result is not null || _write.IsCompleted;

        [SuppressMessage("Reliability", "CA2012", Justification = "taken once: the result is kept")]
        public void Start(Store store) => _write = store.WriteAsync(Writes);

        [SuppressMessage("Reliability", "CA2012", Justification = "taken once: the result is kept")]
        public WriteResult Take() => _result ??= _write.GetAwaiter().GetResult();

        public async ValueTask WaitAsync() => _result ??= await _write;

        public WriteResult ResultOf(int set) => _each is null ? _result!.Value : _each[set];

        public async Task WriteOneByOneAsync(Store store)
        {
            _each = [];
            using WriteBatch one = new();
            int offset = 0;
            WriteResult last = default;
            while (TryCopyNext(one, ref offset))
            {
                last = IsOfAll(last.Status) ? NotTried : await store.WriteAsync(one);
                _each.Add(last);
                one.Clear();
            }
        }

        public void Clear()
        {
            Writes.Clear();
            _write = default;
            _result = null;
            _each = null;
        }

        private bool TryCopyNext(WriteBatch one, ref int offset)
        {
            NativeBuffer commands = Writes.Commands.Buffer;
            ReadOnlySpan<byte> rest = commands.Written[offset..];
            if (!OperationEncoding.TryRead(ref rest, out KeyVa.Partitions.Operation put))
            {
                return false;
            }

            offset = commands.Length - rest.Length;
            Expiry expiry = put.Expiry == 0 ? default : put.IsExpiryRelative ? Expiry.InMilliseconds(put.Expiry) : Expiry.AtUnixMilliseconds(put.Expiry);
            one.Put(put.Key, put.Value, new WriteOptions { Expiry = expiry });
            return true;
        }
    }
}
