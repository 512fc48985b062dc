using KeyVa.Cluster.Transport;
using KeyVa.Cluster.Transport.ZeroMq;
using KeyVa.Io;

namespace KeyVa.Tests.Cluster.Transport;

/// <summary>Nodes over libzmq on loopback, with keys or without.</summary>
internal sealed class ZmqNodes(bool withKeys) : TransportNodes
{
    public static readonly Guid Cluster = new("0102030405060708090a0b0c0d0e0f10");

    private readonly Dictionary<ulong, NodeKeys> _keys = [];
    private readonly Dictionary<ulong, int> _ports = [];
    private readonly Dictionary<ulong, TcpRelay> _relays = [];

    /// <summary>What nodes that are started from here on are like; number, port and keys are their own.</summary>
    public Func<ZmqTransportOptions, ZmqTransportOptions> Options { get; set; } = static options => options;

    /// <summary>A transport by what it is.</summary>
    public ZmqTransport Zmq(ulong node) => (ZmqTransport)Transport(node);

    public int Port(ulong node) => _ports[node];

    public NodeKeys? Keys(ulong node) => withKeys ? _keys.TryGetValue(node, out NodeKeys? keys) ? keys : _keys[node] = NodeKeys.Create() : null;

    /// <summary>Has everybody who is told of a node's address from here on connect through a relay.</summary>
    public TcpRelay Relay(ulong node) => _relays[node] = new TcpRelay(() => _ports[node]);

    /// <summary>Gives a node another pair of keys, without telling anybody.</summary>
    public void Rekey(ulong node) => _keys[node] = NodeKeys.Create();

    public override async Task MoveAsync(ulong node)
    {
        await Transport(node).DisposeAsync();
        _ports.Remove(node);
        Add(node);
        foreach (ulong other in Numbers.Where(other => other != node))
        {
            SetPeers(other, [.. Numbers.Where(one => one != other)]);
        }

        await ReconnectAsync(node);
    }

    public PeerAddress Address(ulong node) => AddressOf(node);

    protected override ITransport Create(ulong node, IFileSystem files) => new ZmqTransport(
        Options(new ZmqTransportOptions
        {
            Node = node,
            Cluster = Cluster,
            Port = _ports.TryGetValue(node, out int port) ? port : Ports.Take(),
            Keys = Keys(node),
            ReconnectMostMilliseconds = 100,

            // Longer than a busy machine stands still: these connections end because somebody ends them.
            HeartbeatTimeoutMilliseconds = 20_000,
            Snapshots = new SnapshotStreamOptions { Retry = TimeSpan.FromMilliseconds(500) },
        }),
        files);

    protected override PeerAddress AddressOf(ulong node) =>
        new("127.0.0.1", _relays.TryGetValue(node, out TcpRelay? relay) ? relay.Port : _ports[node], Keys(node)?.PublicKey);

    protected override void Started(ulong node, ITransport transport) => _ports[node] = ((ZmqTransport)transport).Port;

    protected override async ValueTask CloseAsync()
    {
        foreach (TcpRelay relay in _relays.Values)
        {
            await relay.DisposeAsync();
        }
    }
}
