using KeyVa.Io;
using KeyVa.Log;
using Xunit;

namespace KeyVa.Tests.Log;

public sealed class JournalTests
{
    internal const string Folder = "/data/journal";

    private readonly MemoryFileSystem _disk = new();

    public static TheoryData<Durability> Durabilities => [Durability.Always, Durability.Interval, Durability.Os];

    internal static JournalOptions Small => new() { SegmentBytes = 16 << 10, ReserveBytes = 8 << 10 };

    internal static Journal Open(MemoryFileSystem disk, JournalOptions? options = null) =>
        Journal.Open(disk, Folder, options ?? Small, TimeProvider.System);

    internal static string Segment(long sequence) => $"{Folder}/{JournalFormat.SegmentName(sequence)}";

    [Theory]
    [MemberData(nameof(Durabilities))]
    public void WhatWasAppendedIsReplayedInOrder(Durability durability)
    {
        var expected = new List<string>();
        using (Journal journal = Open(_disk, Small with { Durability = durability }))
        {
            Assert.Empty(Collector.Of(journal).Records);
            for (int i = 1; i <= 300; i++)
            {
                TestEntry entry = TestEntry.Of(5, i, 16 + (i % 700), (byte)i);
                Assert.Equal(AppendOutcome.Appended, journal.Append(entry));
                expected.Add($"Commands 5/1/{i} {16 + (i % 700)} {(i % 700 == 0 ? 0 : (byte)i)}");
            }

            journal.Append(TestEntry.Over(301, 33, 5, 6, 900));
            expected.Add("Commit 5/1/301 6/1/301 900/1/301 33 7");
        }

        using Journal again = Open(_disk);
        Collector read = Collector.Of(again);
        Assert.Equal(expected.Skip(1), read.Records.Skip(1));
        Assert.Equal(301, read.Records.Count);
        Assert.Null(again.Recovery.Cut);
        Assert.True(again.Recovery.Segments > 3);
        Assert.Equal(Enumerable.Range(1, 301).Select(i => (long)i), read.Of(5));
        Assert.Equal([301], read.Of(6));
    }

    [Fact]
    public void AJournalOpenedAgainAndAgainGoesOnWhereItEnded()
    {
        for (int round = 0; round < 20; round++)
        {
            using Journal journal = Open(_disk);
            Assert.Equal(round * 10, Collector.Of(journal).Records.Count);
            for (int i = 1; i <= 10; i++)
            {
                Assert.Equal(AppendOutcome.Appended, journal.Append(TestEntry.Of(1, (round * 10) + i, 500)));
            }
        }

        long end;
        using (Journal journal = Open(_disk))
        {
            end = journal.EndOffset;
        }

        using Journal last = Open(_disk);
        Assert.Equal(end, last.EndOffset);
    }

    [Fact]
    public void AnUnsyncedKillLosesNothingThatWasAcknowledged()
    {
        foreach (Durability durability in Enum.GetValues<Durability>())
        {
            var disk = new MemoryFileSystem();
            Journal journal = Open(disk, Small with { Durability = durability });
            for (int i = 1; i <= 100; i++)
            {
                journal.Append(TestEntry.Of(1, i, 300));
            }

            using Journal again = Open(disk.Kill());
            Assert.Equal(100, Collector.Of(again).Of(1).Count);
            Assert.Null(again.Recovery.Cut);
        }
    }

    [Fact]
    public void RecordsOfManyMegabytesTakeASegmentOfTheirOwn()
    {
        using (Journal journal = Open(_disk))
        {
            journal.Append(TestEntry.Of(1, 1));
            Assert.Equal(AppendOutcome.Appended, journal.Append(TestEntry.Of(1, 2, 80 << 20, 9)));
            journal.Append(TestEntry.Of(1, 3));
        }

        using Journal again = Open(_disk);
        Assert.Equal(["Commands 1/1/1 40 0", $"Commands 1/1/2 {80 << 20} 9", "Commands 1/1/3 40 0"], Collector.Of(again).Records);
    }

