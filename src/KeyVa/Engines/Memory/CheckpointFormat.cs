namespace KeyVa.Engines.Memory;

/// <summary>What a checkpoint file contains: everything up to this log index, version and stamp.</summary>
internal readonly record struct CheckpointHeader(long Index, long Version, long Stamp)
{
    /// <summary>If it holds older versions too (format 2): what it has of the past.</summary>
    public HistoryMark? History { get; init; }
}

/// <summary>
/// The constants of the checkpoint file, format 1 (the newest version of each key) or 2 (all that are retained); drawn in docs/format.md (Checkpoint). Written by
/// <see cref="CheckpointWriter"/>, read by <see cref="CheckpointReader"/>. All numbers are little-endian.
/// </summary>
internal static class CheckpointFormat
{
    public const int Version = 1;
    public const int VersionWithHistory = 2;

    public const int HeaderBytes = 64;
    public const int BlockHeaderBytes = 12;
    public const int FooterBytes = 40;

    /// <summary>A block is written when it has reached this size; one large entry makes a larger block.</summary>
    public const int BlockBytes = 64 << 10;

    /// <summary>The largest key, the largest value, a block that was nearly full, and the numbers of an entry.</summary>
    public const int MaxBlockBytes = BlockBytes + (64 << 20) + (8 << 10) + (5 * Io.Varint.MaxLength);

    public const uint FooterMagic = 0x646E454B;

    /// <summary>For estimates of the progress.</summary>
    public const int TypicalKeyAndHead = 32;

    public static ReadOnlySpan<byte> Magic => "KeyVaCkp"u8;
}
