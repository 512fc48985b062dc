using KeyVa.Cluster.Driver;
using KeyVa.Log;
using KeyVa.Raft;
using Xunit;

namespace KeyVa.Tests.Cluster;

public sealed class ReplicaJournalTests
{
    private const int WorkBytes = 900 << 10;

    private readonly List<ReplicaRecord> _written = [];
    private readonly ReplicaJournal _journal;

    public ReplicaJournalTests() => _journal = new ReplicaJournal(1, default, SnapshotMetadata.None, static _ => { }, _written.Add)
    {
        Options = new DriverOptions { Node = 1, Cluster = 1, Seed = 1 },
    };

    // What a leader sends to a follower that lacks much comes faster than it is synced.
    [Fact]
    public void WhatWaitsIsWrittenInRecordsOfWhichTwoFitIntoASegment()
    {
        const int works = 20;
        for (int number = 1; number <= works; number++)
        {
            _journal.Add(WorkOf(number, number, WorkBytes));
        }

        List<long> persisted = [];
        for (_journal.TryWrite(); persisted.Count < _written.Count; _journal.TryWrite())
        {
            // One is under way at a time.
            Assert.Equal(persisted.Count + 1, _written.Count);
            long room = JournalFormat.SegmentHeaderBytes + (2L * (JournalFormat.GroupHeaderBytes + GroupBuilder.Size(_written[^1])));
            Assert.InRange(room, 0, new JournalOptions().SegmentBytes);
            persisted.Add(_journal.End(AppendOutcome.Appended)!.Value);
        }

        // Four of them have room in one.
        Assert.Equal([4, 8, 12, 16, 20], persisted);
        Assert.False(_journal.IsBusy);
    }

    [Fact]
    public void AWorkThatIsLargerThanARecordIsWrittenWhole()
    {
        _journal.Add(WorkOf(1, 1, 10 << 20));
        _journal.Add(WorkOf(2, 2, 1));
        _journal.TryWrite();
        Assert.Equal(1, _journal.End(AppendOutcome.Appended));
        _journal.TryWrite();
        Assert.Equal(2, _journal.End(AppendOutcome.Appended));
        Assert.False(_journal.IsBusy);
    }

    private static Work WorkOf(long number, long index, int bytes) => new() { Number = number, Entries = new[] { new Entry(1, index, EntryKind.Command, new byte[bytes]) } };
}
