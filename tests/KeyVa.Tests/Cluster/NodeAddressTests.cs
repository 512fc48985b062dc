using System.Net;
using KeyVa.Cluster;
using KeyVa.Cluster.Transport;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>An address or a key at which no node can be reached is refused, and does no harm: neither here nor at those who are told of it.</summary>
public sealed class NodeAddressTests
{
    private static readonly ClusterPeer Elsewhere = new("192.0.2.1", 7404);

    private readonly InProcessNetwork _network = new();

    [Fact]
    public async Task AnAddressThatTheTransportRefusesIsNotInTheBook()
    {
        var disk = new MemoryFileSystem();
        await using (ClusterNode node = Open(1, disk, isChecking: true, 1))
        {
            await Assert.ThrowsAsync<StoreException>(() => node.AddNodeAsync(2, Elsewhere));
            Assert.Equal([1L], node.KnownNodes());
            var door = new IPEndPoint(IPAddress.Loopback, 7400);
            node.Announce(new NodeAddresses { Rest = door, Data = door, Control = door, Resp = door });
            Assert.Equal("127.0.0.1:7400", node.AddressesOf(1)!.Rest);
            Assert.True((await node.Store.UpsertAsync("a"u8.ToArray(), "1"u8.ToArray())).IsOk);
        }

        await using ClusterNode again = Open(1, disk, isChecking: true, 1);
        Assert.Equal([1L], again.KnownNodes());
    }

    [Fact] // Of a node that is opened with a wrong list, and then with the right one
    public async Task AnAddressThatTheTransportRefusesIsNotWrittenDown()
    {
        var disk = new MemoryFileSystem();
        Assert.Throws<StoreException>(() => Open(1, disk, isChecking: true, peer => peer == 22 ? Elsewhere : Local(peer), 1, 22));
        await using ClusterNode node = Open(1, disk, isChecking: true, 1);
        Assert.Equal([1L], node.KnownNodes());
    }

    [Fact] // From a node of a build, or with settings, that let it in
    public async Task AnAddressThatAPeerTellsOfStopsNobody()
    {
        await using ClusterNode one = Open(1, new MemoryFileSystem(), isChecking: false, 1, 2);
        await using ClusterNode two = Open(2, new MemoryFileSystem(), isChecking: true, 1, 2);
        Assert.True((await two.Store.UpsertAsync("a"u8.ToArray(), "1"u8.ToArray())).IsOk);
        Assert.Equal(Status.Unavailable, (await one.AddNodeAsync(3, Elsewhere)).Status);
        Assert.Equal([1L, 2L, 3L], one.KnownNodes());
        Assert.Null((await two.GetStatusAsync())[0].Failure);
        Assert.Equal([1L, 2L], two.KnownNodes());
        Assert.Contains("192.0.2.1", two.BookFailure!.Message, StringComparison.Ordinal);
        Assert.True((await two.Store.UpsertAsync("a"u8.ToArray(), "2"u8.ToArray())).IsOk);
    }

    private static ClusterPeer Local(long node) => new("127.0.0.1", (int)(7000 + node));

    private ClusterNode Open(long id, MemoryFileSystem disk, bool isChecking, params long[] peers) => Open(id, disk, isChecking, Local, peers);

    private ClusterNode Open(long id, MemoryFileSystem disk, bool isChecking, Func<long, ClusterPeer> at, params long[] peers)
    {
        ITransport transport = _network.Join((ulong)id, disk);
        return ClusterNode.Open(
            "/data",
            new StoreOptions { JournalSegmentBytes = 1 << 20, MemtableBytes = 1 << 20, BlockCacheBytes = 1 << 20 },
            new ClusterOptions
            {
                Name = "test",
                Node = id,
                Peers = peers.ToDictionary(static peer => peer, at),
                ElectionTimeout = TimeSpan.FromMilliseconds(200),
                RequestTimeout = TimeSpan.FromSeconds(5),
            },
            isChecking ? new Checking(transport) : transport,
            new StoreEnvironment { FileSystem = disk });
    }

    /// <summary>Refuses peers, as the transport of real clusters does without keys.</summary>
    private sealed class Checking(ITransport inner) : ITransport
    {
        public ISnapshotStreams Snapshots => inner.Snapshots;

        public bool TrySend(ulong peer, ReadOnlySpan<byte> frame) => inner.TrySend(peer, frame);

        public void SetPeers(IReadOnlyDictionary<ulong, PeerAddress> peers)
        {
            foreach ((ulong peer, PeerAddress address) in peers)
            {
                if (address.Host != "127.0.0.1")
                {
                    throw new StoreException($"node {peer} is at '{address}', and connections beyond this machine need keys");
                }
            }

            inner.SetPeers(peers);
        }

        public void Start(ITransportReceiver receiver) => inner.Start(receiver);

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }
}
