using KeyVa.Io;
using KeyVa.Log;
using Xunit;
using static KeyVa.Tests.Log.JournalTests;

namespace KeyVa.Tests.Log;

/// <summary>
/// A sync fails, the system takes the pages for clean, the process dies: the next one must not rely on pages that it only reads.
/// Records carry 1, 2, 3, ... as their index.
/// </summary>
public sealed class JournalRewritingTests
{
    private const int Seeds = 150;

    [Theory]
    [InlineData(Durability.Always, Durability.Always, 0)]
    [InlineData(Durability.Os, Durability.Always, 0)]
    [InlineData(Durability.Interval, Durability.Interval, 1 << 20)]
    [InlineData(Durability.Interval, Durability.Interval, 0)]
    [InlineData(Durability.Os, Durability.Os, 1 << 20)]
    [InlineData(Durability.Os, Durability.Os, 0)]
    public void WhatAFailedSyncLeftIsOnTheDiskBeforeAnythingSaysSo(Durability first, Durability then, long atOpening)
    {
        for (int seed = 0; seed < Seeds; seed++)
        {
            var random = new Random(seed);
            MemoryFileSystem disk = DieAfterAFailedSync(seed, first, out long last, out long released);
            JournalOptions options = Tiny(seed + Seeds, then) with { RewriteAtOpening = atOpening };
            Journal journal = Open(disk, options);
            CheckRun(journal, released, last, seed);
            for (int i = random.Next(1, 40); i > 0; i--)
            {
                Assert.Equal(AppendOutcome.Appended, journal.Append(TestEntry.Of(1, ++last, random.Next(20, 600))));
            }

            journal.Sync();
            Assert.Equal(journal.EndOffset, journal.SyncedOffset);
            if (seed % 2 == 0)
            {
                // Marks the end.
                journal.Dispose();
            }

            using Journal again = Open(disk.AfterPowerLoss(seed), options);
            Assert.Null(again.Recovery.Cut);
            CheckRun(again, released, last, seed);
            journal.Dispose();
        }
    }

    [Fact]
    public void WhatIsLeftToTheFirstSyncIsNotWrittenAtTheStartAndDoesNotCountAsSynced()
    {
        int shorter = 0;
        for (int seed = 0; seed < Seeds; seed++)
        {
            MemoryFileSystem disk = DieAfterAFailedSync(seed, Durability.Os, out long last, out long released);
            JournalOptions options = Tiny(seed + Seeds, Durability.Os) with { RewriteAtOpening = 0 };
            Journal journal = Open(disk, options);
            Assert.Equal(0, disk.Faults.Count(FileOperation.Write));
            long found = journal.EndOffset;
            journal.Append(TestEntry.Of(1, ++last));
            Assert.True(journal.SyncedOffset < found);

            // So a power loss leaves a torn tail, never damage.
            using (Journal left = Open(disk.AfterPowerLoss(seed), options))
            {
                List<long> indexes = Collector.Of(left).Of(1);
                Assert.Equal(Enumerable.Range(0, indexes.Count).Select(i => indexes[0] + i), indexes);
                shorter += indexes.Count == 0 || indexes[^1] < last ? 1 : 0;
            }

            journal.Sync();
            using Journal again = Open(disk.AfterPowerLoss(seed), options);
            CheckRun(again, released, last, seed);
            journal.Dispose();
        }

        Assert.True(shorter > 0, "no seed lost anything: the test shows nothing");
    }

