using KeyVa.Engines.Lsm;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>Fragments, beside a list of ranges that is gone through from end to end.</summary>
public sealed class RangeTombstoneTests
{
    private const int Seeds = 400;

    [Fact]
    public void ManyOverlappingRangesAnswerAsAListOfThem()
    {
        for (int seed = 0; seed < Seeds; seed++)
        {
            Random random = new(seed);
            List<(byte[] From, byte[] To, long Version)> list = [];
            RangeTombstoneRuns? runs = null;
            long horizon = 0;
            for (int version = 1; version <= random.Next(1, 60); version++)
            {
                (byte[] from, byte[] to) = Range(random);
                list.Add((from, to, version));
                horizon = random.Next(3) == 0 ? random.Next((int)horizon, version) : horizon;
                runs = RangeTombstoneRuns.Add(runs, RangeTombstones.Of(from, to, version, 1000 + version), horizon);
                CheckAll(list, runs.Covering, horizon, seed);
            }

            CheckAll(list, runs!.Merged.Covering, horizon, seed);
            CheckOrder(runs.Merged, seed);
        }
    }

    [Fact]
    public void WhatIsEncodedIsDecodedAndCutBytesAreNot()
    {
        for (int seed = 0; seed < Seeds; seed++)
        {
            Random random = new(seed);
            RangeTombstones ranges = Some(random);
            using NativeBuffer block = new();
            RangeTombstoneBlock.Encode(ranges, block);
            RangeTombstones? read = RangeTombstoneBlock.TryDecode(block.Written);
            Assert.NotNull(read);
            AssertSame(ranges, read);
            Assert.Null(RangeTombstoneBlock.TryDecode(block.Written[..random.Next(block.Length)]));
            Assert.Null(RangeTombstoneBlock.TryDecode([.. block.Written, 0]));
        }
    }

    [Fact]
    public void PiecesPutTogetherAreTheWhole()
    {
        for (int seed = 0; seed < Seeds; seed++)
        {
            Random random = new(seed);
            RangeTombstones whole = Some(random);
            byte[] cut = [.. Key(random), 0];
            RangeTombstones?[] pieces = [RangeTombstoneMerge.Clip(whole, default, cut), RangeTombstoneMerge.Clip(whole, cut, default)];
            Assert.True(pieces[0] is null || KeyOrder.Compare(pieces[0]!.Last, cut) <= 0, $"seed {seed}");
            Assert.True(pieces[1] is null || KeyOrder.Compare(pieces[1]!.First, cut) >= 0, $"seed {seed}");
            RangeTombstones? again = RangeTombstoneMerge.Merge(pieces.OfType<RangeTombstones>().ToArray(), horizon: 0);
            AssertSame(whole, again!);
        }
    }

    [Fact]
    public void NestedRangesDoNotPileUp()
    {
        // What retention does again and again: everything before a moment that moves on.
        RangeTombstoneRuns? runs = null;
        for (int i = 1; i <= 5_000; i++)
        {
            runs = RangeTombstoneRuns.Add(runs, RangeTombstones.Of(default, BitConverter.GetBytes(System.Net.IPAddress.HostToNetworkOrder(i)), i, i), horizon: i - 1);
        }

        Assert.InRange(runs!.MemoryBytes, 1, 4_000);
        Assert.InRange(runs.Merged.Count, 1, 3);
    }

    [Fact]
    public void AnOpenEndLiesBehindEveryKey()
    {
        byte[] highest = new byte[Limits.MaxKeyBytes];
        highest.AsSpan().Fill(0xff);
        RangeTombstones all = RangeTombstones.Of(default, default, 5, 6);
        Assert.Equal(5, all.Covering(highest, 9));
        Assert.Equal(0, all.Covering(highest, 4));
        Assert.True(all.CoversAll("a"u8, highest, newest: 4, at: 5));
        Assert.False(all.CoversAll("a"u8, highest, newest: 5, at: 5));
    }

    private static void CheckAll(List<(byte[] From, byte[] To, long Version)> list, CoveringOf covering, long horizon, int seed)
    {
        foreach (byte[] key in Keys())
        {
            for (long at = horizon; at <= list.Count + 1; at += 1 + (list.Count / 8))
            {
                long expected = list.Where(range => range.Version <= at && Contains(range.From, range.To, key)).Select(range => range.Version).DefaultIfEmpty().Max();
                Assert.True(expected == covering(key, at), $"seed {seed}, key {Convert.ToHexString(key)} at {at}: {covering(key, at)} instead of {expected}");
            }
        }
    }

    private delegate long CoveringOf(ReadOnlySpan<byte> key, long at);

    private static void CheckOrder(RangeTombstones ranges, int seed)
    {
        for (int i = 0; i < ranges.Count; i++)
        {
            Assert.True(KeyOrder.Compare(ranges.Start(i), ranges.End(i)) < 0, $"seed {seed}");
            Assert.True(i == 0 || KeyOrder.Compare(ranges.End(i - 1), ranges.Start(i)) <= 0, $"seed {seed}");
            long[] versions = ranges.Versions(i).ToArray();
            Assert.Equal(versions.OrderDescending().Distinct(), versions);
            Assert.Equal(versions.Select(version => version + 1000), ranges.Stamps(i).ToArray());
        }
    }

    private static void AssertSame(RangeTombstones expected, RangeTombstones found)
    {
        Assert.Equal((expected.Count, expected.VersionCount), (found.Count, found.VersionCount));
        for (int i = 0; i < expected.Count; i++)
        {
            Assert.Equal(expected.Start(i).ToArray(), found.Start(i).ToArray());
            Assert.Equal(expected.End(i).ToArray(), found.End(i).ToArray());
            Assert.Equal(expected.Versions(i).ToArray(), found.Versions(i).ToArray());
            Assert.Equal(expected.Stamps(i).ToArray(), found.Stamps(i).ToArray());
        }
    }

    private static RangeTombstones Some(Random random)
    {
        RangeTombstoneRuns? runs = null;
        for (int version = 1; version <= random.Next(1, 20); version++)
        {
            (byte[] from, byte[] to) = Range(random);
            runs = RangeTombstoneRuns.Add(runs, RangeTombstones.Of(from, to, version, 1000 + version), horizon: 0);
        }

        return runs!.Merged;
    }

    private static bool Contains(byte[] from, byte[] to, byte[] key) =>
        KeyOrder.Compare(key, from) >= 0 && (to.Length == 0 || KeyOrder.Compare(key, to) < 0);

    private static (byte[] From, byte[] To) Range(Random random)
    {
        while (true)
        {
            byte[] from = random.Next(10) == 0 ? [] : Key(random);
            byte[] to = random.Next(10) == 0 ? [] : Key(random);
            if (to.Length == 0 || KeyOrder.Compare(from, to) < 0)
            {
                return (from, to);
            }
        }
    }

    private static byte[] Key(Random random) => random.Next(4) == 0 ? [(byte)random.Next('a', 'i'), 0] : [(byte)random.Next('a', 'i')];

    private static IEnumerable<byte[]> Keys()
    {
        for (byte c = (byte)'a'; c < 'j'; c++)
        {
            yield return [c];
            yield return [c, 0];
            yield return [c, 1];
        }

        yield return [0xff, 0xff];
    }
}
