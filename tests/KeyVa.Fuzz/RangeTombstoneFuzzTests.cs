using KeyVa.Engines.Lsm;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>Blocks of range tombstones from hostile bytes: read in order, or refused.</summary>
public sealed class RangeTombstoneFuzzTests : Fuzzing
{
    private static readonly byte[][] Blocks = [Block(1, 3), Block(2, 20), Block(3, 200), []];

    [Fact]
    public void BlocksAreReadInOrderOrRefused() => Run(60_000, Blocks, static (input, _) =>
    {
        RangeTombstones? read = RangeTombstoneBlock.TryDecode(input);
        if (read is null)
        {
            return;
        }

        for (int i = 0; i < read.Count; i++)
        {
            Assert.True(KeyOrder.Compare(read.Start(i), read.End(i)) < 0);
            Assert.True(i == 0 || KeyOrder.Compare(read.End(i - 1), read.Start(i)) <= 0);
            Assert.False(read.Versions(i).IsEmpty);
            Assert.True(read.Versions(i)[^1] > 0);
            for (int v = 1; v < read.Versions(i).Length; v++)
            {
                Assert.True(read.Versions(i)[v] < read.Versions(i)[v - 1]);
            }
        }

        // What was read says the same when it is written and read again.
        using NativeBuffer again = new();
        RangeTombstoneBlock.Encode(read, again);
        RangeTombstones? second = RangeTombstoneBlock.TryDecode(again.Written);
        Assert.NotNull(second);
        Assert.Equal((read.Count, read.VersionCount), (second.Count, second.VersionCount));
        Assert.True(read.Last.SequenceEqual(second.Last));
    });

    private static byte[] Block(int seed, int ranges)
    {
        Random random = new(seed);
        RangeTombstoneRuns? runs = null;
        for (int version = 1; version <= ranges; version++)
        {
            byte[] from = new byte[random.Next(1, 12)];
            random.NextBytes(from);
            runs = RangeTombstoneRuns.Add(runs, RangeTombstones.Of(from, random.Next(4) == 0 ? [] : [.. from, 1], version * 1000, version), horizon: 0);
        }

        using NativeBuffer block = new();
        RangeTombstoneBlock.Encode(runs!.Merged, block);
        return block.Written.ToArray();
    }
}
