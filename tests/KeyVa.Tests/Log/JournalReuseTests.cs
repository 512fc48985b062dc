using KeyVa.Io;
using KeyVa.Log;
using Xunit;
using static KeyVa.Tests.Log.JournalTests;

namespace KeyVa.Tests.Log;

/// <summary>Segment files become segments again, and nothing that they held before can ever be taken for what they hold.</summary>
public sealed class JournalReuseTests
{
    private static readonly JournalOptions Tiny = new()
    {
        SegmentBytes = 4096,
        ReserveBytes = 0,
        IdleMark = TimeSpan.FromHours(1),
        SyncInterval = TimeSpan.FromHours(1),
        ReuseFromGroupBytes = 0,
        ReuseWithin = TimeSpan.FromHours(1),
    };

    private readonly MemoryFileSystem _disk = new();

    private string[] Retired => [.. _disk.List(Folder).Where(static name => name.EndsWith(RetiredSegments.Suffix, StringComparison.Ordinal))];

    [Theory]
    [MemberData(nameof(JournalTests.Durabilities), MemberType = typeof(JournalTests))]
    public void ASegmentThatNobodyNeedsBecomesASegmentAgain(Durability durability)
    {
        JournalOptions options = Tiny with { Durability = durability };
        long last = Reuse(_disk, options, out Journal journal);
        int files = _disk.List(Folder).Count;
        long allocations = _disk.Faults.Count(FileOperation.Allocate);
        for (int i = 0; i < 300; i++)
        {
            Assert.Equal(AppendOutcome.Appended, journal.Append(TestEntry.Of(1, ++last, 150)));
            journal.Release(1, last - 5);
        }

        Assert.InRange(_disk.List(Folder).Count, 1, files + 2);
        Assert.InRange(_disk.Faults.Count(FileOperation.Allocate) - allocations, 0, 3);
        journal.Dispose();
        Assert.Empty(Retired);
        using Journal again = Open(_disk, options);
        Assert.Equal(last, Collector.Of(again).Of(1)[^1]);
        Assert.Null(again.Recovery.Cut);
        Assert.Null(JournalVerifier.Verify(_disk, Folder).Damage);
    }

    // Records of the same length in both lives, so that those of the former one stand exactly where the next would.
    [Theory]
    [InlineData(150)]
    [InlineData(40)]
    [InlineData(900)]
    public void WhereverAReusedSegmentIsCutNothingOfItsFormerLifeComesBack(int bytes)
    {
        long last = Reuse(_disk, Tiny, out Journal journal, bytes);
        string active = Segment(ActiveSequence(_disk));
        long from = journal.EndOffset;
        journal.Append(TestEntry.Of(1, ++last, bytes));
        long to = journal.EndOffset;
        byte[] after = JournalDamageTests.ReadAll(_disk, active);
        JournalFormat.TryReadSegmentHeader(after, active, out SegmentHeader header);
        Assert.True(header.UsedBefore);
        MemoryFileSystem killed = _disk.Kill();
        int start = (int)(from - header.Base) + JournalFormat.SegmentHeaderBytes;
        int end = start + (int)(to - from);

        // What stood there before: a group of the former life, whole.
        byte[] former = Former(killed, active, after, start);
        Assert.True(former.AsSpan(start, end - start).ContainsAnyExcept((byte)0));
        for (int cut = start; cut <= end; cut++)
        {
            // New up to a byte, and new from a byte on.
            byte[] head = [.. after];
            former.AsSpan(cut, end - cut).CopyTo(head.AsSpan(cut));
            Check(killed, active, head, last, complete: head.AsSpan().SequenceEqual(after));
            byte[] tail = [.. after];
            former.AsSpan(start, cut - start).CopyTo(tail.AsSpan(start));
            Check(killed, active, tail, last, complete: tail.AsSpan().SequenceEqual(after));
        }
    }

