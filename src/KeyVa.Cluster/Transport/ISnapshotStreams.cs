namespace KeyVa.Cluster.Transport;

/// <summary>
/// Sets of files that are moved to peers in chunks, with flow control and checksums, beside the frames and without holding them up.
/// A set arrives whole and intact, or not at all. Few are under way at a time. Thread-safe.
/// </summary>
internal interface ISnapshotStreams
{
    /// <summary>Says who is told of what arrives; before <see cref="ITransport.Start"/>.</summary>
    void SetReceiver(ISnapshotReceiver receiver);

    /// <summary>
    /// Begins to send files. <paramref name="head"/> goes ahead of them: it says what they are, and is the driver's business. The files stay
    /// as they are until <paramref name="done"/> was called, once, from a thread of the transport's (or the simulator's): true if the receiver
    /// has taken all of them.
    /// </summary>
    void Send(ulong peer, ReadOnlyMemory<byte> head, IReadOnlyList<SnapshotFile> files, Action<bool> done);
}

/// <summary>One file of a set: the name that it has at the receiver (one part, without separators), and where it is now.</summary>
internal readonly record struct SnapshotFile(string Name, string Path);

/// <summary>Where sets of files arrive. Calls come one at a time and must not block for long.</summary>
internal interface ISnapshotReceiver
{
    /// <summary>
    /// A peer wants to send what <paramref name="head"/> says. The folder to write the files into, created and empty; null if they are not wanted. The
    /// head's bytes are valid during the call.
    /// </summary>
    string? Begin(ulong peer, ReadOnlySpan<byte> head);

    /// <summary>
    /// The files of a set that was begun are all there, verified and synced, folder included; or, if not <paramref name="complete"/>, they never
    /// will be, and the folder may be removed. False: what arrived is of no use, and the sender is told so.
    /// </summary>
    bool End(ulong peer, string directory, bool complete);
}