    [Theory]
    [InlineData(Durability.Always)]
    [InlineData(Durability.Os)]
    public void PowerMayFailAtAnyOperationOfTheRewriting(Durability durability)
    {
        for (int seed = 0; seed < 6; seed++)
        {
            bool ended = false;
            for (int at = 0; !ended; at++)
            {
                MemoryFileSystem disk = DieAfterAFailedSync(seed, durability, out long last, out long released);
                MemoryFileSystem? left = null;
                int countdown = at;
                disk.Faults.Decide = (_, _) =>
                {
                    if (left is null && countdown-- <= 0)
                    {
                        left = disk.AfterPowerLoss(at);
                    }

                    return left is null ? 0 : Posix.InputOutput;
                };
                try
                {
                    Open(disk, Tiny(seed + Seeds, durability)).Dispose();
                }
                catch (StorageException) when (left is not null)
                {
                    // The machine is off.
                }

                ended = left is null;
                using Journal again = Open(left ?? disk.AfterPowerLoss(at), Tiny(seed + (2 * Seeds), durability));
                List<long> indexes = Collector.Of(again).Of(1);
                Assert.Equal(Enumerable.Range(0, indexes.Count).Select(i => indexes[0] + i), indexes);
                if (ended)
                {
                    CheckRun(again, released, last, seed);
                }
                else if (durability == Durability.Always)
                {
                    // The last one was not acknowledged.
                    Assert.InRange(indexes.Count == 0 ? 0 : indexes[^1], last - 1, last);
                }
            }
        }
    }

    [Fact]
    public void AFirstSegmentWhoseHeaderWasNotSyncedGetsItAgain()
    {
        for (int seed = 0; seed < Seeds; seed++)
        {
            var disk = new MemoryFileSystem();

            // The first sync is that of the file's room.
            disk.Faults.FailNext(FileOperation.Sync, skip: 1);
            Assert.Throws<StorageException>(() => Open(disk, Tiny(seed, Durability.Always)));
            disk = disk.Kill();
            Journal journal = Open(disk, Tiny(seed, Durability.Always));
            Assert.Equal(1, disk.Faults.Count(FileOperation.Write));
            Assert.Equal(AppendOutcome.Appended, journal.Append(TestEntry.Of(1, 1)));
            Assert.Equal(AppendOutcome.Appended, journal.Append(TestEntry.Of(1, 2)));
            using Journal again = Open(disk.AfterPowerLoss(seed), Tiny(seed, Durability.Always));
            CheckRun(again, 0, 2, seed);
            journal.Dispose();
        }
    }

    [Fact]
    public void OnAFullDiskItIsWrittenIntoTheRoomThatItHas()
    {
        for (int seed = 0; seed < Seeds; seed++)
        {
            MemoryFileSystem disk = DieAfterAFailedSync(seed, Durability.Os, out long last, out long released);
            disk.Capacity = disk.Used;
            Journal journal = Open(disk, Tiny(seed + Seeds, Durability.Always));
            Assert.Equal(journal.EndOffset, journal.SyncedOffset);
            using Journal again = Open(disk.AfterPowerLoss(seed), Tiny(seed + (2 * Seeds), Durability.Always));
            CheckRun(again, released, last, seed);
            journal.Dispose();
        }
    }

    [Fact]
    public void AfterACleanCloseOnlyTheMarkIsWrittenAgain()
    {
        var disk = new MemoryFileSystem();
        using (Journal journal = Open(disk, Tiny(1, Durability.Always)))
        {
            for (int i = 1; i <= 40; i++)
            {
                journal.Append(TestEntry.Of(1, i, 300));
            }
        }

        long writes = disk.Faults.Count(FileOperation.Write);
        long syncs = disk.Faults.Count(FileOperation.SyncData);
        using Journal again = Open(disk, Tiny(2, Durability.Always));
        Assert.Equal(writes + 1, disk.Faults.Count(FileOperation.Write));
        Assert.Equal(syncs + 1, disk.Faults.Count(FileOperation.SyncData));
    }

    [Fact]
    public void VerifyingWritesAndSyncsNothing()
    {
        MemoryFileSystem disk = DieAfterAFailedSync(3, Durability.Os, out _, out _);
        Assert.Null(JournalVerifier.Verify(disk, Folder).Damage);
        Assert.Equal(0, disk.Faults.Count(FileOperation.Write));
        Assert.Equal(0, disk.Faults.Count(FileOperation.SyncData) + disk.Faults.Count(FileOperation.Sync));
    }

