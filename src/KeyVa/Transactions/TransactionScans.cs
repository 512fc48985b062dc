using KeyVa.Engines;
using KeyVa.Measurements;
using KeyVa.Partitions;
using KeyVa.Transactions.Locks;

namespace KeyVa.Transactions;

/// <summary>How a transaction opens a scan: at its snapshot, or at one of the call's own under the lock of the range.</summary>
internal static class TransactionScans
{
    public static ScanCursor Open(TransactionBody body, ScanOptions options)
    {
        ScanState state = Prepare(body, options, out bool isReady);
        if (isReady && body.LocksReads)
        {
            isReady = Granted(state, body, body.Lock(state.Plan.From, state.Plan.To, isRange: true, LockMode.Shared));
        }

        if (isReady)
        {
            state = Begin(body, state, out ValueTask closed);
            if (!closed.IsCompletedSuccessfully)
            {
                closed.AsTask().GetAwaiter().GetResult();
            }
        }

        return new ScanCursor(state);
    }

    /// <summary>As <see cref="Open"/>, without blocking the thread.</summary>
    public static async ValueTask<ScanCursor> OpenAsync(TransactionBody body, ScanOptions options)
    {
        ScanState state = Prepare(body, options, out bool isReady);
        if (isReady && body.LocksReads)
        {
            ValueTask<Status> locked = body.LockAsync(state.Plan.From, state.Plan.To, isRange: true, LockMode.Shared);
            isReady = Granted(state, body, await locked.ConfigureAwait(false));
        }

        if (isReady)
        {
            state = Begin(body, state, out ValueTask closed);
            await closed.ConfigureAwait(false);
        }

        return new ScanCursor(state);
    }

    /// <summary>Opens a snapshot of partitions for one call; it may be read when <paramref name="closed"/> has ended.</summary>
    public static void OpenSnapshot(LiveTransactions live, ArraySegment<Partition> partitions, Snapshot snapshot, out ValueTask closed)
    {
        if (partitions.Count == 1)
        {
            live.Snapshots.Open(partitions[0].Engine, snapshot);
            closed = default;
        }
        else
        {
            live.Snapshots.Open(live.AcrossPartitions, snapshot);
            closed = WaitForAll(partitions, snapshot.Version);
        }
    }

    private static ScanState Prepare(TransactionBody body, ScanOptions options, out bool isReady)
    {
        ArgumentNullException.ThrowIfNull(options);
        body.Live.Counters.Add(Counter.Scans);
        ScanState state = ScanState.Rent();
        Status status = body.EndStatus;
        string? detail = body.Detail;
        isReady = false;
        if (body.IsActive && options.At.IsSet)
        {
            status = Status.Unsupported;
            detail = "a transaction scans at its own snapshot; scan the store itself for a version or time of the past";
        }
        else if (body.IsActive && body.IsFull)
        {
            status = Status.TooLarge;
            detail = TransactionCommit.TooLarge(body.Live.StoreOptions.MaxTransactionBytes);
        }
        else if (body.IsActive)
        {
            Epochs.Enter();
            try
            {
                isReady = state.Plan.TryPrepare(options, body.Live.Map, out status, out detail);
            }
            finally
            {
                Epochs.Exit();
            }
        }

        if (!isReady)
        {
            state.Refuse(status, detail);
        }

        return state;
    }

    private static bool Granted(ScanState state, TransactionBody body, Status locked)
    {
        if (locked == Status.Ok)
        {
            return true;
        }

        state.Plan.Unpin();
        state.Refuse(locked, body.Detail);
        return false;
    }

    private static ScanState Begin(TransactionBody body, ScanState state, out ValueTask closed)
    {
        if (body.SeesKeys)
        {
            body.Seen.Add(state.Plan.From, state.Plan.To);
        }

        // One that only reads needs nothing laid over the store; its cursor goes on by itself.
        bool isPlain = body.IsReadOnly && !body.SeesUncommitted;
        Snapshot snapshot = state.Begin(body.Live.Oracle, default, isPlain ? null : new TransactionScan(body));
        ArraySegment<Partition> partitions = state.Plan.Partitions;
        if (body.At == ReadVersion.Latest)
        {
            OpenSnapshot(body.Live, partitions, snapshot, out closed);
            return state;
        }

        body.Live.Snapshots.Share(body.Snapshot, snapshot);
        closed = default;
        if (body.IsActive)
        {
            closed = WaitForAll(partitions, snapshot.Version);
            return state;
        }

        // It was ended meanwhile, and what the snapshot sees may have been forgotten before it was shared.
        state.Dispose();
        ScanState refused = ScanState.Rent();
        refused.Refuse(body.EndStatus, body.Detail);
        return refused;
    }

    private static ValueTask WaitForAll(ArraySegment<Partition> partitions, long version)
    {
        foreach (Partition partition in partitions)
        {
            ValueTask one = partition.Writer.WaitUntilClosed(version);
            if (!one.IsCompletedSuccessfully)
            {
                return Wait(partitions, version);
            }
        }

        return default;

        static async ValueTask Wait(ArraySegment<Partition> partitions, long version)
        {
            foreach (Partition partition in partitions)
            {
                await partition.Writer.WaitUntilClosed(version).ConfigureAwait(false);
            }
        }
    }
}
