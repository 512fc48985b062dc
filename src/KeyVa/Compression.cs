namespace KeyVa;

/// <summary>
/// How blocks of tables on disk are compressed. All but <see cref="None"/> need a library of the system, which is loaded
/// when it is first asked for. A block that would not shrink by an eighth is stored as it is.
/// </summary>
public enum Compression : byte
{
    /// <summary>Not at all. The default.</summary>
    None = 0,

    /// <summary>LZ4: the fastest. Debian's package liblz4-1.</summary>
    Lz4 = 1,

    /// <summary>Snappy: about as fast, and about as small. Debian's package libsnappy1v5.</summary>
    Snappy = 2,

    /// <summary>Zstandard: smaller, and several times slower to write. Debian's package libzstd1.</summary>
    Zstandard = 3,
}
