using System.Runtime.InteropServices;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>What stays in the cache under each policy, on traces of reads.</summary>
public sealed unsafe class BlockCachePolicyTests
{
    private const int BlockBytes = 4000;
    private const long CacheBytes = 8L << 20;

    /// <summary>S3-FIFO keeps what is read often through a scan of ten times the cache; CLOCK, as expected, does not.</summary>
    [Theory]
    [InlineData(BlockCachePolicy.S3Fifo, 0.9, 1.0)]
    [InlineData(BlockCachePolicy.Clock, 0.0, 0.5)]
    public void AFullScanAndTheHotSet(BlockCachePolicy policy, double least, double most)
    {
        const int Hot = 1000;
        const int Scanned = 20_000;
        using BlockCache cache = new(CacheBytes, policy);
        nint* slots = (nint*)NativeMemory.AllocZeroed(Hot + Scanned, (nuint)sizeof(nint));
        for (int i = 0; i < 4 * Hot; i++)
        {
            Read(cache, slots, i % Hot);
        }

        for (int i = 0; i < Scanned; i++)
        {
            Read(cache, slots, Hot + i);
        }

        int hits = 0;
        for (int i = 0; i < Hot; i++)
        {
            hits += Read(cache, slots, i) ? 1 : 0;
        }

        Assert.InRange((double)hits / Hot, least, most);
        Assert.True(cache.Evictions >= Scanned - (CacheBytes / BlockBytes));
        Clear(cache, slots, Hot + Scanned);
    }

    /// <summary>A read in the middle of each pass makes the scan harder: blocks of the scan are then read twice.</summary>
    [Fact]
    public void AHotSetThatIsReadMeanwhileStaysToo()
    {
        const int Hot = 1000;
        const int Scanned = 20_000;
        using BlockCache cache = new(CacheBytes);
        nint* slots = (nint*)NativeMemory.AllocZeroed(Hot + Scanned, (nuint)sizeof(nint));
        var random = new Random(7);
        int hits = 0;
        for (int i = 0; i < Scanned; i++)
        {
            Read(cache, slots, Hot + i);
            Read(cache, slots, Hot + i);
            hits += Read(cache, slots, random.Next(Hot)) ? 1 : 0;
        }

        Assert.InRange((double)hits / Scanned, 0.85, 1.0);
        Clear(cache, slots, Hot + Scanned);
    }

    [Theory]
    [InlineData(BlockCachePolicy.S3Fifo, 0.8, -0.01, 0.20)]
    [InlineData(BlockCachePolicy.S3Fifo, 1.0, -0.01, 0.20)]
    [InlineData(BlockCachePolicy.Clock, 0.8, -0.03, 0.03)]
    [InlineData(BlockCachePolicy.Clock, 1.0, -0.03, 0.03)]
    public void AZipfianTraceHitsAsOftenAsInAnIdealLru(BlockCachePolicy policy, double skew, double worse, double better)
    {
        const int Blocks = 12_000;
        const int Reads = 150_000;
        const long Bytes = 4L << 20;
        int[] trace = Zipf(Blocks, Reads, skew, seed: 11);
        using BlockCache cache = new(Bytes, policy);
        nint* slots = (nint*)NativeMemory.AllocZeroed(Blocks, (nuint)sizeof(nint));
        int hits = 0;
        foreach (int block in trace)
        {
            hits += Read(cache, slots, block) ? 1 : 0;
        }

        int ideal = LruHits(trace, (int)(Bytes / (BlockBytes + Block.HeadBytes + BlockFormat.ReadSlack)));
        Assert.InRange((hits - ideal) / (double)Reads, worse, better);
        Clear(cache, slots, Blocks);
    }

