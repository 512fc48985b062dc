namespace KeyVa;

/// <summary>Which blocks the block cache lets go when it is full. Hits cost the same with both: no lock, mostly no write.</summary>
public enum BlockCachePolicy
{
    /// <summary>
    /// S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): new blocks pass a small
    /// queue first, and only what is read again there, or comes back soon, gets into the main one. A scan of everything
    /// passes by the blocks that are read often.
    /// </summary>
    S3Fifo,

    /// <summary>CLOCK (second chance): an approximation of LRU. A scan of everything replaces everything.</summary>
    Clock,
}
