namespace KeyVa;

/// <summary>What a store accepts: contracts of the product, and bounds that options may move.</summary>
public static class Limits
{
    /// <summary>The longest key in bytes.</summary>
    public const int MaxKeyBytes = 8 << 10;

    /// <summary>The longest key in an engine's files: an index entry is a tuple and a key.</summary>
    internal const int MaxStoredKeyBytes = 2 * MaxKeyBytes;

    /// <summary>The highest value of <see cref="StoreOptions.MaxValueBytes"/>.</summary>
    public const int MaxValueBytesCeiling = 64 << 20;

    /// <summary>The most operations of one batch.</summary>
    public const int MaxBatchOperations = 1 << 18;
}