    [Theory]
    [InlineData(Durability.Os)]
    [InlineData(Durability.Interval)]
    public void WhatNobodySyncedIsNotSyncedWithTheHeaderOfAReusedSegment(Durability durability)
    {
        JournalOptions options = Tiny with { Durability = durability };
        long last = Reuse(_disk, options, out Journal journal);
        long syncs = _disk.Faults.Count(FileOperation.SyncData);
        for (int i = 0; i < 200; i++)
        {
            journal.Append(TestEntry.Of(1, ++last, 150));
            journal.Release(1, last - 40);
        }

        Assert.Equal(syncs, _disk.Faults.Count(FileOperation.SyncData));

        // Whatever a power loss takes: the journal opens, it begins where it was said to begin, and what is left is a run.
        int shorter = 0;
        for (int seed = 0; seed < 60; seed++)
        {
            MemoryFileSystem left = _disk.AfterPowerLoss(seed);
            using (Journal again = Open(left, options))
            {
                List<long> indexes = Collector.Of(again).Of(1);
                Assert.Equal(Enumerable.Range(0, indexes.Count).Select(i => (indexes.Count == 0 ? 0 : indexes[0]) + i), indexes);
                Assert.True(indexes.Count == 0 || indexes[0] <= last - 39);
                shorter += indexes.Count == 0 || indexes[^1] < last ? 1 : 0;
                Assert.Equal(AppendOutcome.Appended, again.Append(TestEntry.Of(1, last + 1)));
            }

            using Journal third = Open(left, options);
            Assert.Equal(last + 1, Collector.Of(third).Of(1)[^1]);
        }

        Assert.True(shorter > 0, "no seed lost anything: the test shows nothing");
    }

    [Fact]
    public void ADamagedBeginningIsNamedAndTheJournalOpensWithoutIt()
    {
        JournalOptions options = Tiny with { Durability = Durability.Os };
        Reuse(_disk, options, out Journal journal);
        journal.Dispose();
        string path = $"{Folder}/{JournalBeginning.FileName}";
        int length = JournalDamageTests.ReadAll(_disk, path).Length;
        for (int at = 0; at < length; at++)
        {
            MemoryFileSystem left = _disk.AfterPowerLoss(1);
            left.Corrupt(path, at, 1);
            Assert.Equal(path, Assert.Throws<CorruptionException>(() => Open(left, options)).File);
            Assert.Equal(path, JournalVerifier.Verify(left, Folder).Damage?.File);
        }

        // It has the header that the segment has too, once that is on the disk.
        _disk.DeleteFile(path);
        using Journal again = Open(_disk, options);
        Assert.NotEmpty(Collector.Of(again).Records);
    }

    [Fact]
    public void AJournalWithoutTheSegmentThatItBeginsWithIsNamed()
    {
        JournalOptions options = Tiny with { Durability = Durability.Os };
        Reuse(_disk, options, out Journal journal);
        journal.Dispose();
        JournalBeginning beginning = JournalBeginning.Read(_disk, Folder)!;
        foreach (string name in _disk.List(Folder).Where(static name => JournalFormat.SequenceOf(name) > 0))
        {
            _disk.DeleteFile($"{Folder}/{name}");
        }

        Assert.Equal(Segment(beginning.Header.Sequence), Assert.Throws<CorruptionException>(() => Open(_disk, options)).File);
    }

    [Fact]
    public void AFileThatSomebodyReadsIsNotReused()
    {
        using Journal journal = Open(_disk, Tiny);
        long last = 0;
        while (journal.Segments < 4)
        {
            journal.Append(TestEntry.Of(1, ++last, 150));
        }

        var reader = new ReleasingReader(journal, last);
        journal.Read(1, 1, reader);
        Assert.DoesNotContain(Path.GetFileNameWithoutExtension(Segment(1)) + RetiredSegments.Suffix, Retired);
        Assert.Equal(Enumerable.Range(1, (int)last).Select(i => (long)i), reader.Indexes);
    }

    [Fact]
    public void FilesThatWaitAreDeletedWhenTheJournalRests()
    {
        using Journal journal = Open(_disk, Tiny with { ReuseWithin = TimeSpan.FromMilliseconds(20) });
        FillSixSegments(journal);
        journal.Release(1, long.MaxValue - 1);
        Assert.True(SpinWait.SpinUntil(() => Retired.Length == 0, 30_000));
        Assert.Null(journal.Failure);
    }

    [Fact]
    public void FilesThatWaitMakeRoomWhereTheDiskIsFull()
    {
        using Journal journal = Open(_disk, Tiny);
        long last = FillSixSegments(journal);
        journal.Release(1, last);
        Assert.True(Retired.Length > 2);
        _disk.Capacity = _disk.Used + 100;

        // One record that takes as much as two of the files that wait.
        Assert.Equal(AppendOutcome.Appended, journal.Append(TestEntry.Of(1, last + 1, 6000)));
        Assert.Empty(Retired);
    }

