using KeyVa.Cluster;
using KeyVa.Cluster.Transport;
using KeyVa.Cluster.Wire;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>Nodes of one process, on disks in memory, that reach each other by calls.</summary>
internal sealed class ThreeNodes : IAsyncDisposable
{
    private readonly InProcessNetwork _network = new();
    private readonly Dictionary<long, MemoryFileSystem> _disks = [];
    private readonly Dictionary<long, ClusterNode> _nodes = [];

    public IReadOnlyDictionary<long, ClusterNode> Nodes => _nodes;

    /// <summary>What writes are answered by that do not say so.</summary>
    public Acknowledgement Acknowledgement { get; init; } = Acknowledgement.Sync;

    /// <summary>Long, so that a slow machine fails no test; short where nothing is to come of it.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(30);

    public static ThreeNodes Start(TimeSpan? requestTimeout = null, int nodes = 3, Acknowledgement? acknowledgement = null)
    {
        var cluster = new ThreeNodes { RequestTimeout = requestTimeout ?? TimeSpan.FromSeconds(30), Acknowledgement = acknowledgement ?? Acknowledgement.Sync };
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

    /// <summary>Everything arrives again.</summary>
    public void Heal() => _network.Loses = null;

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

    public ClusterNode Open(long id, bool joins, params long[] peers)
    {
        MemoryFileSystem disk = Disk(id);
        ClusterNode node = ClusterNode.Open(
            "/data",
            new StoreOptions { JournalSegmentBytes = 1 << 20, MemtableBytes = 1 << 20, BlockCacheBytes = 1 << 20, Acknowledgement = Acknowledgement },
            new ClusterOptions
            {
                Name = "test",
                Node = id,
                Peers = peers.ToDictionary(static peer => peer, static peer => new ClusterPeer("127.0.0.1", (int)(7000 + peer))),
                Joins = joins,
                ElectionTimeout = TimeSpan.FromMilliseconds(200),
                RequestTimeout = RequestTimeout,
            },
            _network.Join((ulong)id, disk),
            new StoreEnvironment { FileSystem = disk });
        _nodes[id] = node;
        return node;
    }

    public MemoryFileSystem Disk(long id) => _disks.TryGetValue(id, out MemoryFileSystem? disk) ? disk : _disks[id] = new MemoryFileSystem();

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
