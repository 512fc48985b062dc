using KeyVa.Engines;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Partitions;

public sealed class SnapshotListTests
{
    [Fact]
    public void TheOldestOpenSnapshotBoundsWhatIsForgotten()
    {
        var list = new SnapshotList();
        var oracle = new VersionOracle(new ManualTime());
        Assert.Equal(new Horizon(50, 5), list.Bound(new HistoryFloor(), 50, 5));
        oracle.Recover(10, 100);
        Snapshot a = list.Open(oracle);
        oracle.Take(5);
        Snapshot b = list.Open(oracle);
        Assert.Equal((10L, 15L), (a.Version, b.Version));
        Assert.Equal((10L, 2), (list.OldestVersion, list.Count));
        a.Dispose();
        a.Dispose();
        Assert.Equal((15L, 1), (list.OldestVersion, list.Count));
        Assert.Equal(15, list.Bound(new HistoryFloor(), 99, 1).Version);
        b.Dispose();
        Assert.Equal(long.MaxValue, list.OldestVersion);
    }

    [Fact]
    public void SnapshotsOfPartitionsThatLagAreSortedIn()
    {
        var list = new SnapshotList();
        Snapshot newer = list.Open(new Source(20));
        Snapshot older = list.Open(new Source(5));
        Assert.Equal(5, list.OldestVersion);
        older.Dispose();
        Assert.Equal(20, list.OldestVersion);
        newer.Dispose();
        Assert.Equal(0, list.Count);
    }

    private sealed class Source(long version) : ISnapshotSource
    {
        public long SnapshotVersion => version;

        public long SnapshotStamp => 0;
    }
}