    [Fact]
    public void AGroupSaysOfSyncsAtMostWhatIsTrue()
    {
        byte[] bytes = new byte[JournalFormat.GroupHeaderBytes];
        foreach (long distance in Enumerable.Range(0, 40).SelectMany(static power => new[] { (1L << power) - 1, 1L << power, (1L << power) + 1 }))
        {
            const long offset = 1L << 42;
            const int length = (256 << 20) + 4096;
            var header = new GroupHeader { Length = length, Previous = 5, Salt = 6, Offset = offset, Synced = offset - distance };
            JournalFormat.WriteGroupHeader(bytes, header);
            GroupHeader read = JournalFormat.ReadGroupHeader(bytes);
            Assert.Equal((length, 5u, 6ul, offset), (read.Length, read.Previous, read.Salt, read.Offset));
            Assert.InRange(read.Synced, distance > 1L << 30 ? 0 : offset - (2 * distance), offset - distance);
        }
    }

    [Fact]
    public void OneAppendIsOneWriteAndOneSync()
    {
        using Journal journal = Open(_disk, Small with { SegmentBytes = 1 << 20 });
        long writes = _disk.Faults.Count(FileOperation.Write);
        long syncs = _disk.Faults.Count(FileOperation.SyncData);
        for (int i = 1; i <= 50; i++)
        {
            journal.Append(TestEntry.Of(1, i, i == 20 ? 100_000 : 50));
        }

        Assert.Equal(writes + 50, _disk.Faults.Count(FileOperation.Write));
        Assert.Equal(syncs + 50, _disk.Faults.Count(FileOperation.SyncData));
    }

    [Theory]
    [MemberData(nameof(Durabilities))]
    public void ACloseLeavesEverythingSyncedAndMarked(Durability durability)
    {
        using (Journal journal = Open(_disk, Small with { Durability = durability }))
        {
            for (int i = 1; i <= 100; i++)
            {
                journal.Append(TestEntry.Of(1, i, 400));
            }
        }

        for (int seed = 0; seed < 30; seed++)
        {
            using Journal again = Open(_disk.AfterPowerLoss(seed));
            Assert.Equal(100, Collector.Of(again).Of(1).Count);
            Assert.Null(again.Recovery.Cut);
        }
    }

    [Fact]
    public void ReadBeginsAtAnIndexWhileAppendsGoOn()
    {
        using Journal journal = Open(_disk);
        for (int i = 1; i <= 200; i++)
        {
            journal.Append(TestEntry.Of(1 + (i % 2), (i + 1) / 2, 300));
        }

        var collector = new Collector();
        JournalReadResult result = journal.Read(2, 71, collector);
        Assert.Equal(Enumerable.Range(71, 30).Select(i => (long)i), collector.Of(2));
        Assert.Equal(101, result.NextIndex);
        Assert.True(result.AtEnd);
        Assert.Equal(1, result.OldestIndex);

        // In pieces.
        var pieces = new Collector();
        long next = 1;
        int calls = 0;
        do
        {
            result = journal.Read(1, next, pieces, maxBytes: 1000);
            next = result.NextIndex;
            calls++;
        }
        while (!result.AtEnd);
        Assert.Equal(Enumerable.Range(1, 100).Select(i => (long)i), pieces.Of(1));
        Assert.True(calls > 3);

        journal.Release(1, 90);
        journal.Release(2, 60);
        result = journal.Read(2, 10, new Collector());
        Assert.True(result.Gone);
        Assert.InRange(result.OldestIndex, 11, 61);
        Assert.False(journal.Read(2, result.OldestIndex, new Collector()).Gone);
    }

    [Fact]
    public void ReadersRunBesideAppendsAndReleases()
    {
        using Journal journal = Open(_disk, Small with { Durability = Durability.Os });
        const int count = 4000;
        var writer = new Thread(() =>
        {
            TestEntry entry = TestEntry.Of(1, 1);
            for (int i = 1; i <= count; i++)
            {
                entry.Fill(1, i, 200);
                journal.Append(entry);
            }
        });
        writer.Start();
        long next = 1;
        int gone = 0;
        while (next <= count)
        {
            var collector = new Collector();
            JournalReadResult result = journal.Read(1, next, collector, maxBytes: 20_000);
            if (result.Gone)
            {
                Assert.True(result.OldestIndex > next);
                next = result.OldestIndex;
                gone++;
                continue;
            }

            List<long> indexes = collector.Of(1);
            Assert.Equal(Enumerable.Range(0, indexes.Count).Select(i => next + i), indexes);
            next = result.NextIndex;

            // Half of the time past what was read, so that readers find their place gone.
            journal.Release(1, next % 2 == 0 ? next - 1 : next + 200);
        }

        writer.Join();
        Assert.Equal(count + 1, next);
        Assert.True(journal.Segments < 20);
    }

