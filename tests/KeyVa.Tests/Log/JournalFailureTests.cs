using KeyVa.Io;
using KeyVa.Log;
using Xunit;
using static KeyVa.Tests.Log.JournalTests;

namespace KeyVa.Tests.Log;

/// <summary>Failed writes and syncs stop the journal; a full disk does not.</summary>
public sealed class JournalFailureTests
{
    private readonly MemoryFileSystem _disk = new();

    [Theory]
    [InlineData((int)FileOperation.SyncData)]
    [InlineData((int)FileOperation.Write)]
    public void AFailedWriteOrSyncIsFatalForEver(int operation)
    {
        Journal journal = Open(_disk, Small with { IdleMark = TimeSpan.FromHours(1) });
        Assert.Equal(AppendOutcome.Appended, journal.Append(TestEntry.Of(1, 1)));
        _disk.Faults.FailNext((FileOperation)operation);
        Assert.Equal(AppendOutcome.Failed, journal.Append(TestEntry.Of(1, 2)));
        Assert.IsType<StorageException>(journal.Failure);
        Assert.Equal(AppendOutcome.Failed, journal.Append(TestEntry.Of(1, 3)));
        TestEntry queued = TestEntry.Of(1, 4);
        journal.Enqueue(queued);
        Assert.Equal(AppendOutcome.Failed, queued.Await());
        long writes = _disk.Faults.Count(FileOperation.Write);
        long syncs = _disk.Faults.Count(FileOperation.SyncData);
        journal.Dispose();
        Assert.Equal(writes, _disk.Faults.Count(FileOperation.Write));
        Assert.Equal(syncs, _disk.Faults.Count(FileOperation.SyncData));
        for (int seed = 0; seed < 50; seed++)
        {
            using Journal again = Open(_disk.AfterPowerLoss(seed));
            Assert.InRange(Collector.Of(again).Records.Count, 1, 2);
        }
    }

    [Fact]
    public void AFailedIntervalSyncStopsTheJournal()
    {
        using Journal journal = Open(_disk, Small with { Durability = Durability.Interval, SyncInterval = TimeSpan.FromMilliseconds(1) });
        _disk.Faults.FailNext(FileOperation.SyncData);
        journal.Append(TestEntry.Of(1, 1));
        Assert.True(SpinWait.SpinUntil(() => journal.Failure is not null, 30_000));
        Assert.Equal(AppendOutcome.Failed, journal.Append(TestEntry.Of(1, 2)));
    }

    [Fact]
    public void TheIntervalBoundsWhatIsNotSynced()
    {
        using Journal journal = Open(_disk, Small with { Durability = Durability.Interval, SyncInterval = TimeSpan.FromMilliseconds(1) });
        for (int i = 1; i <= 20; i++)
        {
            journal.Append(TestEntry.Of(1, i, 2000));
            Assert.True(SpinWait.SpinUntil(() => journal.SyncedOffset == journal.EndOffset, 30_000));
        }
    }

    [Fact]
    public void AFullDiskRefusesPutsLetsRemovalsGoOnAndClearsByItself()
    {
        using Journal journal = Open(_disk);
        int puts = 0;
        _disk.Capacity = _disk.Used;
        while (journal.Append(TestEntry.Of(1, puts + 1, 300)) == AppendOutcome.Appended)
        {
            puts++;
            Assert.True(puts < 1000);
        }

        Assert.Null(journal.Failure);
        Assert.InRange(puts, 20, 200);

        // The reserve: removals only, until it is used up too.
        int removals = 0;
        while (Remove(journal, puts + removals + 1) == AppendOutcome.Appended)
        {
            removals++;
            Assert.Equal(AppendOutcome.Full, journal.Append(TestEntry.Of(1, puts + removals + 1, 300)));
            Assert.True(removals < 1000);
        }

        Assert.InRange(removals, 15, 200);
        Assert.Null(journal.Failure);

        // Every record that was acknowledged, and no other, is there; on the full disk too.
        using (Journal look = Open(_disk.AfterPowerLoss(3)))
        {
            Assert.Equal(puts + removals, Collector.Of(look).Records.Count);
            Assert.Equal(AppendOutcome.Full, look.Append(TestEntry.Of(1, 9999)));
        }

        _disk.Capacity += 1 << 20;
        Assert.Equal(AppendOutcome.Appended, journal.Append(TestEntry.Of(1, puts + removals + 1, 300)));
        journal.Dispose();
        using Journal again = Open(_disk);
        Assert.Equal(puts + removals + 1, Collector.Of(again).Records.Count);
        Assert.True(_disk.FileExists($"{Folder}/reserve"));
    }

    [Fact]
    public void AGroupThatFoundNoRoomInTheMiddleIsNeverRead()
    {
        // Where preallocated room can run out (copy on write): the write itself fails, after a part of it or all was written.
        Journal journal = Open(_disk, Small with { SegmentBytes = 256 << 10, IdleMark = TimeSpan.FromHours(1) });
        var expected = new List<long>();
        for (int i = 1; i <= 60; i++)
        {
            _disk.Faults.FailNext(FileOperation.Write, Posix.NoSpace);
            Assert.Equal(AppendOutcome.Full, journal.Append(TestEntry.Of(1, i, 1000)));
            Assert.Null(journal.Failure);
            Journal killed = Open(_disk.AfterPowerLoss(i), Small);
            Assert.Equal(expected, Collector.Of(killed).Of(1));
            if (i % 3 == 0)
            {
                Assert.Equal(AppendOutcome.Appended, journal.Append(TestEntry.Of(1, i, 100)));
                expected.Add(i);
            }

            killed.Dispose();
        }

        using Journal again = Open(_disk.Kill());
        Assert.Equal(expected, Collector.Of(again).Of(1));
    }

    [Fact]
    public void WithRoomForSomeOnlyTheRemovalsOfAGroupAreServed()
    {
        Journal journal = Open(_disk, Small with { IdleMark = TimeSpan.FromHours(1) });
        using var inSync = new SemaphoreSlim(0);
        using var goOn = new SemaphoreSlim(0);
        int held = 0;
        _disk.Faults.Before = (operation, _) =>
        {
            if (operation == FileOperation.SyncData && Interlocked.Exchange(ref held, 1) == 0)
            {
                inSync.Release();
                goOn.Wait();
            }
        };
        var first = new Thread(() => journal.Append(TestEntry.Of(1, 1)));
        first.Start();
        inSync.Wait();
        _disk.Capacity = _disk.Used;
        TestEntry put = TestEntry.Of(2, 1, 20_000);
        TestEntry removal = TestEntry.Of(3, 1, 500);
        removal.MayUseReserve = true;
        journal.Enqueue(put);
        journal.Enqueue(removal);
        goOn.Release();
        Assert.Equal(AppendOutcome.Full, put.Await());
        Assert.Equal(AppendOutcome.Appended, removal.Await());
        first.Join();
        journal.Dispose();
        using Journal again = Open(_disk);
        Assert.Equal(2, Collector.Of(again).Records.Count);
    }

    private static AppendOutcome Remove(Journal journal, long index)
    {
        TestEntry entry = TestEntry.Of(1, index, 300);
        entry.MayUseReserve = true;
        return journal.Append(entry);
    }
}