    // The system may drop a page that it takes for clean, and read what the disk has had before.
    [Fact]
    public void WhatChangedSinceItWasReadIsNotWrittenAndNamed()
    {
        MemoryFileSystem disk = DieAfterAFailedSync(3, Durability.Os, out _, out _);
        JournalScan scan = JournalScan.Run(disk, Folder);
        ScannedSegment segment = scan.Segments[^1];
        Assert.True(segment.End > Math.Max(scan.Synced, segment.Header.Base));
        long lastByte = segment.End - segment.Header.Base + JournalFormat.SegmentHeaderBytes - 8;
        foreach (long at in (long[])[40, lastByte])
        {
            disk.Corrupt(segment.Path, at, 1);
            using StorageFile file = disk.Open(segment.Path, writable: true);
            var rewriting = new JournalRewriting(file, segment.Header, Math.Min(scan.Synced, segment.Header.Base), segment.End);
            Assert.Equal(segment.Path, Assert.Throws<CorruptionException>(rewriting.Run).File);
            Assert.False(rewriting.IsDone);
            disk.Corrupt(segment.Path, at, 1);
            rewriting.Run();
            Assert.True(rewriting.IsDone);
        }
    }

    private static JournalOptions Tiny(int seed, Durability durability)
    {
        ulong salt = (ulong)seed << 20;
        return new JournalOptions
        {
            Durability = durability,
            SegmentBytes = 4096,
            ReserveBytes = 0,
            SyncInterval = TimeSpan.FromHours(1),
            IdleMark = TimeSpan.FromHours(1),
            ReuseFromGroupBytes = 0,
            ReuseWithin = TimeSpan.FromHours(1),
            NextSalt = () => ++salt,
        };
    }

    // Every other seed lets segments go on the way, whose files become segments again. Under Always the last record's sync fails;
    // else what was written since the beginning, or since one sync on the way, is lost to the disk, in all segments.
    private static MemoryFileSystem DieAfterAFailedSync(int seed, Durability durability, out long last, out long released)
    {
        var random = new Random(seed);
        var disk = new MemoryFileSystem();
        Journal journal = Open(disk, Tiny(seed, durability));
        int records = random.Next(5, 60);
        int synced = random.Next(2) == 0 ? random.Next(records) : -1;
        (last, released) = (0, 0);
        for (int i = 0; i < records; i++)
        {
            Assert.Equal(AppendOutcome.Appended, journal.Append(TestEntry.Of(1, ++last, random.Next(20, 600))));
            if (i == synced)
            {
                journal.Sync();
            }

            if (seed % 2 == 0)
            {
                released = Math.Max(0, last - 20);
                journal.Release(1, released);
            }
        }

        if (durability == Durability.Always)
        {
            disk.Faults.FailNext(FileOperation.SyncData);

            // Of several pages: one that is written to later comes to the disk with what else is in it.
            Assert.Equal(AppendOutcome.Failed, journal.Append(TestEntry.Of(1, ++last, random.Next(5000, 12_000))));
        }
        else
        {
            foreach (string name in disk.List(Folder).Where(static name => JournalFormat.SequenceOf(name) > 0))
            {
                disk.Faults.FailNext(FileOperation.SyncData);
                using StorageFile file = disk.Open($"{Folder}/{name}", writable: true);
                Assert.Throws<StorageException>(file.SyncData);
            }
        }

        MemoryFileSystem left = disk.Kill();
        journal.Dispose();
        return left;
    }

    private static void CheckRun(Journal journal, long released, long last, int seed)
    {
        List<long> indexes = Collector.Of(journal).Of(1);
        Assert.True(indexes.Count > 0, $"seed {seed}: all is gone");
        Assert.Equal(Enumerable.Range(0, indexes.Count).Select(i => indexes[0] + i), indexes);
        Assert.True(indexes[0] <= released + 1 && indexes[^1] == last, $"seed {seed}: {indexes[0]} to {indexes[^1]}, not {released + 1} to {last}");
    }
}