    [Fact]
    public void ASmallerCapacityHoldsAtOnceAndALargerOneIsFilled()
    {
        const int Blocks = 4000;
        foreach (BlockCachePolicy policy in Enum.GetValues<BlockCachePolicy>())
        {
            using BlockCache cache = new(CacheBytes, policy);
            nint* slots = (nint*)NativeMemory.AllocZeroed(Blocks, (nuint)sizeof(nint));
            var random = new Random(3);
            for (int round = 0; round < 200; round++)
            {
                long capacity = random.NextInt64(0, CacheBytes + 1);
                long before = cache.UsedBytes;
                long evicted = cache.Resize(capacity);
                Assert.Equal(before - evicted, cache.UsedBytes);
                Assert.True(cache.UsedBytes <= capacity, $"{cache.UsedBytes} bytes in a cache of {capacity}");
                for (int i = 0; i < 100; i++)
                {
                    Read(cache, slots, random.Next(Blocks));
                    Assert.True(cache.UsedBytes <= capacity, $"{cache.UsedBytes} bytes in a cache of {capacity}");
                }
            }

            cache.Resize(CacheBytes);
            for (int i = 0; i < 4 * Blocks; i++)
            {
                Read(cache, slots, i % Blocks);
            }

            Assert.InRange(cache.UsedBytes, CacheBytes * 9 / 10, CacheBytes);
            Clear(cache, slots, Blocks);
            Assert.Equal(0, cache.UsedBytes);
        }
    }

    /// <summary>Readers, pins of cursors, evictions, removals and a capacity that moves, all at once.</summary>
    [Theory]
    [InlineData(BlockCachePolicy.S3Fifo)]
    [InlineData(BlockCachePolicy.Clock)]
    public void ManyThreadsReadWhileTheCapacityMoves(BlockCachePolicy policy)
    {
        const int Blocks = 600;
        const int Turns = 40_000;
        using BlockCache cache = new(1 << 20, policy);
        nint* slots = (nint*)NativeMemory.AllocZeroed(Blocks, (nuint)sizeof(nint));
        Exception? failure = null;
        bool done = false;
        Thread[] threads = [.. Enumerable.Range(0, 4).Select(t => new Thread(() =>
        {
            try
            {
                var random = new Random(t);
                for (int i = 0; i < Turns; i++)
                {
                    int block = random.Next(Blocks);
                    if (random.Next(4) == 0)
                    {
                        ReadPinned(cache, slots, block);
                    }
                    else
                    {
                        Read(cache, slots, block, fill: true);
                    }
                }
            }
            catch (Exception e)
            {
                failure = e;
            }
        }))];
        Thread resizing = new(() =>
        {
            var random = new Random(99);
            while (!Volatile.Read(ref done))
            {
                cache.Resize(random.NextInt64(0, 1 << 20));
            }
        });
        resizing.Start();
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        Volatile.Write(ref done, true);
        resizing.Join();
        Assert.Null(failure);
        cache.Resize(1 << 20);
        Assert.True(cache.UsedBytes <= cache.Capacity);
        Assert.Equal(4L * Turns, cache.Hits + cache.Misses);
        Assert.Equal(0, cache.Memory.Used(MemoryKind.Buffers));
        Clear(cache, slots, Blocks);
        Assert.Equal(0, cache.UsedBytes);
    }

    /// <summary>A cursor that was left open when its store was closed reads on.</summary>
    [Theory]
    [InlineData(BlockCachePolicy.S3Fifo)]
    [InlineData(BlockCachePolicy.Clock)]
    public void AClosedCacheKeepsNothingAndStillServes(BlockCachePolicy policy)
    {
        nint* slots = (nint*)NativeMemory.AllocZeroed(10, (nuint)sizeof(nint));
        BlockCache cache = new(CacheBytes, policy, budget: 16 << 20);
        ReadPinned(cache, slots, 0);
        Read(cache, slots, 1);
        cache.Dispose();
        Assert.Equal((0, 0), (slots[0], slots[1]));
        cache.Memory.Charge(MemoryKind.Active, 12 << 20);
        cache.Memory.Release(MemoryKind.Active, 12 << 20);
        for (int i = 0; i < 10; i++)
        {
            ReadPinned(cache, slots, i);
            Assert.Equal(0, slots[i]);
        }

        Assert.Equal(0, cache.UsedBytes);
        NativeMemory.Free(slots);
    }

