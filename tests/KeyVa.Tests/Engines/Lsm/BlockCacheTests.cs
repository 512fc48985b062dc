using System.Runtime.InteropServices;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

public sealed unsafe class BlockCacheTests
{
    [Fact]
    public void StaysWithinItsBytes()
    {
        const int Slots = 5000;
        using BlockCache cache = new(1 << 20);
        nint* slots = (nint*)NativeMemory.AllocZeroed(Slots, (nuint)sizeof(nint));
        var random = new Random(1);
        for (int i = 0; i < 20_000; i++)
        {
            Read(cache, slots, random.Next(Slots), random.Next(100, 5000));
            Assert.True(cache.UsedBytes <= cache.Capacity, $"{cache.UsedBytes} bytes in a cache of {cache.Capacity}");
        }

        Assert.Equal(20_000, cache.Hits + cache.Misses);

        // Readers of other tests may hold what was evicted; when they have left, it goes with the next evictions.
        Assert.True(
            SpinWait.SpinUntil(
                () =>
                {
                    Read(cache, slots, random.Next(Slots), random.Next(100, 5000));
                    return cache.RetiredBytes <= 3 << 20;
                },
                TimeSpan.FromSeconds(20)),
            $"{cache.RetiredBytes} bytes wait to be freed");
        Assert.True(cache.Hits > 0);
        Clear(cache, slots, Slots);
        Assert.Equal(0, cache.UsedBytes);
        NativeMemory.Free(slots);
    }

    [Fact]
    public void ABlockThatIsReadOftenStays()
    {
        const int Slots = 2000;
        using BlockCache cache = new(1 << 20);
        nint* slots = (nint*)NativeMemory.AllocZeroed(Slots, (nuint)sizeof(nint));
        long missesOfHot = 0;
        for (int i = 0; i < 20_000; i++)
        {
            Read(cache, slots, 1 + (i % (Slots - 1)), 4000);
            long before = cache.Misses;
            Read(cache, slots, 0, 4000);
            missesOfHot += cache.Misses - before;
        }

        Assert.Equal(1, missesOfHot);
        Clear(cache, slots, Slots);
        NativeMemory.Free(slots);
    }

    [Fact]
    public void APinnedBlockIsNotEvicted()
    {
        const int Slots = 2000;
        using BlockCache cache = new(64 << 10);
        nint* slots = (nint*)NativeMemory.AllocZeroed(Slots, (nuint)sizeof(nint));
        Block* pinned = NewBlock(0, 4000);
        pinned->Pins = 1;
        Assert.True(cache.Insert(slots, pinned) == pinned);
        for (int i = 1; i < Slots; i++)
        {
            Read(cache, slots, i, 4000);
        }

        Assert.Equal((nint)pinned, slots[0]);
        CheckBlock(pinned, 0);
        cache.Unpin(pinned);

        // One larger than the whole cache belongs to its reader alone.
        Block* large = NewBlock(1, 1 << 20);
        large->Pins = 1;
        Clear(cache, slots, Slots);
        Assert.True(cache.Insert(slots + 1, large) == large);
        Assert.Equal(0, slots[1]);
        CheckBlock(large, 1);
        cache.Unpin(large);
        NativeMemory.Free(slots);
    }

    [Fact]
    public void ManyThreadsReadWholeBlocksWhileOthersEvict()
    {
        const int Slots = 400;
        using BlockCache cache = new(512 << 10);
        nint* slots = (nint*)NativeMemory.AllocZeroed(Slots, (nuint)sizeof(nint));
        Exception? failure = null;
        Thread[] threads = [.. Enumerable.Range(0, 4).Select(t => new Thread(() =>
        {
            try
            {
                var random = new Random(t);
                for (int i = 0; i < 30_000; i++)
                {
                    Read(cache, slots, random.Next(Slots), 2000 + (i % 100));
                }
            }
            catch (Exception e)
            {
                failure = e;
            }
        }))];
        foreach (Thread thread in threads)
        {
            thread.Start();
        }

        foreach (Thread thread in threads)
        {
            thread.Join();
        }

        Assert.Null(failure);
        Assert.True(cache.UsedBytes <= cache.Capacity);
        Clear(cache, slots, Slots);
        NativeMemory.Free(slots);
    }

    /// <summary>Reads as a table does: the slot, or else a new block; checks that it is the right one and whole.</summary>
    private static void Read(BlockCache cache, nint* slots, int i, int length)
    {
        Epochs.Enter();
        Block* block = (Block*)Volatile.Read(ref slots[i]);
        if (block == null)
        {
            block = cache.Insert(slots + i, NewBlock(i, length));
        }
        else
        {
            cache.Touch(block);
        }

        CheckBlock(block, i);
        Epochs.Exit();
    }

    private static Block* NewBlock(int i, int length)
    {
        Block* block = Block.Allocate(length);
        new Span<byte>(Block.Data(block), length).Fill((byte)i);
        return block;
    }

    private static void CheckBlock(Block* block, int i) =>
        Assert.True(new ReadOnlySpan<byte>(Block.Data(block), block->Length).IndexOfAnyExcept((byte)i) < 0, "a block was freed under its reader");

    private static void Clear(BlockCache cache, nint* slots, int count)
    {
        for (int i = 0; i < count; i++)
        {
            cache.Remove(slots + i);
        }
    }
}
