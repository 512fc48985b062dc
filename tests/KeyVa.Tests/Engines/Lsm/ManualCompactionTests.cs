using System.Text;
using KeyVa.Engines.Lsm;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

public sealed class ManualCompactionTests
{
    [Theory]
    [InlineData(CompactionStyle.Leveled, 1)]
    [InlineData(CompactionStyle.Leveled, 4)]
    [InlineData(CompactionStyle.Tiered, 1)]
    [InlineData(CompactionStyle.Tiered, 4)]
    public void ExactlyWhatIsAliveIsLeft(CompactionStyle style, int threads)
    {
        using LsmFixture fixture = new(LsmFixture.SmallOptions with { CompactionStyle = style, MaxSubCompactions = threads });
        Random random = new(7);
        Dictionary<string, string> alive = [];
        long soon = fixture.Time.UnixMilliseconds + 1000;
        for (int i = 0; i < 5000; i++)
        {
            string key = $"key{random.Next(1500):D5}";
            switch (random.Next(4))
            {
                case 0:
                    fixture.Remove(key);
                    alive.Remove(key);
                    break;
                case 1:
                    fixture.Put(key, "expires", soon);
                    alive.Remove(key);
                    break;
                default:
                    alive[key] = $"value {i}";
                    fixture.Put(key, alive[key]);
                    break;
            }

            if (i % 50 == 0)
            {
                fixture.Background.RunOne(random);
            }
        }

        fixture.Time.UnixMilliseconds += 5000;
        alive["later"] = "the clock has moved";
        fixture.Put("later", alive["later"]);
        CompactionResult result = Compact(fixture, KeyRange.All);
        Assert.Equal(Status.Ok, result.Status);
        Assert.True(result.BytesRead > result.BytesWritten && result.BytesWritten > 0);
        Superversion tree = fixture.Engine.Versions.Current;
        Assert.Empty(tree.Level0);
        Assert.Equal(alive.Count, tree.Deeper[LevelTargets.Last].Tables.Sum(table => table.Properties.Entries));
        Assert.Equal(alive.Count, tree.Tables.Sum(table => table.Properties.Entries));
        Assert.Equal(alive.Sum(item => item.Value.Length), tree.Tables.Sum(table => table.Properties.ValueBytes));
        Assert.Equal(0, tree.Tables.Sum(table => table.Properties.Tombstones));
        Assert.All(alive, item => Assert.Equal(item.Value, fixture.Get(item.Key)));
        Assert.Empty(fixture.Engine.Verify(CancellationToken.None));

        // What is as it should be is read once more and stays the same.
        Compact(fixture, KeyRange.All);
        Assert.Equal(alive.Count, fixture.Engine.Versions.Current.Tables.Sum(table => table.Properties.Entries));
    }

    [Fact]
    public void ARangeLeavesTheOthersAsTheyAre()
    {
        using LsmFixture fixture = new(LsmFixture.SmallOptions with { Level0Tables = 1000 });
        for (int round = 0; round < 3; round++)
        {
            for (int i = 0; i < 600; i++)
            {
                fixture.Put($"key{i:D5}", $"round {round}, {new string('v', 60)}");
            }

            fixture.Flush();
            Compact(fixture, new KeyRange(Encoding.ASCII.GetBytes("key00000"), Encoding.ASCII.GetBytes("key00100")));
        }

        // Level 0 went down whole; below it only the range's tables were written anew.
        Superversion before = fixture.Engine.Versions.Current;
        HashSet<long> ids = [.. before.Tables.Select(table => table.Id)];
        Compact(fixture, new KeyRange(Encoding.ASCII.GetBytes("key00300"), Encoding.ASCII.GetBytes("key00320")));
        Superversion after = fixture.Engine.Versions.Current;
        int kept = after.Tables.Count(table => ids.Contains(table.Id));
        Assert.InRange(kept, ids.Count / 2, ids.Count - 1);
    }

    [Fact]
    public void ASnapshotKeepsWhatItSees()
    {
        using LsmFixture fixture = new();
        fixture.Put("a", "old");
        using Snapshot snapshot = fixture.Snapshots.Open(fixture.Oracle);
        fixture.Put("a", "new");
        fixture.Remove("a");
        Compact(fixture, KeyRange.All);
        Assert.Equal("old", fixture.Get("a", snapshot.Version));
        Assert.Null(fixture.Get("a"));
        snapshot.Dispose();
        Compact(fixture, KeyRange.All);
        Assert.Empty(fixture.Engine.Versions.Current.Tables);
    }

    [Fact]
    public async Task ItEndsWithTheEngineOrWhenItIsCancelled()
    {
        LsmFixture fixture = new();
        fixture.Put("a", "1");
        using CancellationTokenSource cancel = new();
        PartitionCompaction cancelled = new(cancel.Token);
        fixture.Engine.BeginFlush();
        fixture.Engine.BeginCompaction(cancelled, KeyRange.All);
        cancel.Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled.Completion);
        PartitionCompaction open = new(CancellationToken.None);
        fixture.Engine.BeginCompaction(open, KeyRange.All);
        fixture.Dispose();
        await Assert.ThrowsAsync<StoreException>(() => open.Completion);
    }

    private static CompactionResult Compact(LsmFixture fixture, KeyRange range)
    {
        PartitionCompaction compaction = new(CancellationToken.None);
        fixture.Engine.BeginFlush();
        fixture.Engine.BeginCompaction(compaction, range);
        fixture.Background.RunAll(new Random(1));
        Assert.True(compaction.Completion.IsCompletedSuccessfully, "not complete though there is nothing left to do");
        return compaction.Completion.Result;
    }
}
