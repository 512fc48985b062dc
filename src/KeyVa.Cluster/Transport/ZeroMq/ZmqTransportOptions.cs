namespace KeyVa.Cluster.Transport.ZeroMq;

/// <summary>Who a node is for its peers, where it listens, and the bounds of what it holds for them. Immutable.</summary>
internal sealed record ZmqTransportOptions
{
    /// <summary>The port that nodes listen on for each other, unless configured otherwise.</summary>
    public const int DefaultPort = 7404;

    /// <summary>This node's number.</summary>
    public required ulong Node { get; init; }

    /// <summary>The cluster's identity; nodes of different ones refuse each other.</summary>
    public required Guid Cluster { get; init; }

    /// <summary>The address to listen on: an IP address, or <c>*</c> for all. Without keys it must be of the loopback interface.</summary>
    public string Host { get; init; } = "127.0.0.1";

    /// <summary>The port to listen on; 0 for one that the system chooses.</summary>
    public int Port { get; init; } = DefaultPort;

    /// <summary>The node's keys. With them, connections are encrypted and both sides prove who they are; null: neither, and loopback alone is allowed.</summary>
    public NodeKeys? Keys { get; init; }

    /// <summary>Bytes of a frame, at most: the largest value or batch that a store can be configured for, and what is written around it.</summary>
    public int MaxFrameBytes { get; init; } = (64 << 20) + (1 << 20);

    /// <summary>Frames that wait for a peer, at most.</summary>
    public int QueueFrames { get; init; } = 4096;

    /// <summary>Bytes that wait for a peer, at most (one frame alone always passes).</summary>
    public long QueueBytes { get; init; } = 64 << 20;

    /// <summary>Frames that libzmq holds for a connection before they are sent, at most; beyond, the node's own queue fills.</summary>
    public int HighWaterMark { get; init; } = 64;

    /// <summary>
    /// Frames that libzmq holds for a connection that it has received and nobody has taken; 0: any number, and so it must be beside libzmq's heartbeats. Where it stops reading for too many, a
    /// connection that ends meanwhile has it abort the process at the next heartbeat ("Assertion failed: !_io_error", libzmq's issues 3937 and 4364, in 4.3.4 and 4.3.5). What comes is taken at once into an
    /// inbox that has a bound, and who sends has no more on its way than its windows allow.
    /// </summary>
    public int ReceiveHighWaterMark { get; init; }

    /// <summary>How often a silent connection is asked for a sign of life, in milliseconds.</summary>
    public int HeartbeatMilliseconds { get; init; } = 500;

    /// <summary>How long a connection may give none before it counts as gone, in milliseconds.</summary>
    public int HeartbeatTimeoutMilliseconds { get; init; } = 2000;

    /// <summary>How long a connection may take to come about, handshake included, in milliseconds.</summary>
    public int ConnectMilliseconds { get; init; } = 1000;

    /// <summary>The first pause between attempts to connect, in milliseconds; each is about twice the one before.</summary>
    public int ReconnectMilliseconds { get; init; } = 50;

    /// <summary>The longest pause between attempts to connect, in milliseconds; also the pause after a refusal.</summary>
    public int ReconnectMostMilliseconds { get; init; } = 1000;

    /// <summary>Bounds of the files that are moved.</summary>
    public SnapshotStreamOptions Snapshots { get; init; } = new();
}
