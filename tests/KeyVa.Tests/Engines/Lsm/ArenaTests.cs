using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

public sealed unsafe class ArenaTests
{
    [Fact]
    public void PiecesOfAllSizesAreApartAndWholeAndCounted()
    {
        int seed = Environment.TickCount;
        var random = new Random(seed);
        using BlockCache cache = new(0, budget: 64 << 20);
        MemoryBudget budget = cache.Memory;
        for (int round = 0; round < 4; round++)
        {
            Arena arena = new(budget);
            List<(nint Start, int Bytes)> pieces = [];
            for (int i = 0; i < 3000; i++)
            {
                int bytes = random.Next(100) == 0 ? random.Next(1, 3 << 20) : random.Next(1, 2000);
                byte* piece = arena.Allocate(bytes);
                Assert.True(((nint)piece & 7) == 0, $"seed {seed}");
                new Span<byte>(piece, bytes).Fill((byte)i);
                pieces.Add(((nint)piece, bytes));
                Assert.True(arena.UsedBytes <= arena.AllocatedBytes && budget.Used(MemoryKind.Active) == arena.AllocatedBytes, $"seed {seed}");
            }

            for (int i = 0; i < pieces.Count; i++)
            {
                Assert.True(
                    new ReadOnlySpan<byte>((byte*)pieces[i].Start, pieces[i].Bytes).IndexOfAnyExcept((byte)i) < 0, $"seed {seed}: piece {i} was overwritten");
            }

            arena.MoveTo(MemoryKind.Flushed);
            arena.MoveTo(MemoryKind.Immutable);
            Assert.Equal((0, 0, arena.AllocatedBytes), (budget.Used(MemoryKind.Active), budget.Used(MemoryKind.Immutable), budget.Used(MemoryKind.Flushed)));
            arena.Dispose();
            arena.MoveTo(MemoryKind.Flushed);
            Assert.Equal(0, budget.Used(MemoryKind.Flushed));

            // An eighth of the budget at most is kept for the next one.
            Assert.InRange(budget.Used(MemoryKind.Spare), 1, 8 << 20);
        }
    }

    [Fact]
    public void PiecesAreMadeReadyBesideWhoeverTakesThem()
    {
        const long Ready = 3L * ArenaChunks.Bytes;
        using BlockCache cache = new(0, budget: 64 << 20);
        MemoryBudget budget = cache.Memory;
        Assert.Equal(0, budget.Used(MemoryKind.Spare));
        for (int i = 0; i < 20; i++)
        {
            byte* taken = budget.Chunks.Take();
            Assert.True(SpinWait.SpinUntil(() => budget.Used(MemoryKind.Spare) == Ready, TimeSpan.FromSeconds(60)), "nobody made the next pieces ready");
            new Span<byte>(taken, ArenaChunks.Bytes).Fill((byte)i);
            NativePages.Unmap(taken, ArenaChunks.Bytes);
        }
    }

    [Fact]
    public void MappedPagesAreAlignedZeroedAndGivenBack()
    {
        const int Rounds = 200;
        const int Bytes = 64 << 20;
        long before = ResidentBytes();
        for (int i = 0; i < Rounds; i++)
        {
            byte* pages = NativePages.Map(Bytes, 2 << 20);
            Assert.Equal(0, (nint)pages & ((2 << 20) - 1));
            Assert.Equal(0, pages[Bytes - 1]);
            new Span<byte>(pages, 4 << 20).Fill(1);
            NativePages.Unmap(pages, Bytes);
        }

        Assert.InRange(ResidentBytes() - before, -(1L << 40), 400L << 20);
    }

    private static long ResidentBytes() => long.Parse(
        File.ReadLines("/proc/self/status").Single(line => line.StartsWith("VmRSS:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1],
        System.Globalization.CultureInfo.InvariantCulture) << 10;
}
