using System.Diagnostics;
using KeyVa.Cluster;
using KeyVa.Cluster.Transport;
using KeyVa.Cluster.Wire;
using KeyVa.Io;
using KeyVa.Partitions;
using KeyVa.Tests.Cluster.Processes;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>Nodes of one process, on disks in memory, that reach each other by calls.</summary>
internal sealed class ThreeNodes : IAsyncDisposable
{
    public static readonly TimeSpan ShortElectionTimeout = TimeSpan.FromMilliseconds(200);

    /// <summary>For tests that go by who leads: longer than a busy machine keeps a leader from its heartbeats.</summary>
    public static readonly TimeSpan SteadyElectionTimeout = TimeSpan.FromSeconds(2);

    private readonly InProcessNetwork _network = new();
    private readonly Dictionary<long, MemoryFileSystem> _disks = [];
    private readonly Dictionary<long, ClusterNode> _nodes = [];

    public IReadOnlyDictionary<long, ClusterNode> Nodes => _nodes;

    /// <summary>What writes are answered by that do not say so.</summary>
    public Acknowledgement Acknowledgement { get; init; } = Acknowledgement.Sync;

    /// <summary>Long, so that a slow machine fails no test; short where nothing is to come of it.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Short, since most tests wait for elections, and what an election disturbs is tried again.</summary>
    public TimeSpan ElectionTimeout { get; init; } = ShortElectionTimeout;

    /// <summary>Where the keys are split into partitions.</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>> SplitAt { get; init; } = [];

    /// <summary>Whether the partition is volatile, so that each node has one of its own.</summary>
    public bool IsVolatile { get; init; }

    public bool FallsSilent { get; init; } = true;

    /// <summary>The program's own functions of nodes that are opened from here on.</summary>
    public IReadOnlyList<MergeFunction> MergeFunctions { get; set; } = [];

    /// <summary>Whether nodes that are opened from here on have leases.</summary>
    public bool LeaseReads { get; set; }

    public static ThreeNodes Start(
        TimeSpan? requestTimeout = null,
        int nodes = 3,
        Acknowledgement? acknowledgement = null,
        bool isVolatile = false,
        bool fallsSilent = true,
        bool leaseReads = false,
        TimeSpan? electionTimeout = null,
        IReadOnlyList<MergeFunction>? mergeFunctions = null,
        params IReadOnlyList<ReadOnlyMemory<byte>> splitAt)
    {
        var cluster = new ThreeNodes
        {
            RequestTimeout = requestTimeout ?? TimeSpan.FromSeconds(30),
            Acknowledgement = acknowledgement ?? Acknowledgement.Sync,
            IsVolatile = isVolatile,
            FallsSilent = fallsSilent,
            LeaseReads = leaseReads,
            ElectionTimeout = electionTimeout ?? ShortElectionTimeout,
            MergeFunctions = mergeFunctions ?? [],
            SplitAt = splitAt,
        };
        long[] all = [.. Enumerable.Range(1, nodes).Select(static id => (long)id)];
        foreach (long id in all)
        {
            cluster.Open(id, all);
        }

        return cluster;
    }

    /// <summary>From here on a node's entries do not reach these others, while everything else does: it leads on, and nobody else has what it takes.</summary>
    public void Withhold(long from, params long[] to) =>
        _network.Loses = (sender, receiver, frame) => (long)sender == from && to.Contains((long)receiver) && HasEntries(frame, from, (long)receiver);

    /// <summary>From here on nothing of a node reaches another, while everything else does.</summary>
    public void LoseFrom(long from, long to) => _network.Loses = (sender, receiver, _) => (long)sender == from && (long)receiver == to;

    /// <summary>From here on nothing reaches anybody.</summary>
    public void LoseAll() => _network.Loses = static (_, _, _) => true;

    /// <summary>Everything arrives again.</summary>
    public void Heal() => _network.Loses = null;

