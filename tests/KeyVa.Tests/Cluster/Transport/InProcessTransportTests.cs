using KeyVa.Cluster.Transport;
using KeyVa.Io;

namespace KeyVa.Tests.Cluster.Transport;

/// <summary>The suite over nodes of one process, as the simulator has them.</summary>
public sealed class InProcessTransportTests : TransportSuite
{
    internal override async Task<TransportNodes> StartAsync(params ulong[] nodes)
    {
        Nodes started = new();
        await started.StartAsync(nodes);
        return started;
    }

    private sealed class Nodes : TransportNodes
    {
        private readonly InProcessNetwork _network = new();

        public override Task MoveAsync(ulong node) => RestartAsync(node);

        protected override ITransport Create(ulong node, IFileSystem files) => _network.Join(node, files);

        protected override PeerAddress AddressOf(ulong node) => new("in-process", (int)node);

        // There are no connections: whoever has joined is there.
        protected override Task ConnectedAsync(ulong node, ulong other) => Task.CompletedTask;
    }
}
