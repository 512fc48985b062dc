using KeyVa.Io;
using KeyVa.Log;
using Xunit;
using static KeyVa.Tests.Log.JournalTests;

namespace KeyVa.Tests.Log;

/// <summary>While the file of the next segment waits for the disk, writers that asked for no sync go on in the present one.</summary>
public sealed class JournalGrowthTests : IDisposable
{
    private const int SegmentBytes = 1 << 20;
    private const int RecordBytes = 9000;

    private static readonly JournalOptions Options = new()
    {
        Durability = Durability.Os,
        SegmentBytes = SegmentBytes,
        ReserveBytes = 0,
        IdleMark = TimeSpan.FromHours(1),
        SyncInterval = TimeSpan.FromHours(1),
    };

    private readonly MemoryFileSystem _disk = new();
    private readonly ManualResetEventSlim _isHeld = new();
    private readonly ManualResetEventSlim _letGo = new();
    private long _last;

    public void Dispose()
    {
        _letGo.Set();
        _isHeld.Dispose();
        _letGo.Dispose();
    }

    [Theory]
    [InlineData(Durability.Os)]
    [InlineData(Durability.Interval)]
    public void NobodyWaitsForTheSyncsOfTheNextSegment(Durability durability)
    {
        JournalOptions options = Options with { Durability = durability };
        using (Journal journal = OpenHeld(options))
        using (ReleaseAtEnd())
        {
            // The next segment's sync is under way now, and does not end before all of these have been answered.
            Append(journal, 3 * SegmentBytes / RecordBytes);
            Assert.Equal(1, journal.Segments);
            Assert.True(journal.Bytes > 3 * SegmentBytes, "what the segment takes is counted");
            _letGo.Set();
            while (journal.Segments == 1)
            {
                Append(journal, 1);
            }

            // A segment whose successor is there in time does not grow; when the thread that makes it runs is the system's to say.
            long before = journal.Bytes;
            Append(journal, SegmentBytes / 4 / RecordBytes);
            Assert.True(SpinWait.SpinUntil(() => !journal.IsPreparing, TimeSpan.FromSeconds(60)), "the next segment is not made");
            Append(journal, SegmentBytes / RecordBytes);
            Assert.Equal(3, journal.Segments);
            Assert.Equal(before + SegmentBytes, journal.Bytes);
        }

        CheckAll(_disk, options);
        Assert.Null(JournalVerifier.Verify(_disk, Folder).Damage);
    }

    [Fact]
    public void WhatAPowerLossLeavesOfAGrownSegmentIsARun()
    {
        using Journal journal = OpenHeld(Options);
        using Held released = ReleaseAtEnd();
        Append(journal, 2 * SegmentBytes / RecordBytes);
        int shorter = 0;
        for (int seed = 0; seed < 40; seed++)
        {
            MemoryFileSystem left = _disk.AfterPowerLoss(seed);
            using Journal again = Open(left, Options);
            List<long> indexes = Collector.Of(again).Of(1);
            Assert.Equal(Enumerable.Range(1, indexes.Count).Select(static i => (long)i), indexes);
            shorter += indexes.Count < _last ? 1 : 0;
        }

        _letGo.Set();
        Assert.True(shorter > 0, "no seed lost anything: the test shows nothing");
    }

    [Fact]
    public void AGrownSegmentGoesAsOthersDo()
    {
        using Journal journal = OpenHeld(Options);
        using Held released = ReleaseAtEnd();
        Append(journal, 2 * SegmentBytes / RecordBytes);
        _letGo.Set();
        while (journal.Segments == 1)
        {
            Append(journal, 1);
        }

        Append(journal, 2);
        journal.Release(1, _last);
        Assert.Equal(1, journal.Segments);
        Assert.InRange(journal.Bytes, 1, SegmentBytes);
    }

    [Fact]
    public void WhereTheDiskHasNoRoomToGrowNothingIsLost()
    {
        using (Journal journal = OpenHeld(Options))
        using (ReleaseAtEnd())
        {
            Append(journal, SegmentBytes / 2 / RecordBytes);
            _disk.Faults.Before = (operation, path) =>
            {
                if (operation == FileOperation.Allocate && path.EndsWith(JournalFormat.SegmentName(1), StringComparison.Ordinal))
                {
                    _letGo.Set();
                    throw new StorageFullException("fallocate", path, 28);
                }
            };
            Append(journal, 2 * SegmentBytes / RecordBytes);
            Assert.True(journal.Segments > 1, "who cannot grow waits for the next segment");
        }

        CheckAll(_disk, Options);
    }

    // The journal has one segment, an eighth of it is used, and the file of the next one hangs in its sync.
    private Journal OpenHeld(JournalOptions options)
    {
        Journal journal = Open(_disk, options);
        _disk.Faults.Before = (operation, path) =>
        {
            if (operation == FileOperation.Sync && path.EndsWith(JournalFormat.SegmentName(2), StringComparison.Ordinal))
            {
                _isHeld.Set();

                // Not for ever: a journal that waits here makes the checks fail, not hang.
                _letGo.Wait(TimeSpan.FromSeconds(60));
            }
        };
        Append(journal, SegmentBytes / 4 / RecordBytes);
        Assert.True(_isHeld.Wait(TimeSpan.FromSeconds(60)), "nobody made the next segment");
        return journal;
    }

    // Closing a journal waits for its threads: they go on first, also where a check has failed.
    private Held ReleaseAtEnd() => new(_letGo);

    private void Append(Journal journal, int count)
    {
        for (int i = 0; i < count; i++)
        {
            Assert.Equal(AppendOutcome.Appended, journal.Append(TestEntry.Of(1, ++_last, RecordBytes)));
        }
    }

    private void CheckAll(MemoryFileSystem disk, JournalOptions options)
    {
        using Journal again = Open(disk, options);
        Assert.Equal(Enumerable.Range(1, (int)_last).Select(static i => (long)i), Collector.Of(again).Of(1));
        Assert.Null(again.Recovery.Cut);
    }

    private sealed class Held(ManualResetEventSlim letGo) : IDisposable
    {
        public void Dispose() => letGo.Set();
    }
}
