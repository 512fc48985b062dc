using KeyVa.Io;
using KeyVa.Log;
using Xunit;
using static KeyVa.Tests.Log.JournalTests;

namespace KeyVa.Tests.Log;

/// <summary>A journal that two threads read is the one that a single thread reads, good or damaged.</summary>
public sealed class JournalReadAheadTests
{
    private static readonly JournalOptions Alone = new() { SegmentBytes = 256 << 10, ReserveBytes = 8 << 10, ReadAheadFrom = long.MaxValue, IdleMark = TimeSpan.FromHours(1) };
    private static readonly JournalOptions Ahead = Alone with { ReadAheadFrom = 0 };

    private readonly MemoryFileSystem _disk = new();

    [Fact]
    public void BothReadTheSameInTheSameOrder()
    {
        Fill(records: 3000, largest: 2000);
        using (Journal journal = Open(_disk, Alone))
        {
            // Longer than a batch, and one that fills what is left of a segment.
            journal.Append(TestEntry.Of(2, 5000, 900_000, 1));
            journal.Append(TestEntry.Of(3, 5001, 700_000, 2));
            journal.Append(TestEntry.Over(5002, 33, 5, 6, 900));
        }

        List<string> expected;
        using (Journal journal = Open(_disk, Alone))
        {
            expected = Collector.Of(journal).Records;
            Assert.True(journal.Segments > 8);
        }

        using Journal ahead = Open(_disk, Ahead);
        Assert.Equal(3003, ahead.Recovery.Records);
        Assert.Equal(expected, Collector.Of(ahead).Records);
    }

    [Fact]
    public void AnEmptyJournalIsReadToItsEnd()
    {
        using Journal journal = Open(_disk, Ahead);
        Assert.Empty(Collector.Of(journal).Records);
    }

    [Fact]
    public void DamageThatComesAfterOpeningIsToldWhenAllBeforeItWasRead()
    {
        Fill(records: 3000, largest: 1000);
        string[] messages = new string[2];
        var read = new List<string>[2];
        for (int i = 0; i < 2; i++)
        {
            MemoryFileSystem disk = _disk.AfterPowerLoss(1);
            using Journal journal = Open(disk, i == 0 ? Alone : Ahead);
            disk.Corrupt(Segment(4), 100_000, 1);
            var collector = new Collector();
            messages[i] = Assert.Throws<CorruptionException>(() => journal.Replay(collector)).Message;
            read[i] = collector.Records;
        }

        Assert.Equal(messages[0], messages[1]);
        Assert.Equal(read[0], read[1]);
        Assert.NotEmpty(read[0]);
        Assert.Contains(Segment(4), messages[1], StringComparison.Ordinal);
    }

    [Fact]
    public void WhatTheReaderThrowsEndsTheReading()
    {
        Fill(records: 3000, largest: 2000);
        using Journal journal = Open(_disk, Ahead);
        var reader = new FailingReader(after: 1000);
        Assert.Throws<InvalidOperationException>(() => journal.Replay(reader));
        Assert.Equal(1000, reader.Read);

        // Nothing of the first reading is left behind.
        Assert.Equal(3000, Collector.Of(journal).Records.Count);
    }

    [Fact]
    public void AReadErrorIsThrownWhereverItHappens()
    {
        Fill(records: 1000, largest: 2000);
        for (int skip = 0; skip < 8; skip++)
        {
            MemoryFileSystem disk = _disk.AfterPowerLoss(1);
            disk.Faults.FailNext(FileOperation.Read, skip: skip, path: ".journal");
            StorageException failure = Assert.Throws<StorageException>(() => Open(disk, Ahead));
            Assert.Contains(".journal", failure.Message, StringComparison.Ordinal);
        }
    }

    private void Fill(int records, int largest)
    {
        using Journal journal = Open(_disk, Alone);
        for (int i = 1; i <= records; i++)
        {
            journal.Append(TestEntry.Of(1 + (i % 3), i, 16 + (i * 7919 % largest), (byte)i));
        }
    }

    private sealed class FailingReader(int after) : IJournalReader
    {
        public int Read { get; private set; }

        void IJournalReader.Read(in JournalRecord record)
        {
            if (Read == after)
            {
                throw new InvalidOperationException("enough");
            }

            Read++;
        }
    }
}