    [Fact]
    public void HitsAllocateNothingAndWriteNothingOnceTheBlockIsHot()
    {
        using BlockCache cache = new(CacheBytes);
        nint* slots = (nint*)NativeMemory.AllocZeroed(1, (nuint)sizeof(nint));
        for (int i = 0; i <= Block.MostReads + 1; i++)
        {
            Read(cache, slots, 0);
        }

        Block* block = (Block*)slots[0];
        Assert.Equal(Block.MostReads, block->Reads);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
        {
            Epochs.Enter();
            cache.Touch(block);
            Epochs.Exit();
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(Block.MostReads, block->Reads);
        Clear(cache, slots, 1);
    }

    /// <summary>True for a hit.</summary>
    private static bool Read(BlockCache cache, nint* slots, int i, bool fill = false)
    {
        Epochs.Enter();
        try
        {
            Block* block = (Block*)Volatile.Read(ref slots[i]);
            if (block != null)
            {
                cache.Touch(block);
                CheckBlock(block, i, fill);
                return true;
            }

            block = cache.Insert(slots + i, NewBlock(i, fill));
            CheckBlock(block, i, fill);
            return false;
        }
        finally
        {
            Epochs.Exit();
        }
    }

    /// <summary>As a cursor does.</summary>
    private static void ReadPinned(BlockCache cache, nint* slots, int i)
    {
        Block* block = null;
        Epochs.Enter();
        Block* cached = (Block*)Volatile.Read(ref slots[i]);
        if (cached != null && Block.TryPin(cached))
        {
            cache.Touch(cached);
            block = cached;
        }

        Epochs.Exit();
        if (block == null)
        {
            block = NewBlock(i, fill: true);
            block->Pins = 1;
            block = cache.Insert(slots + i, block);
        }

        CheckBlock(block, i, fill: true);
        cache.Unpin(block);
    }

    private static Block* NewBlock(int i, bool fill)
    {
        Block* block = Block.Allocate(BlockBytes);
        if (fill)
        {
            new Span<byte>(Block.Data(block), BlockBytes).Fill((byte)i);
        }

        return block;
    }

    private static void CheckBlock(Block* block, int i, bool fill) =>
        Assert.True(
            !fill || new ReadOnlySpan<byte>(Block.Data(block), block->Length).IndexOfAnyExcept((byte)i) < 0,
            "a block was freed under its reader");

    private static void Clear(BlockCache cache, nint* slots, int count)
    {
        for (int i = 0; i < count; i++)
        {
            cache.Remove(slots + i);
        }

        NativeMemory.Free(slots);
    }

    private static int[] Zipf(int items, int reads, double skew, int seed)
    {
        double[] sums = new double[items];
        double sum = 0;
        for (int i = 0; i < items; i++)
        {
            sum += 1 / Math.Pow(i + 1, skew);
            sums[i] = sum;
        }

        var random = new Random(seed);
        int[] places = [.. Enumerable.Range(0, items)];
        random.Shuffle(places);
        return [.. Enumerable.Range(0, reads).Select(_ =>
        {
            int found = Array.BinarySearch(sums, random.NextDouble() * sum);
            return places[Math.Min(items - 1, found < 0 ? ~found : found)];
        })];
    }

    private static int LruHits(int[] trace, int capacity)
    {
        LinkedList<int> order = new();
        Dictionary<int, LinkedListNode<int>> present = [];
        int hits = 0;
        foreach (int block in trace)
        {
            if (present.TryGetValue(block, out LinkedListNode<int>? node))
            {
                hits++;
                order.Remove(node);
                order.AddLast(node);
                continue;
            }

            if (present.Count == capacity)
            {
                present.Remove(order.First!.Value);
                order.RemoveFirst();
            }

            present[block] = order.AddLast(block);
        }

        return hits;
    }
}
