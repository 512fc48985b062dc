using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using KeyVa.Engines;
using KeyVa.Transactions;

namespace KeyVa.Partitions;

/// <summary>What a <see cref="ScanCursor"/> stands on. One thread at a time.</summary>
/// <remarks>
/// Used again and again, so that a scan allocates nothing: a thread keeps a few that were disposed on it.
/// 1. <see cref="Generation"/> rises when it is disposed. A handle with an older one is dead: it throws, whoever uses the
///    state now. (A handle that one thread uses while another disposes it breaks the rule of one thread at a time.)
/// 2. In the pool it holds no partition, snapshot or engine's cursor.
/// </remarks>
internal sealed class ScanState : IDisposable
{
    /// <summary>Disposed states that a thread keeps.</summary>
    private const int MaxPooled = 4;

    [ThreadStatic]
    private static Stack<ScanState>? _pool;

    private readonly ScanPlan _plan = new();
    private readonly Snapshot _snapshot = new();
    private VersionOracle? _oracle;
    private EngineCursor? _cursor;
    private TransactionScan? _transaction;

    // The partition that the cursor is in, and the one to open when it is through.
    private int _partition;
    private int _nextPartition;
    private bool _skipAfter;
    private long _left;

    // When expiry is judged as of: 0: now; -1: never.
    private long _expiryAt;

    /// <summary>See invariant 1.</summary>
    public int Generation { get; private set; }

    public Status Status { get; private set; }

    public string? Detail { get; private set; }

    public ScanPlan Plan => _plan;

    public bool KeysOnly => _plan.KeysOnly;

    public long SnapshotVersion => _oracle is null ? 0 : _snapshot.Version;

    /// <summary>The record it stands on.</summary>
    public EngineCursor Current
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            if (_cursor is null)
            {
                ThrowOnNoRecord();
            }

            return _cursor;
        }
    }

    public static ScanState Rent() => _pool is { Count: > 0 } pool ? pool.Pop() : new ScanState();

    /// <summary>The scan is refused, or is over nothing.</summary>
    public void Refuse(Status status, string? detail)
    {
        Status = status;
        Detail = detail;
        _left = 0;
    }

    /// <summary>
    /// Begins the scan of the plan, which is prepared; returns the snapshot for the caller to open. <paramref name="transaction"/>: it
    /// is of a transaction, which lays its own writes over each partition and hears what was read.
    /// </summary>
    public Snapshot Begin(VersionOracle oracle, AsOf at, TransactionScan? transaction = null)
    {
        _transaction = transaction;
        _expiryAt = !at.IsSet ? 0 : at.IsTime ? at.UnixMilliseconds : -1;
        Status = Status.Ok;
        Detail = null;
        _oracle = oracle;
        _nextPartition = _plan.FirstPartition;
        _skipAfter = _plan.After.Length > 0;
        _left = _plan.Limit;
        return _snapshot;
    }

    public bool MoveNext()
    {
        if (_left == 0)
        {
            return false;
        }

        while (_cursor is not null || OpenNext())
        {
            while (_cursor!.MoveNext())
            {
                long expiresAt = _cursor.ExpiresAt;
                if (expiresAt == 0 || expiresAt > (_expiryAt == 0 ? _oracle!.Now() : _expiryAt))
                {
                    _left--;
                    return true;
                }
            }

            CloseCursor();
        }

        return false;
    }

    public void Seek(ReadOnlySpan<byte> key)
    {
        if (_oracle is null)
        {
            return;
        }

        int partition = _plan.PartitionFor(key, inclusive: true);
        if (_cursor is null || partition != _partition)
        {
            CloseCursor();
            _nextPartition = partition;
            if (!OpenNext(resume: false))
            {
                return;
            }
        }

        _skipAfter = false;
        _cursor!.Seek(key);
    }

    /// <summary>Closes the scan and makes its handles dead.</summary>
    public void Dispose()
    {
        Generation++;
        CloseCursor();
        if (_oracle is not null)
        {
            _oracle = null;
            _transaction = null;
            _snapshot.Dispose();
            _plan.Unpin();
        }

        Stack<ScanState> pool = _pool ??= new Stack<ScanState>(MaxPooled);
        if (pool.Count < MaxPooled)
        {
            pool.Push(this);
        }
        else
        {
            _plan.Dispose();
        }
    }

    [DoesNotReturn]
    private static void ThrowOnNoRecord() => throw new InvalidOperationException("the cursor stands on no record; call MoveNext first");

    private void CloseCursor()
    {
        EngineCursor? cursor = _cursor;
        _cursor = null;
        cursor?.Dispose();
    }

    private bool OpenNext(bool resume = true)
    {
        if ((uint)_nextPartition >= (uint)_plan.Partitions.Count)
        {
            return false;
        }

        _partition = _nextPartition;
        _nextPartition += _plan.Reverse ? -1 : 1;
        Partition partition = _plan.Partitions[_partition];
        EngineCursor cursor = _plan.Open(partition, _snapshot.Version);
        if (_transaction is not null)
        {
            cursor = _transaction.Over(cursor, partition, _plan);
        }

        if (resume && _skipAfter)
        {
            _skipAfter = false;
            if (partition.Engine.IsOrdered || partition.Range.Contains(_plan.After))
            {
                cursor = new CursorAfter(cursor, _plan.After);
            }
        }

        _cursor = cursor;
        return true;
    }

    /// <summary>Begins behind a key: seeks to it and leaves it out if it is still there.</summary>
    private sealed class CursorAfter : EngineCursor
    {
        private readonly EngineCursor _cursor;
        private readonly byte[] _after;
        private bool _begun;

        public CursorAfter(EngineCursor cursor, ReadOnlySpan<byte> after)
        {
            _cursor = cursor;
            _after = after.ToArray();
            cursor.Seek(after);
        }

        public override ReadOnlySpan<byte> Key => _cursor.Key;

        public override ReadOnlySpan<byte> Value => _cursor.Value;

        public override long Version => _cursor.Version;

        public override long Stamp => _cursor.Stamp;

        public override long ExpiresAt => _cursor.ExpiresAt;

        public override bool MoveNext()
        {
            if (_begun)
            {
                return _cursor.MoveNext();
            }

            _begun = true;
            return _cursor.MoveNext() && (!_cursor.Key.SequenceEqual(_after) || _cursor.MoveNext());
        }

        public override void Seek(ReadOnlySpan<byte> key)
        {
            _begun = true;
            _cursor.Seek(key);
        }

        public override void Dispose() => _cursor.Dispose();
    }
}
