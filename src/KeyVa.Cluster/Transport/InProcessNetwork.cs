namespace KeyVa.Cluster.Transport;

/// <summary>
/// Nodes of one process that reach each other by calls: for tests, and for the simulator, which decides what becomes of each frame.
/// Nothing happens on a thread of its own: deliveries are handed to <see cref="Schedule"/>.
/// </summary>
internal sealed class InProcessNetwork
{
    private readonly Lock _gate = new();
    private readonly Dictionary<ulong, InProcessTransport> _nodes = [];

    /// <summary>Takes what is to happen in the peer's surroundings: at once, later, twice or never, from one thread at a time for each peer.</summary>
    /// <param name="from">The sender.</param>
    /// <param name="to">The receiver.</param>
    /// <param name="delivery">The delivery; it does nothing if the receiver is gone by then.</param>
    /// <param name="lost">What the sender is told when it has waited too long, in its surroundings; it does nothing if the delivery was answered. Null: nobody waits.</param>
    public delegate void Scheduling(ulong from, ulong to, Action delivery, Action? lost);

    /// <summary>See <see cref="Scheduling"/>; at once, unless told otherwise.</summary>
    public Scheduling Schedule { get; set; } = static (_, _, delivery, _) => delivery();

    /// <summary>Which frames are lost on their way, from a node to another; null: none.</summary>
    public Func<ulong, ulong, ReadOnlyMemory<byte>, bool>? Loses { get; set; }

    /// <summary>A node's way into the network. A number that is taken is taken over, as by a process that was started anew.</summary>
    public InProcessTransport Join(ulong node, Io.IFileSystem fileSystem)
    {
        var transport = new InProcessTransport(this, node, fileSystem);
        lock (_gate)
        {
            _nodes[node] = transport;
        }

        return transport;
    }

    internal InProcessTransport? Find(ulong node)
    {
        lock (_gate)
        {
            return _nodes.GetValueOrDefault(node);
        }
    }

    internal void Leave(InProcessTransport transport)
    {
        lock (_gate)
        {
            if (_nodes.GetValueOrDefault(transport.Id) == transport)
            {
                _nodes.Remove(transport.Id);
            }
        }
    }
}
