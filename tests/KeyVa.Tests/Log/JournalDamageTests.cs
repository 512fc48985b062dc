using KeyVa.Io;
using KeyVa.Log;
using Xunit;
using static KeyVa.Tests.Log.JournalTests;

namespace KeyVa.Tests.Log;

/// <summary>Torn tails are cut, damage below a synced offset is refused and named, wrong or missing segments too.</summary>
public sealed class JournalDamageTests
{
    private static readonly JournalOptions Tiny = new()
    {
        SegmentBytes = 2048,
        ReserveBytes = 0,
        IdleMark = TimeSpan.FromHours(1),

        // Two threads, where the verifier reads with one.
        ReadAheadFrom = 0,
    };

    [Fact]
    public void ATailTornAtAnyByteIsCutAndNothingElse()
    {
        var disk = new MemoryFileSystem();
        Journal journal = Open(disk, Tiny with { SegmentBytes = 8192 });
        for (int i = 1; i <= 9; i++)
        {
            journal.Append(TestEntry.Of(1, i, 100, 0xAA));
        }

        long from = journal.EndOffset;
        journal.Append(TestEntry.Of(1, 10, 150, 0xBB));
        long to = journal.EndOffset;
        disk = disk.Kill();
        byte[] whole = ReadAll(disk, Segment(1));
        for (long cut = from; cut < to; cut++)
        {
            byte[] torn = [.. whole];
            int at = (int)(JournalFormat.SegmentHeaderBytes + cut);
            bool dirty = torn.AsSpan(JournalFormat.SegmentHeaderBytes + (int)from, (int)(cut - from)).ContainsAnyExcept((byte)0);
            bool complete = !torn.AsSpan(at).ContainsAnyExcept((byte)0);
            torn.AsSpan(at).Clear();
            MemoryFileSystem left = DiskOf((Segment(1), torn));
            using (Journal again = Open(left, Tiny))
            {
                Assert.Equal(complete ? 10 : 9, Collector.Of(again).Records.Count);
                Assert.Equal(dirty && !complete, again.Recovery.Cut is not null);
                if (again.Recovery.Cut is { } tail)
                {
                    Assert.Equal(Segment(1), tail.File);
                    Assert.Equal(JournalFormat.SegmentHeaderBytes + from, tail.Offset);
                    Assert.InRange(tail.Bytes, 1, to - from);
                }

                Assert.Equal(AppendOutcome.Appended, again.Append(TestEntry.Of(1, 11)));
            }

            using Journal third = Open(left, Tiny);
            Assert.Equal(complete ? 11 : 10, Collector.Of(third).Records.Count);
            Assert.Null(third.Recovery.Cut);
        }
    }

    [Fact]
    public void AFlippedByteAnywhereInAClosedJournalIsFoundAndNamed()
    {
        var disk = new MemoryFileSystem();
        long end;
        using (Journal journal = Open(disk, Tiny))
        {
            for (int i = 1; i <= 25; i++)
            {
                journal.Append(TestEntry.Of(1 + (i % 2), i, 100));
            }
        }

        JournalScan scan = JournalScan.Run(disk, Folder);
        Assert.InRange(scan.Segments.Count, 3, 5);
        Dictionary<string, byte[]> files = scan.Segments.ToDictionary(s => s.Path, s => ReadAll(disk, s.Path));
        foreach (ScannedSegment segment in scan.Segments)
        {
            end = segment.End - segment.Header.Base + JournalFormat.SegmentHeaderBytes;
            bool last = segment == scan.Segments[^1];
            for (long at = 0; at < end; at++)
            {
                byte mask = (byte)(1 << (int)(at % 8));
                MemoryFileSystem left = DiskOf([.. files.Select(f => (f.Key, f.Value))]);
                left.Corrupt(segment.Path, at, mask);
                JournalVerifier verified = JournalVerifier.Verify(left, Folder);
                if (last && at >= end - JournalFormat.GroupHeaderBytes)
                {
                    // The closing mark itself: nothing is lost with it.
                    Assert.Null(verified.Damage);
                    using Journal again = Open(left, Tiny);
                    Assert.Equal(25, Collector.Of(again).Records.Count);
                    Assert.NotNull(again.Recovery.Cut);
                    continue;
                }

                CorruptionException damage = Assert.Throws<CorruptionException>(() => Open(left, Tiny));
                Assert.Equal(segment.Path, damage.File);
                Assert.InRange(damage.Offset, at < JournalFormat.SegmentHeaderBytes ? 0 : at - 400, at);
                Assert.Equal(damage.Message, verified.Damage?.Message);
            }
        }
    }

    [Fact]
    public void AMissingSegmentIsNamed()
    {
        MemoryFileSystem disk = SeveralSegments(out int count);
        for (int sequence = 2; sequence < count; sequence++)
        {
            MemoryFileSystem left = disk.AfterPowerLoss(1);
            left.DeleteFile(Segment(sequence));
            CorruptionException damage = Assert.Throws<CorruptionException>(() => Open(left, Tiny));
            Assert.Equal(Segment(sequence), damage.File);
        }
    }