    [Fact]
    public void SmallGroupsAreNotWorthIt()
    {
        using Journal journal = Open(_disk, Tiny with { ReuseFromGroupBytes = 1024 });
        long last = 0;
        while (journal.Segments < 4)
        {
            journal.Append(TestEntry.Of(1, ++last, 150));
        }

        journal.Release(1, last);
        Assert.Empty(Retired);
    }

    private static long FillSixSegments(Journal journal)
    {
        long last = 0;
        while (journal.Segments < 6)
        {
            journal.Append(TestEntry.Of(1, ++last, 150));
        }

        return last;
    }

    // A journal whose active segment was another one before, with room left.
    private static long Reuse(MemoryFileSystem disk, JournalOptions options, out Journal journal, int bytes = 150)
    {
        journal = Open(disk, options);
        long last = 0;
        while (true)
        {
            journal.Append(TestEntry.Of(1, ++last, bytes));
            journal.Release(1, last - 1);
            long active = ActiveSequence(disk);
            byte[] file = JournalDamageTests.ReadAll(disk, Segment(active));
            if (active > 12 && JournalFormat.TryReadSegmentHeader(file, Segment(active), out SegmentHeader header) && header.UsedBefore
                && journal.EndOffset - header.Base is > 0 and < 1200)
            {
                return last;
            }

            Assert.True(last < 10_000, "no segment is ever reused");
        }
    }

    private static long ActiveSequence(MemoryFileSystem disk) => disk.List(Folder)
        .Select(JournalFormat.SequenceOf)
        .Where(sequence => sequence > 0
            && JournalFormat.TryReadSegmentHeader(JournalDamageTests.ReadAll(disk, Segment(sequence)), Segment(sequence), out SegmentHeader header)
            && header.Sequence == sequence)
        .Max();

    // The bytes of the former life from where the last group begins: they follow it, and repeat with the length of a group.
    private static byte[] Former(MemoryFileSystem disk, string active, byte[] after, int start)
    {
        JournalScan scan = JournalScan.Run(disk, Folder);
        Assert.Null(scan.Damage);
        ScannedSegment segment = scan.Segments[^1];
        Assert.Equal(active, segment.Path);
        int end = (int)(segment.End - segment.Header.Base) + JournalFormat.SegmentHeaderBytes;
        byte[] former = [.. after];
        after.AsSpan(end, end - start).CopyTo(former.AsSpan(start));
        return former;
    }

    private static void Check(MemoryFileSystem killed, string active, byte[] content, long last, bool complete)
    {
        MemoryFileSystem left = killed.AfterPowerLoss(3);
        left.DeleteFile(active);
        using (StorageFile file = left.Create(active))
        {
            file.Write(0, content);
            file.Sync();
        }

        var salvaged = new Salvaged { Indexes = [] };
        using (var salvage = new JournalSalvage(left, Folder))
        {
            salvage.Run(ref salvaged);
        }

        Assert.Equal(Enumerable.Range(0, salvaged.Indexes.Count).Select(i => salvaged.Indexes[0] + i), salvaged.Indexes);
        Assert.InRange(salvaged.Indexes[^1], last - 1, last);
        using Journal again = Open(left, Tiny);
        List<long> indexes = Collector.Of(again).Of(1);
        Assert.Equal(Enumerable.Range(0, indexes.Count).Select(i => indexes[0] + i), indexes);
        Assert.Equal(complete ? last : last - 1, indexes[^1]);
        Assert.True(!complete || again.Recovery.Cut is null);
        Assert.Equal(AppendOutcome.Appended, again.Append(TestEntry.Of(1, indexes[^1] + 1)));
    }

    private struct Salvaged : IRecordVisitor
    {
        public required List<long> Indexes;

        public readonly void Visit(in JournalRecord record)
        {
            if (record.Kind == RecordKind.Commands)
            {
                Indexes.Add(record.Positions[0].Index);
            }
        }
    }

    /// <summary>Lets the segments go that it is about to read, and has as many begun again.</summary>
    private sealed class ReleasingReader(Journal journal, long last) : IJournalReader
    {
        public List<long> Indexes { get; } = [];

        public void Read(in JournalRecord record)
        {
            Indexes.Add(record.Positions[0].Index);
            if (Indexes.Count == 1)
            {
                journal.Release(1, last);
                for (int i = 1; i <= 40; i++)
                {
                    journal.Append(TestEntry.Of(1, last + i, 150));
                }
            }
        }
    }
}
