namespace KeyVa.Cluster.Transport;

/// <summary>Bounds of the files that a node sends and takes. Immutable.</summary>
internal sealed record SnapshotStreamOptions
{
    /// <summary>Bytes of a chunk, at most.</summary>
    public int ChunkBytes { get; init; } = 256 << 10;

    /// <summary>Bytes that a receiver lets a sender be ahead of its disk, for each stream.</summary>
    public long WindowBytes { get; init; } = 8 << 20;

    /// <summary>Bytes per second that a node sends in all its streams together; 0: as fast as the receivers' disks take them.</summary>
    public long BytesPerSecond { get; init; }

    /// <summary>Streams that a node sends at a time; more are refused.</summary>
    public int MaxSending { get; init; } = 16;

    /// <summary>Streams that a node takes at a time; more are refused.</summary>
    public int MaxReceiving { get; init; } = 8;

    /// <summary>After how long without a word of the receiver a sender offers its stream again, which goes on where the receiver is.</summary>
    public TimeSpan Retry { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>After how long without progress a sender gives up.</summary>
    public TimeSpan GiveUp { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>After how long without a word of the sender a receiver gives up: later than the sender.</summary>
    public TimeSpan Forget { get; init; } = TimeSpan.FromSeconds(90);

    /// <summary>How often a stream is taken up again at one place before it counts as broken.</summary>
    public int MaxRepeats { get; init; } = 16;
}
