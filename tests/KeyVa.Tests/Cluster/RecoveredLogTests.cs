using KeyVa.Cluster.Driver;
using KeyVa.Log;
using KeyVa.Raft;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>What a restart makes of a replica's records.</summary>
public sealed class RecoveredLogTests
{
    private static readonly Membership Members = new([1, 2, 3]);

    private readonly RecoveredLog _log = new(1);

    [Fact]
    public void TheNewestStateAndTheLastWordOfEachIndexCount()
    {
        Read(new HardState(1, 2), Stand(1, 1), (1, 2), (1, 3), (1, 4));
        Read(new HardState(3, 1), Stand(1, 1), (3, 3));
        Read(null, Stand(1, 1), (3, 4), (3, 5));
        _log.Finish();
        Assert.Equal(new HardState(3, 1), _log.State);
        Assert.Equal([(1L, 2L), (3L, 3L), (3L, 4L), (3L, 5L)], Entries());
    }

    [Fact]
    public void WhatThePartitionsFilesHaveIsLeftOut()
    {
        Read(new HardState(1, 0), Stand(1, 1), (1, 2), (1, 3), (1, 4));
        Read(new HardState(1, 0), Stand(1, 3));
        _log.Finish();
        Assert.Equal([(1L, 4L)], Entries());
        Assert.Equal(3, _log.Base!.Index);
    }

    [Fact]
    public void ASnapshotTakesThePlaceOfTheLog()
    {
        Read(new HardState(1, 0), Stand(1, 1), (1, 2), (1, 3));
        Read(new HardState(4, 0), Stand(4, 9));
        Read(null, Stand(4, 9), (4, 10));
        _log.Finish();
        Assert.Equal([(4L, 10L)], Entries());
    }

    [Fact]
    public void EntriesMayBeginBehindAnOlderBaseWhereSegmentsHaveGone()
    {
        Read(new HardState(1, 1), Stand(1, 1));
        Read(null, Stand(1, 1), (1, 148), (1, 149), (1, 150));
        Read(new HardState(1, 1), Stand(1, 149));
        _log.Finish();
        Assert.Equal([(1L, 150L)], Entries());
    }

    /// <summary>Seed 22 of the simulation of whole nodes: the segment with what is between went, that with the older base stayed, since entries stand in it that are needed.</summary>
    [Fact]
    public void AnOlderBaseBehindEntriesThatGoOnLeavesThemWhereSegmentsHaveGone()
    {
        Read(null, Stand(1, 1), (1, 56), (1, 57), (1, 58));
        Read(new HardState(1, 1), Stand(1, 50));
        Read(null, Stand(1, 50), (1, 59), (1, 60));
        Read(new HardState(1, 1), Stand(1, 57));
        Read(null, Stand(1, 57), (1, 61));
        _log.Finish();
        Assert.Equal([(1L, 58L), (1L, 59L), (1L, 60L), (1L, 61L)], Entries());
        Assert.Equal(57, _log.Base!.Index);
    }

    [Fact]
    public void ALogWithAHoleIsRefused()
    {
        Read(new HardState(1, 1), Stand(1, 1), (1, 2));
        Read(null, Stand(1, 1), (1, 4));
        StoreException refused = Assert.Throws<StoreException>(_log.Finish);
        Assert.Contains("partition 1", refused.Message);
    }

    [Fact]
    public void ARecordThatIsCutAnywhereIsRefused()
    {
        using NativeBytes payload = Payload(new HardState(1, 2), Stand(1, 1), (1, 2), (1, 3));
        for (int length = 0; length < payload.Bytes.Length; length++)
        {
            byte[] cut = payload.Bytes[..length];
            Assert.Throws<StoreException>(() => new RecoveredLog(1).Read(new JournalRecord { Kind = RecordKind.Replicated, Positions = [new KeyVa.Log.LogPosition(1, 0, 3)], Payload = cut }));
        }
    }

    private static SnapshotMetadata Stand(long term, long index) => new(index, term, Members);

    private static NativeBytes Payload(HardState? state, SnapshotMetadata stand, params (long Term, long Index)[] entries)
    {
        ReplicaRecord record = new(1, static _ => { });
        record.Fill(1, state, stand, [.. entries.Select(static entry => new Entry(entry.Term, entry.Index, EntryKind.Command, new byte[20]))]);
        return new NativeBytes(record);
    }

    private void Read(HardState? state, SnapshotMetadata stand, params (long Term, long Index)[] entries)
    {
        using NativeBytes payload = Payload(state, stand, entries);
        _log.Read(new JournalRecord { Kind = RecordKind.Replicated, Positions = payload.Record.Positions, Payload = payload.Bytes });
    }

    private IEnumerable<(long Term, long Index)> Entries() => _log.Entries.Select(static entry => (entry.Term, entry.Index));

    private sealed class NativeBytes(ReplicaRecord record) : IDisposable
    {
        public ReplicaRecord Record { get; } = record;

        public byte[] Bytes { get; } = record.Payload.Written.ToArray();

        public void Dispose() => Record.Payload.Dispose();
    }
}
