using System.Diagnostics;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

public sealed class CompactionRunTests
{
    // Nothing is compacted but what a test asks for, and that in many ranges.
    private static readonly EngineOptions Options = LsmFixture.SmallOptions with { Level0Tables = 1000, MaxSubCompactions = 4 };

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(9)]
    public void AFailureInOneRangeLeavesNothingOfAny(int goodWrites)
    {
        using LsmFixture fixture = new(Options);
        Fill(fixture, 2000);
        string[] tables = Tables(fixture);
        PartitionCompaction compaction = Begin(fixture);
        int countdown = goodWrites;
        fixture.Files.Faults.Before = (operation, path) =>
        {
            if (operation == FileOperation.Write && path.EndsWith(".sst", StringComparison.Ordinal) && --countdown == 0)
            {
                fixture.Files.Faults.FailNext(FileOperation.Write);
            }
        };
        fixture.Background.RunAll(new Random(1), limit: 40);
        fixture.Files.Faults.Before = null;
        fixture.Files.Faults.Clear();
        Assert.NotNull(fixture.Engine.Failure);
        Assert.Equal(tables, Tables(fixture));
        Assert.True(compaction.Completion.IsFaulted);
        Assert.Equal(tables, Files(fixture));
        Assert.Equal("value 1999", fixture.Get("key01999"));
        fixture.Reopen();
        Assert.Equal("value 1999", fixture.Get("key01999"));
        Assert.Empty(fixture.Engine.Verify(CancellationToken.None));
    }

    /// <summary>Bytes that someone wrote with right checksums and wrong entries: named, nothing is written from them, nothing else is lost.</summary>
    [Theory]
    [InlineData((byte)'a', 1)]
    [InlineData((byte)'z', 1)]
    [InlineData((byte)'a', 4)]
    [InlineData((byte)'z', 4)]
    public void ATableOutOfOrderEndsACompactionAndIsNamed(byte first, int threads)
    {
        using LsmFixture fixture = new(Options with { MaxSubCompactions = threads });
        Fill(fixture, 2000);
        string[] tables = Tables(fixture);
        SsTable forged = fixture.Engine.Versions.Current.Tables.First(table => table.Properties.Entries > 50);
        long offset = Forge(fixture, forged, first);
        PartitionCompaction compaction = Begin(fixture);
        fixture.Background.RunAll(new Random(1), limit: 40);
        CorruptionException damage = Assert.IsType<CorruptionException>(fixture.Engine.Failure);
        Assert.Equal(forged.Path, damage.File);
        Assert.True(damage.Offset >= offset, $"{damage.Offset} {offset}");
        Assert.True(compaction.Completion.IsFaulted);
        Assert.Equal(tables, Tables(fixture));
        Assert.Equal(tables, Files(fixture));
        Assert.Equal("value 1999", fixture.Get("key01999"));
        Assert.Contains(fixture.Engine.Verify(CancellationToken.None), found => found.File == forged.Path && found.Detail.Contains("order", StringComparison.Ordinal));
    }

    [Fact]
    public void AFullDiskIsTriedAgainWhenThereIsRoom()
    {
        using LsmFixture fixture = new(Options);
        Fill(fixture, 2000);
        string[] tables = Tables(fixture);
        PartitionCompaction compaction = Begin(fixture);
        fixture.Files.Capacity = fixture.Files.Used + 20_000;
        fixture.Background.RunAll(new Random(1), limit: 40);
        Assert.Null(fixture.Engine.Failure);
        Assert.Equal(tables, Tables(fixture));
        Assert.False(compaction.Completion.IsCompleted);
        fixture.Files.Capacity = long.MaxValue;
        fixture.Background.RunAll(new Random(1));
        Assert.True(compaction.Completion.IsCompletedSuccessfully);
        Assert.Equal(2000, fixture.Engine.Versions.Current.Tables.Sum(table => table.Properties.Entries));
        Assert.Equal(LevelTargets.Last, fixture.Engine.Versions.Current.FirstLevel);
    }

    [Fact]
    public void RangesCoverEveryKeyOnce()
    {
        using LsmFixture fixture = new(Options);
        Fill(fixture, 3000);
        Superversion tree = fixture.Engine.Versions.Current;
        Compaction all = new([new InputRun(0, tree.Level0)], LevelTargets.Last);
        using CompactionRun run = new(fixture.Engine.Context, fixture.Engine.Versions, all, tree, new Horizon(long.MaxValue, 0), () => false);
        Assert.InRange(run.Ranges, 4, 16);

        // Two threads take turns; the second finds nothing when it comes late.
        Thread helper = new(run.Work);
        helper.Start();
        run.Work();
        run.Close();
        helper.Join();
        Assert.True(run.Finish());
        Assert.Equal(3000, run.Tables.Sum(table => table.Properties.Entries));
        Level level = new([.. run.Tables]);
        Assert.Equal(run.Tables.Count, level.Overlapping("key00000"u8, "key99999"u8).Length);
        for (int i = 1; i < level.Tables.Length; i++)
        {
            Assert.True(KeyOrder.Compare(level.Tables[i - 1].Largest, level.Tables[i].Smallest) < 0);
        }
    }

    [Fact]
    public void Level0ThatWaitsIsCompactedWhenNothingComes()
    {
        // Much below, little in level 0: worth waiting for more, but not for ever.
        EngineOptions options = LsmFixture.SmallOptions with { MemtableBytes = 64 << 10, Level1Bytes = 1 << 20 };
        using LsmFixture fixture = new(options);
        for (int i = 0; i < 3000; i++)
        {
            fixture.Put($"key{i:D6}", new string('v', 100));
        }

        fixture.Flush();
        Random random = new(7);
        Superversion current = fixture.Engine.Versions.Current;
        while (current.Level0.Length < options.Level0Tables)
        {
            for (int i = 0; i < 20; i++)
            {
                fixture.Put($"key{random.Next(3000):D6}", "new");
            }

            fixture.Engine.BeginFlush();
            Assert.NotEmpty(current.Deeper[LevelTargets.Last].Tables);
            while (fixture.Engine.Versions.Current.Immutables.Length > 0)
            {
                fixture.Background.RunOne(random);
            }

            current = fixture.Engine.Versions.Current;
        }

        EngineStatistics before = fixture.Engine.GetStatistics();
        Assert.True(before.Lsm!.PendingCompactionBytes > 0);
        fixture.Background.RunAll(random);
        EngineStatistics after = fixture.Engine.GetStatistics();
        Assert.Equal(0, after.Lsm!.Levels[0].Tables);
        Assert.Equal(0, after.Lsm.PendingCompactionBytes);
        Assert.Equal(0, fixture.Background.Queued);
    }

    [Fact]
    public void ClosingDoesNotWaitForTheRate()
    {
        SteppedTime time = new();
        MemoryFileSystem files = new();
        files.CreateDirectory(LsmFixture.Directory);
        using BackgroundThreads background = new(2);
        using BlockCache cache = new(64 << 10);
        using CompactionRate rate = new(1000, time);
        LsmEngine engine = LsmEngine.Open(new EngineContext
        {
            FileSystem = files,
            Directory = LsmFixture.Directory,
            Options = Options with { MemtableBytes = 1 << 20 },
            Background = background,
            Snapshots = new SnapshotList(),
            BlockCache = cache,
            CompactionRate = rate,
            Time = time,
        });
        byte[] value = new byte[1000];
        for (int i = 0; i < 2000; i++)
        {
            engine.Admit(1000);
            engine.Put(System.Text.Encoding.ASCII.GetBytes($"key{i:D5}"), i + 1, 1, 0, value);
            engine.EndGroup(i + 1, i + 1, 1);
        }

        PartitionCompaction compaction = new(CancellationToken.None);
        engine.BeginFlush();
        engine.BeginCompaction(compaction, KeyRange.All);
        Assert.True(SpinWait.SpinUntil(() => time.Armed > 0, TimeSpan.FromSeconds(20)), "the compaction does not wait for the rate");
        long began = Stopwatch.GetTimestamp();
        engine.Dispose();
        Assert.True(Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(5));
        Assert.True(compaction.Completion.IsFaulted);
    }

    [Fact]
    public void AStoreThatFilledItsLevelsFromTheTopIsTakenOver()
    {
        using LsmFixture fixture = new();
        Fill(fixture, 4000);
        PartitionCompaction compaction = Begin(fixture);
        fixture.Background.RunAll(new Random(1));
        Assert.True(compaction.Completion.IsCompletedSuccessfully);
        fixture.Put("key00000", "in a table of level 0");
        fixture.Flush();
        fixture.Reopen(files =>
        {
            // As versions before left it: level 1 over level 2, and nothing below.
            ManifestState state = Manifest.Read(files, LsmFixture.Directory)!;
            foreach (ManifestTable table in state.Tables.Values.Where(table => table.Level > 0).ToArray())
            {
                int level = 1 + (table.Properties.Smallest.AsSpan().SequenceCompareTo("key02000"u8) < 0 ? 0 : 1);
                state.Tables[table.Id] = table with { Level = level };
            }

            Manifest.Create(files, LsmFixture.Directory, state).Dispose();
            return files;
        });
        Superversion tree = fixture.Engine.Versions.Current;
        Assert.Single(tree.Level0);
        Assert.Equal((LevelTargets.Last - 1, LevelTargets.Last), (tree.FirstLevel, tree.DeepestLevel));
        fixture.Background.RunAll(new Random(1));
        Assert.Equal("in a table of level 0", fixture.Get("key00000"));
        Assert.Equal("value 3999", fixture.Get("key03999"));
        Assert.Equal("value 17", fixture.Get("key00017"));
        Assert.Empty(fixture.Engine.Verify(CancellationToken.None));
    }

    private static void Fill(LsmFixture fixture, int keys)
    {
        // A key far from the last one, so that every table spans all keys.
        for (int i = 0; i < keys; i++)
        {
            int key = (int)((i * 7919L) % keys);
            fixture.Put($"key{key:D5}", $"value {key}");
        }

        fixture.Flush();
    }

    /// <summary>Changes the first byte of the keys of some entries in the middle, with its checksum; returns where their block begins.</summary>
    private static unsafe long Forge(LsmFixture fixture, SsTable table, byte first)
    {
        using StorageFile file = fixture.Files.Open(table.Path, writable: true);
        long offset;
        int length;
        using (TableReader reader = TableReader.Open(fixture.Files.Open(table.Path, writable: false), fixture.Cache))
        {
            reader.Locate(reader.DataBlocks / 2, out offset, out length);
        }

        byte[] block = new byte[length + BlockFormat.TrailerBytes + 64];
        file.Read(offset, block.AsSpan(0, length + BlockFormat.TrailerBytes));
        fixed (byte* p = block)
        {
            BlockFormat.Decode(p, 0, 0, out BlockEntry entry);
            Assert.Equal((byte)'k', *entry.Suffix);
            *entry.Suffix = first;
        }

        uint checksum = Crc32C.Compute(block.AsSpan(0, length + 1));
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(length + 1), checksum);
        file.Write(offset, block.AsSpan(0, length + BlockFormat.TrailerBytes));
        return offset;
    }

    private static PartitionCompaction Begin(LsmFixture fixture)
    {
        PartitionCompaction compaction = new(CancellationToken.None);
        fixture.Engine.BeginFlush();
        fixture.Engine.BeginCompaction(compaction, KeyRange.All);
        return compaction;
    }

    private static string[] Tables(LsmFixture fixture) =>
        [.. fixture.Engine.Versions.Current.Tables.Select(table => FileNames.Table(table.Id)).Order()];

    private static string[] Files(LsmFixture fixture) =>
        [.. fixture.Files.List(LsmFixture.Directory).Where(name => name.EndsWith(".sst", StringComparison.Ordinal)).Order()];
}
