using System.Diagnostics;
using KeyVa.Engines.Memory;
using Xunit;

namespace KeyVa.Tests.Engines.Memory;

public unsafe class SlabAllocatorTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void KeepsEveryObjectApart(int seed)
    {
        Random random = new(seed);
        using SlabAllocator memory = new(guard: true);
        List<(nint Block, int Bytes, byte Fill)> live = [];
        for (int i = 0; i < 60_000; i++)
        {
            if (live.Count > 0 && random.Next(100) < (i / 10_000 % 2 == 0 ? 40 : 60))
            {
                int at = random.Next(live.Count);
                (nint block, int bytes, byte fill) = live[at];
                Assert.False(
                    new ReadOnlySpan<byte>((void*)block, bytes).ContainsAnyExcept(fill), $"seed {seed}, step {i}: overwritten");
                memory.Free((void*)block, bytes);
                live[at] = live[^1];
                live.RemoveAt(live.Count - 1);
                continue;
            }

            int size = random.Next(20) == 0 ? random.Next(1, 40_000) : random.Next(1, 600);
            byte value = (byte)random.Next(256);
            void* taken = memory.Allocate(size);
            Assert.Equal(0, (nint)taken % 16);
            new Span<byte>(taken, size).Fill(value);
            live.Add(((nint)taken, size, value));
        }

        foreach ((nint block, int bytes, _) in live)
        {
            memory.Free((void*)block, bytes);
        }
    }

    [Fact]
    public void ReusesSlabsForOtherSizesAndGivesRegionsBack()
    {
        using SlabAllocator memory = new();
        List<nint> blocks = [];
        for (int size = 64; size <= 4096; size *= 4)
        {
            for (long taken = 0; taken < 20 << 20; taken += size)
            {
                blocks.Add((nint)memory.Allocate(size));
            }

            Assert.InRange(memory.Bytes, 20 << 20, 26 << 20);
            foreach (nint block in blocks)
            {
                memory.Free((void*)block, size);
            }

            blocks.Clear();
            Assert.InRange(memory.Bytes, 0, 4 << 20);
        }
    }

    [Fact]
    public void WastesAtMostAnEighth()
    {
        for (int size = 241; size <= SizeClasses.Largest; size++)
        {
            Assert.InRange(SizeClasses.Bytes[SizeClasses.Of(size)] - size, 0, Math.Max(15, size / 8));
        }
    }

    [Fact]
    public void GuardNoticesAWriteBehindAnObject()
    {
        using SlabAllocator memory = new(guard: true);
        byte* block = (byte*)memory.Allocate(100);
        block[100]++;
        Assert.Throws<UnreachableException>(() => memory.Free(block, 100));
    }

    [Fact]
    public void GuardNoticesAWriteAfterRelease()
    {
        using SlabAllocator memory = new(guard: true);
        byte* neighbour = (byte*)memory.Allocate(100);
        byte* block = (byte*)memory.Allocate(100);
        memory.Free(block, 100);
        block[50] = 1;
        Assert.Throws<UnreachableException>(() => (nint)memory.Allocate(100));
        memory.Free(neighbour, 100);
    }
}
