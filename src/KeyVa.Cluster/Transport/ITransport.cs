namespace KeyVa.Cluster.Transport;

/// <summary>
/// How the nodes of a cluster reach each other. Peers are node numbers; frames are opaque bytes. A frame arrives at most once, and in
/// order as long as a connection lasts; whoever sends must live with its loss. Everything is bounded: each peer has a queue, and a frame
/// for which there is no room is refused at once. Thread-safe.
/// </summary>
internal interface ITransport : IAsyncDisposable
{
    /// <summary>Files on their way to peers and from them.</summary>
    ISnapshotStreams Snapshots { get; }

    /// <summary>
    /// Queues a frame for a peer. The bytes are copied before the call returns, which never blocks. False: the peer is unknown, its queue is
    /// full, or the frame is too large; nothing was queued.
    /// </summary>
    bool TrySend(ulong peer, ReadOnlySpan<byte> frame);

    /// <summary>Says who the peers are. Those that are missing are let go, with what is queued for them; those with a new address are connected anew.</summary>
    void SetPeers(IReadOnlyDictionary<ulong, PeerAddress> peers);

    /// <summary>Begins to listen and to connect; once. From here on the receiver is called.</summary>
    void Start(ITransportReceiver receiver);
}

/// <summary>What a transport tells its node; all from one thread of the transport's, or in the simulator from its only one. Calls must not block.</summary>
internal interface ITransportReceiver
{
    /// <summary>A frame has come. Its bytes are valid during the call. <see cref="Delivered"/> follows, behind the last of several.</summary>
    void Received(ulong peer, ReadOnlySpan<byte> frame);

    /// <summary>All frames that came at this moment are received. <paramref name="lendsThread"/>: the calling thread holds no lock, and may be kept for a moment to do what they ask for.</summary>
    void Delivered(bool lendsThread);

    /// <summary>A connection to a peer has come about.</summary>
    void PeerUp(ulong peer);

    /// <summary>A connection to a peer is gone; frames that were under way may be lost.</summary>
    void PeerDown(ulong peer);
}

/// <summary>Where a peer listens, and the CURVE key that proves it is the peer: Z85 text of 40 characters, or null where connections are neither encrypted nor authenticated.</summary>
internal sealed record PeerAddress(string Host, int Port, string? PublicKey = null)
{
    /// <inheritdoc/>
    public override string ToString() => Host.Contains(':', StringComparison.Ordinal) ? $"[{Host}]:{Port}" : $"{Host}:{Port}";
}
