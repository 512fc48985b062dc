namespace KeyVa.Cluster.Transport;

/// <summary>The lane that snapshots take: as <see cref="ITransport.TrySend"/>, apart from the frames.</summary>
internal interface IBulkChannel
{
    /// <summary>Queues a message for a peer; false if there is no connection or no room. Never blocks.</summary>
    bool TrySend(ulong peer, ReadOnlySpan<byte> message);
}

/// <summary>Who takes what comes over that lane; must not block.</summary>
internal interface IBulkReceiver
{
    void Received(ulong peer, ReadOnlySpan<byte> message);
}