    [Fact]
    public void ASegmentCopiedOverAnotherIsNamed()
    {
        MemoryFileSystem disk = SeveralSegments(out int count);
        byte[] second = ReadAll(disk, Segment(2));
        disk.DeleteFile(Segment(count - 1));
        WriteAll(disk, Segment(count - 1), second);
        CorruptionException damage = Assert.Throws<CorruptionException>(() => Open(disk, Tiny));
        Assert.Equal(Segment(count - 1), damage.File);
    }

    [Fact]
    public void ASegmentOfAnotherJournalIsRefused()
    {
        MemoryFileSystem disk = SeveralSegments(out int count);
        MemoryFileSystem other = SeveralSegments(out _, bytes: 90);
        disk.DeleteFile(Segment(3));
        WriteAll(disk, Segment(3), ReadAll(other, Segment(3)));
        Assert.True(count > 3);
        Assert.Throws<CorruptionException>(() => Open(disk, Tiny));
    }

    [Fact]
    public void AnUnknownFormatVersionIsSaidAndNothingIsTouched()
    {
        MemoryFileSystem disk = SeveralSegments(out _);
        byte[] first = ReadAll(disk, Segment(1));
        first[8] = 9;
        BitConverter.TryWriteBytes(first.AsSpan(508), Crc32C.Compute(first.AsSpan(0, 508)));
        disk.DeleteFile(Segment(1));
        WriteAll(disk, Segment(1), first);
        StoreException error = Assert.Throws<StoreException>(() => Open(disk, Tiny));
        Assert.Contains("version 9", error.Message, StringComparison.Ordinal);
        Assert.Equal(first, ReadAll(disk, Segment(1)));
    }

    [Fact]
    public void BytesThatLookLikeGroupsInsidePayloadsFoolNobody()
    {
        // The whole segment, stored as a value in the same journal, then a torn tail in front of which it lies.
        var disk = new MemoryFileSystem();
        JournalOptions options = Tiny with { SegmentBytes = 64 << 10 };
        Journal journal = Open(disk, options);
        for (int i = 1; i <= 20; i++)
        {
            journal.Append(TestEntry.Of(1, i, 100));
        }

        byte[] copy = ReadAll(disk, Segment(1))[..8192];
        TestEntry tricky = TestEntry.Of(1, 21);
        tricky.Payload.Append(copy);
        long from = journal.EndOffset;
        journal.Append(tricky);
        disk = disk.Kill();
        disk.Corrupt(Segment(1), JournalFormat.SegmentHeaderBytes + from + 70, 1);
        using Journal again = Open(disk, options);
        Assert.Equal(20, Collector.Of(again).Records.Count);
        Assert.NotNull(again.Recovery.Cut);
    }

    [Fact]
    public void AnIdleMarkProtectsTheLastGroup()
    {
        var disk = new MemoryFileSystem();
        using var synced = new SemaphoreSlim(0);
        using Journal journal = Open(disk, Tiny with { IdleMark = TimeSpan.FromMilliseconds(1) });
        journal.Append(TestEntry.Of(1, 1, 100));
        long end = journal.EndOffset;
        Assert.True(SpinWait.SpinUntil(() => journal.EndOffset > end && journal.SyncedOffset == journal.EndOffset, 30_000));
        MemoryFileSystem left = disk.AfterPowerLoss(1);
        left.Corrupt(Segment(1), JournalFormat.SegmentHeaderBytes + 60, 1);
        Assert.Throws<CorruptionException>(() => Open(left, Tiny));
    }

    internal static byte[] ReadAll(IFileSystem disk, string path)
    {
        using StorageFile file = disk.Open(path, writable: false);
        byte[] bytes = new byte[file.Length];
        file.Read(0, bytes);
        return bytes;
    }

    private static void WriteAll(MemoryFileSystem disk, string path, byte[] bytes)
    {
        using StorageFile file = disk.Create(path);
        file.Write(0, bytes);
        file.Sync();
    }

    private static MemoryFileSystem DiskOf(params (string Path, byte[] Bytes)[] files)
    {
        var disk = new MemoryFileSystem();
        disk.CreateDirectory(Folder);
        foreach ((string path, byte[] bytes) in files)
        {
            WriteAll(disk, path, bytes);
        }

        return disk;
    }

    private static MemoryFileSystem SeveralSegments(out int count, int bytes = 100)
    {
        var disk = new MemoryFileSystem();
        using Journal journal = Open(disk, Tiny);
        for (int i = 1; i <= 40; i++)
        {
            journal.Append(TestEntry.Of(1, i, bytes));
        }

        count = journal.Segments;
        return disk;
    }
}
