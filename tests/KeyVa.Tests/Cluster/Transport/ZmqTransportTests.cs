using KeyVa.Cluster.Transport;
using KeyVa.Cluster.Transport.ZeroMq;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Cluster.Transport;

/// <summary>The suite over libzmq without keys.</summary>
public sealed class PlainZmqTransportTests : ZmqTransportSuite
{
    protected override bool WithKeys => false;

    [Theory]
    [InlineData("0.0.0.0")]
    [InlineData("*")]
    [InlineData("192.0.2.1")]
    [InlineData("node.example")]
    public void WithoutKeysLoopbackAloneIsAllowed(string host)
    {
        ZmqTransportOptions options = new() { Node = 1, Cluster = ZmqNodes.Cluster, Port = 0 };
        Assert.Contains("keyva keygen", Assert.Throws<StoreException>(() => new ZmqTransport(options with { Host = host }, new MemoryFileSystem())).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task WithoutKeysPeersBeyondThisMachineAreRefused()
    {
        await using ZmqTransport transport = new(new ZmqTransportOptions { Node = 1, Cluster = ZmqNodes.Cluster, Port = 0 }, new MemoryFileSystem());
        StoreException refused = Assert.Throws<StoreException>(() => transport.SetPeers(new Dictionary<ulong, PeerAddress> { [2] = new("192.0.2.1", 7404) }));
        Assert.Contains("node 2", refused.Message, StringComparison.Ordinal);
        Assert.Contains("keyva keygen", refused.Message, StringComparison.Ordinal);
    }
}

/// <summary>The suite over libzmq with CURVE, and what keys are for.</summary>
public sealed class CurveZmqTransportTests : ZmqTransportSuite
{
    protected override bool WithKeys => true;

    [Fact]
    public async Task AWrongKeyIsRefusedAndTheRightOneTaken()
    {
        await using ZmqNodes nodes = await StartZmqAsync(1, 2);
        await nodes.Transport(2).DisposeAsync();
        await nodes.Recorder(1).UntilAsync(2, isUp: false);
        NodeKeys right = nodes.Keys(2)!;
        nodes.Rekey(2);
        await nodes.RestartWithoutWaiting(2);
        await UntilAsync(() => nodes.Zmq(1).RefusedKeys > 0);
        await UntilAsync(() => nodes.Zmq(2).Describe(1)?.Refusal == Refusal.KeyUnknown);
        Assert.False(nodes.Transport(2).TrySend(1, [1]));
        Assert.False(nodes.Transport(1).TrySend(2, [1]));
        Assert.True(nodes.Recorder(1).IsSilent);
        Assert.NotEqual(right.PublicKey, nodes.Keys(2)!.PublicKey);

        // Told the new key, node 1 lets the other in, which has gone on trying.
        nodes.SetPeers(1, 2);
        await nodes.Recorder(2).UntilAsync(1, isUp: true);
        await SendAsync(nodes, 2, 1, [7]);
        Assert.Equal([7], await nodes.NextAsync(at: 1, from: 2));
    }

    [Fact]
    public async Task AKeyThatIsAnothersSpeaksForNobodyElse()
    {
        await using ZmqNodes nodes = await StartZmqAsync(1, 2, 3);
        // Node 3's key is admitted, but not as node 2.
        await using ZmqTransport impostor = new(new ZmqTransportOptions { Node = 2, Cluster = ZmqNodes.Cluster, Port = 0, Keys = nodes.Keys(3) }, new MemoryFileSystem());
        impostor.SetPeers(new Dictionary<ulong, PeerAddress> { [1] = nodes.Address(1) });
        impostor.Start(new TransportRecorder());
        await UntilAsync(() => impostor.Describe(1)?.Refusal == Refusal.Key);
        Assert.False(impostor.TrySend(1, [1]));
        Assert.True(nodes.Recorder(1).IsSilent);
    }

    [Fact]
    public async Task WhoseKeyIsNotTheExpectedOneIsToldNothing()
    {
        await using ZmqNodes nodes = await StartZmqAsync(1, 2);
        PeerAddress elsewhere = nodes.Address(2) with { PublicKey = NodeKeys.Create().PublicKey };
        nodes.Transport(1).SetPeers(new Dictionary<ulong, PeerAddress> { [2] = elsewhere });
        await UntilAsync(() => nodes.Zmq(1).Describe(2)?.Refusal == Refusal.Key);
        Assert.False(nodes.Transport(1).TrySend(2, [1]));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("short")]
    [InlineData("0123456789012345678901234567890123456~89")]
    public async Task AKeyThatIsNoneIsRefused(string? key)
    {
        await using ZmqNodes nodes = await StartZmqAsync(1);
        Assert.Contains("node 2", Assert.Throws<StoreException>(
            () => nodes.Transport(1).SetPeers(new Dictionary<ulong, PeerAddress> { [2] = new("127.0.0.1", 1, key) })).Message, StringComparison.Ordinal);
    }
}
