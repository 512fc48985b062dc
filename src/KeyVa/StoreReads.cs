using System.Diagnostics;
using KeyVa.Engines;
using KeyVa.Measurements;
using KeyVa.Partitions;

namespace KeyVa;

/// <summary>
/// How a <see cref="Store"/> reads: finds the partition, looks the key up or opens a snapshot, and never waits for a writer
/// but to read several partitions at one version. Thread-safe. A part of its store: a struct, so that a read pays no indirection.
/// </summary>
internal readonly struct StoreReads(PartitionRegistry registry, StoreContext context, StoreCounters counters, LatencyHistogram latency)
{
    private readonly PartitionRegistry _registry = registry;
    private readonly StoreContext _context = context;
    private readonly StoreCounters _counters = counters;
    private readonly LatencyHistogram _latency = latency;

    /// <summary>A record of its own, or why there is none.</summary>
    public static ReadResult Copy(ReadOnlyMemory<byte> key, in ValueLease lease) => lease.Found
        ? new ReadResult { Status = Status.Ok, Record = CopyRecord(key, lease) }
        : new ReadResult { Status = lease.Status, Detail = Describe(lease.Status, key.Length) };

    /// <summary>The record that a cursor stands at, of its own.</summary>
    public static Record Copy(ScanCursor cursor) => new()
    {
        Key = cursor.Key.ToArray(),
        Value = cursor.Value.ToArray(),
        Version = cursor.Version,
        ModifiedUnixMilliseconds = cursor.ModifiedUnixMilliseconds,
        ExpiresAtUnixMilliseconds = cursor.ExpiresAtUnixMilliseconds,
    };

    /// <summary>What a key holds now; the caller counts the read.</summary>
    public ValueLease Read(scoped ReadOnlySpan<byte> key)
    {
        // The stay covers the look-up too: a partition that is being removed keeps its engine until readers have left.
        Epochs.Enter();
        try
        {
            Partition? partition = _registry.Map.Find(key);
            if (partition is null || (uint)(key.Length - 1) >= Limits.MaxKeyBytes)
            {
                return new ValueLease { Status = Refusals.CheckKey(key.Length, Status.BadNode) };
            }

            if (!partition.Engine.TryGet(key, ReadVersion.Latest, out ValueLease lease))
            {
                return new ValueLease { Status = Status.NotFound };
            }

            if (lease.ExpiresAtUnixMilliseconds != 0 && lease.ExpiresAtUnixMilliseconds <= _context.Oracle.Now())
            {
                lease.Dispose();
                return new ValueLease { Status = Status.NotFound };
            }

            lease.Status = Status.Ok;
            _counters.Add(Counter.GetsFound);
            return lease;
        }
        finally
        {
            Epochs.Exit();
        }
    }

    /// <summary>A key will be read or written soon; the first step of <see cref="Engine.Prefetch"/>. Returns the partition's number, 0 if there is none.</summary>
    public long Prefetch(ReadOnlySpan<byte> key, ulong hash)
    {
        Epochs.Enter();
        try
        {
            if (_registry.Map.Find(key) is not { } partition)
            {
                return 0;
            }

            partition.Engine.Prefetch(hash, isPlaceHere: false);
            return partition.Id;
        }
        finally
        {
            Epochs.Exit();
        }
    }

    /// <summary>The second step, for keys of one partition.</summary>
    public void Prefetch(long partition, ReadOnlySpan<ulong> hashes)
    {
        Epochs.Enter();
        try
        {
            if (_registry.Map.TryFind(partition, out Partition? found))
            {
                foreach (ulong hash in hashes)
                {
                    found.Engine.Prefetch(hash, isPlaceHere: true);
                }
            }
        }
        finally
        {
            Epochs.Exit();
        }
    }

    /// <summary>Reads keys at one version, and counts the reads.</summary>
    public async ValueTask<MultiReadResult> ReadAll(IReadOnlyList<ReadOnlyMemory<byte>> keys, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(keys);
        cancellation.ThrowIfCancellationRequested();
        long start = Stopwatch.GetTimestamp();
        using MultiGet get = MultiGet.Create(keys, _registry.Map, out Status status, out string? detail);
        if (status != Status.Ok)
        {
            return new MultiReadResult { Status = status, Detail = detail, Records = [] };
        }

        using Snapshot snapshot = new();
        OpenSnapshot(get.Partitions, snapshot, out ValueTask closed);
        await closed.ConfigureAwait(false);
        IReadOnlyList<Record?> records = get.Read(snapshot.Version, _context.Oracle, out int found);
        _counters.Add(Counter.Gets, keys.Count);
        _counters.Add(Counter.GetsFound, found);
        _latency.RecordSince(start);
        return new MultiReadResult { Status = Status.Ok, Records = records };
    }

    /// <summary>A scan at a snapshot, which may be read once <paramref name="closed"/> has ended.</summary>
    public ScanState OpenScan(ScanOptions options, out ValueTask closed)
    {
        ArgumentNullException.ThrowIfNull(options);
        _counters.Add(Counter.Scans);
        ScanState state = ScanState.Rent();
        bool prepared;
        Epochs.Enter();
        try
        {
            prepared = state.Plan.TryPrepare(options, _registry.Map, out Status status, out string? detail);
            if (!prepared)
            {
                state.Refuse(status, detail);
            }
        }
        finally
        {
            Epochs.Exit();
        }

        closed = default;
        if (prepared && !options.At.IsSet)
        {
            OpenSnapshot(state.Plan.Partitions, state.Begin(_context.Oracle, default), out closed);
        }
        else if (prepared)
        {
            Snapshot snapshot = state.Begin(_context.Oracle, options.At);
            if (PastReader.TryOpen(_context, state.Plan.Partitions, options.At, snapshot, out Status status, out string? detail, out long begins))
            {
                closed = WaitForAll(state.Plan.Partitions, snapshot.Version);
            }
            else
            {
                state.Refuse(status, detail, begins);
            }
        }

        return state;
    }

    private static Record CopyRecord(ReadOnlyMemory<byte> key, in ValueLease lease) => new()
    {
        Key = key,
        Value = lease.Value.ToArray(),
        Version = lease.Version,
        ModifiedUnixMilliseconds = lease.ModifiedUnixMilliseconds,
        ExpiresAtUnixMilliseconds = lease.ExpiresAtUnixMilliseconds,
    };

    private static string? Describe(Status status, int keyBytes) => status switch
    {
        Status.NotFound => null,
        Status.BadNode => Refusals.BadNodeDetail,
        _ => Refusals.DescribeKey(keyBytes),
    };

    /// <summary>
    /// A snapshot of one partition stands at what is visible there. One of several stands at the newest version handed
    /// out, and may be read once each of them has closed it.
    /// </summary>
    private void OpenSnapshot(ArraySegment<Partition> partitions, Snapshot snapshot, out ValueTask closed)
    {
        closed = default;
        if (partitions.Count == 1)
        {
            _context.Snapshots.Open(partitions[0].Engine, snapshot);
            return;
        }

        _context.Snapshots.Open(_context.AcrossPartitions, snapshot);
        foreach (Partition partition in partitions)
        {
            ValueTask one = partition.Writer.WaitUntilClosed(snapshot.Version);
            if (!one.IsCompletedSuccessfully)
            {
                closed = WaitForAll(partitions, snapshot.Version);
                break;
            }
        }
    }

    private static async ValueTask WaitForAll(ArraySegment<Partition> partitions, long version)
    {
        foreach (Partition partition in partitions)
        {
            await partition.Writer.WaitUntilClosed(version).ConfigureAwait(false);
        }
    }
}
