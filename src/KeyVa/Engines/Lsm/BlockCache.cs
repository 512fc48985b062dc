namespace KeyVa.Engines.Lsm;

/// <summary>Blocks of SSTables kept in native memory, bounded in bytes, shared by all partitions of a store.</summary>
internal sealed class BlockCache(long capacity) : IDisposable
{
    public long UsedBytes { get; } = capacity;
    public long Capacity { get; } = capacity;

    public void Dispose()
    {
    }
}