    /// <summary>
    /// Counts frames that groups send and those that are signs of life alone, for one window after the other until one is as it should be; and how long that one was,
    /// which is longer than was asked for where the machine is busy.
    /// </summary>
    public async Task<(long OfGroups, long Signs, TimeSpan Lasted)> CountFramesAsync(Func<(long OfGroups, long Signs), bool> isRight, TimeSpan window, TimeSpan patience)
    {
        long begun = Stopwatch.GetTimestamp();
        while (true)
        {
            long ofGroups = 0, signs = 0;
            long from = Stopwatch.GetTimestamp();
            _network.Loses = (sender, receiver, frame) =>
            {
                Assert.True(FrameReader.TryOpen(frame, XxHash64.Compute("test"u8), (long)sender, (long)receiver, out FrameReader reader));
                _ = reader.TryRead(out _) ? Interlocked.Increment(ref ofGroups) : Interlocked.Increment(ref signs);
                return false;
            };
            await Pause.ForAsync(window);
            _network.Loses = null;
            (long, long) counted = (Interlocked.Read(ref ofGroups), Interlocked.Read(ref signs));
            if (isRight(counted))
            {
                return (counted.Item1, counted.Item2, Stopwatch.GetElapsedTime(from));
            }

            Assert.True(Stopwatch.GetElapsedTime(begun) < patience, $"in the last window of {window.TotalSeconds} s groups sent {counted.Item1} frames, and {counted.Item2} were signs of life");
        }
    }

    private static bool HasEntries(ReadOnlyMemory<byte> frame, long from, long to)
    {
        bool found = false;
        Assert.True(FrameReader.TryOpen(frame, XxHash64.Compute("test"u8), from, to, out FrameReader reader));
        while (reader.TryRead(out FrameItem item))
        {
            found |= item.Message.Kind == KeyVa.Raft.MessageKind.Append && item.Message.Entries.Length > 0;
        }

        return found;
    }

    /// <summary>Opens a node on its disk; the peers are those of its first start.</summary>
    public ClusterNode Open(long id, params long[] peers) => Open(id, joins: false, peers);

    public ClusterNode Open(long id, bool joins, params long[] peers) => Open(id, joins, SplitAt, peers);

    public ClusterNode Open(long id, bool joins, IReadOnlyList<ReadOnlyMemory<byte>> splitAt, params long[] peers)
    {
        MemoryFileSystem disk = Disk(id);
        ClusterNode node = ClusterNode.Open(
            "/data",
            new StoreOptions
            {
                JournalSegmentBytes = 1 << 20,
                MemtableBytes = 1 << 20,
                BlockCacheBytes = 1 << 20,
                Acknowledgement = Acknowledgement,
                SplitAt = splitAt,
                MergeFunctions = MergeFunctions,
                Engine = IsVolatile ? EngineKind.Memory : EngineKind.Lsm,
                Volatile = IsVolatile,
            },
            new ClusterOptions
            {
                Name = "test",
                Node = id,
                Peers = peers.ToDictionary(static peer => peer, static peer => new ClusterPeer("127.0.0.1", (int)(7000 + peer))),
                Joins = joins,
                ElectionTimeout = ElectionTimeout,
                FallsSilent = FallsSilent,
                LeaseReads = LeaseReads,
                RequestTimeout = RequestTimeout,
            },
            _network.Join((ulong)id, disk),
            new StoreEnvironment { FileSystem = disk });
        _nodes[id] = node;
        return node;
    }

    public MemoryFileSystem Disk(long id) => _disks.TryGetValue(id, out MemoryFileSystem? disk) ? disk : _disks[id] = new MemoryFileSystem();

    /// <summary>Hands leadership of one partition over, and waits until every node knows.</summary>
    public async Task LeadAsync(long partition, long node)
    {
        while (true)
        {
            long[] leaders = [.. (await Task.WhenAll(_nodes.Values.Select(static one => one.GetStatusAsync()))).Select(status => status.Single(one => one.Partition == partition).Leader)];
            if (leaders.All(leader => leader == node))
            {
                return;
            }

            if (leaders[0] > 0 && leaders[0] != node && _nodes.TryGetValue(leaders[0], out ClusterNode? leader))
            {
                await leader.TransferAsync(partition, node);
            }
        }
    }

    /// <summary>Takes a node out, which is the caller's to stop.</summary>
    public ClusterNode Take(long id)
    {
        ClusterNode node = _nodes[id];
        _nodes.Remove(id);
        return node;
    }

    public async Task StopAsync(long id)
    {
        await _nodes[id].DisposeAsync();
        _nodes.Remove(id);
    }

    /// <summary>Who leads, once somebody does.</summary>
    public async Task<long> LeaderAsync()
    {
        ClusterNode any = _nodes.Values.First();
        while (true)
        {
            if (await any.ConfirmReadsAsync() == Status.Ok && (await any.GetStatusAsync())[0].Leader is > 0 and var leader && _nodes.ContainsKey(leader))
            {
                return leader;
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (ClusterNode node in _nodes.Values)
        {
            await node.DisposeAsync();
        }
    }
}