    [Fact]
    public void AGroupThatDecaysWhileTheJournalIsOpenIsNamedByItsReader()
    {
        using Journal journal = Open(_disk);
        for (int i = 1; i <= 100; i++)
        {
            journal.Append(TestEntry.Of(1, i, 300));
        }

        _disk.Corrupt(Segment(1), 2000, 4);
        CorruptionException damage = Assert.Throws<CorruptionException>(() => journal.Read(1, 1, new Collector()));
        Assert.Equal(Segment(1), damage.File);
        Assert.InRange(damage.Offset, 1500, 2000);
    }

    [Fact]
    public void TheRealDiskKeepsItToo()
    {
        string folder = Directory.CreateTempSubdirectory("keyva").FullName;
        try
        {
            for (int round = 0; round < 3; round++)
            {
                using Journal journal = Journal.Open(
                    DiskFileSystem.Instance,
                    $"{folder}/a/journal",
                    Small with { SegmentBytes = 64 << 10 },
                    TimeProvider.System);
                List<long> left = Collector.Of(journal).Of(1);
                long first = left.Count == 0 ? 1 : left[0];
                Assert.Equal(Enumerable.Range(0, left.Count).Select(i => first + i), left);
                Assert.Equal(round * 40, left.Count == 0 ? 0 : left[^1]);
                Assert.True(first <= Math.Max(1, (round - 1) * 40));
                for (int i = 1; i <= 40; i++)
                {
                    Assert.Equal(AppendOutcome.Appended, journal.Append(TestEntry.Of(1, (round * 40) + i, i * 700)));
                }

                journal.Release(1, (round * 40) - 1);
                Assert.Null(journal.Recovery.Cut);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void SegmentsGoWhenNobodyNeedsThemAndOnlyThen()
    {
        using Journal journal = Open(_disk);
        for (int i = 1; i <= 400; i++)
        {
            journal.Append(TestEntry.Of(1 + (i % 2), (i + 1) / 2, 300));
        }

        int before = journal.Segments;
        Assert.True(before > 8);
        journal.Release(1, 200);
        Assert.Equal(before, journal.Segments);
        journal.Release(2, 100);
        int after = journal.Segments;
        Assert.InRange(after, 2, before - 3);
        journal.Forget(2);
        Assert.Equal(1, journal.Segments);
        Assert.True(_disk.FileExists(Segment(before)));
        Assert.False(_disk.FileExists(Segment(before - 1)));
        journal.Append(TestEntry.Of(1, 201));
        journal.Dispose();
        using Journal again = Open(_disk);
        Assert.Equal(201, Collector.Of(again).Of(1)[^1]);
    }

    [Theory]
    [InlineData(Durability.Os)]
    [InlineData(Durability.Interval)]
    public void WhereNobodyAskedForASyncReleasingSegmentsSyncsNoRecords(Durability durability)
    {
        using Journal journal = Open(_disk, Small with { Durability = durability, SyncInterval = TimeSpan.FromHours(1) });
        int segments = 1;
        long index = 0;
        while (segments < 6)
        {
            journal.Append(TestEntry.Of(1, ++index, 300));
            segments = journal.Segments;
        }

        long syncs = _disk.Faults.Count(FileOperation.SyncData);
        journal.Release(1, index);
        Assert.Equal(1, journal.Segments);
        Assert.Equal(syncs, _disk.Faults.Count(FileOperation.SyncData));

        // And whatever a power loss takes, it is known where the journal begins.
        for (int seed = 0; seed < 20; seed++)
        {
            using Journal left = Open(_disk.AfterPowerLoss(seed));
            Assert.Equal(segments, left.Recovery.FirstSequence);
        }
    }

    [Fact]
    public void PastTheBudgetTheHoldersOfTheOldestSegmentAreAsked()
    {
        using var called = new SemaphoreSlim(0);
        IReadOnlyList<long>? holders = null;
        using Journal journal = Open(_disk, Small with
        {
            BudgetBytes = 64 << 10,
            BudgetExceeded = list =>
            {
                holders = list;
                called.Release();
            },
        });
        journal.Append(TestEntry.Of(7, 1));
        journal.Append(TestEntry.Of(8, 1));
        for (int i = 1; i <= 300; i++)
        {
            journal.Append(TestEntry.Of(9, i, 300));
            if (i == 10)
            {
                journal.Release(8, 1);
            }
        }

        Assert.True(called.Wait(TimeSpan.FromSeconds(30)));
        Assert.Equal([7, 9], holders!.Order());
    }
}
