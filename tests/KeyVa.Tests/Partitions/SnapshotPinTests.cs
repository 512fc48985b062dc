using KeyVa.Engines;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Partitions;

public class SnapshotPinTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void TheOldestIsRightInWhateverOrderVersionsArePinned(int seed)
    {
        Random random = new(seed);
        SnapshotList list = new();
        List<Snapshot> open = [];
        for (int step = 0; step < 2_000; step++)
        {
            if (open.Count > 0 && random.Next(2) == 0)
            {
                int at = random.Next(open.Count);
                open[at].Dispose();
                open.RemoveAt(at);
            }
            else
            {
                long version = random.Next(1, 50);
                open.Add(list.Pin(version, version * 10));
                Assert.Equal(version, open[^1].Version);
            }

            long oldest = open.Count == 0 ? long.MaxValue : open.Min(snapshot => snapshot.Version);
            Assert.True(oldest == list.OldestVersion, $"seed {seed}, step {step}");
            Assert.Equal(open.Count, list.Count);
            Assert.Equal(Math.Min(30, oldest), list.Bound(new HistoryFloor(), 30, 300).Version);
            Assert.Equal(open.Count == 0 ? 300 : Math.Min(300, oldest * 10), list.Bound(new HistoryFloor(), 30, 300).Stamp);
        }
    }
}
