using System.Text;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>What is chosen, from tables that are only described.</summary>
public sealed class CompactionPickerTests : IDisposable
{
    private const int Last = LevelTargets.Last;
    private static readonly Horizon Everything = new(long.MaxValue, long.MaxValue);
    private static readonly EngineOptions Leveled = new() { Level1Bytes = 1000, TableBytes = 100, Level0Tables = 4, LevelMultiplier = 10 };
    private static readonly EngineOptions Tiered = Leveled with { CompactionStyle = CompactionStyle.Tiered };

    private readonly BlockCache _cache = new(1 << 20);
    private readonly Memtable _memtable = new();
    private long _nextId = 1;

    public void Dispose()
    {
        _memtable.Dispose();
        _cache.Dispose();
    }

    [Fact]
    public void TheLastLevelDecidesWhatTheOthersMayHold()
    {
        LevelTargets empty = Tree(Leveled, []).Targets;
        Assert.Equal((Last, Last), (empty.Base, empty.Level0Output));
        LevelTargets small = Tree(Leveled, [], (Last, Run(20))).Targets;
        Assert.Equal((Last, Last), (small.Base, small.Level0Output));
        LevelTargets large = Tree(Leveled, [], (Last, Run(3000))).Targets;
        Assert.Equal(300_000, large[Last]);
        Assert.Equal(30_000, large[Last - 1]);
        Assert.Equal(3000, large[Last - 2]);
        Assert.Equal((Last - 2, 0), (large.Base, large.Debt));

        // No level is smaller than level 1 would be: a tenth of 3000 is no level.
        Assert.Equal(0, large[Last - 3]);
        Assert.Equal(Last, Tree(Leveled, [], (Last, Run(99))).Targets.Base);
        Assert.Equal(Last - 1, Tree(Leveled, [], (Last, Run(100))).Targets.Base);

        // All levels above the last one together: a ninth of it.
        Assert.InRange(Enumerable.Range(1, Last - 1).Sum(level => large[level]), 0, 300_000 / 8.9);
    }

    [Fact]
    public void Level0GoesToTheBaseOrTheFirstLevelWithTables()
    {
        Compaction direct = Pick(Leveled, Tree(Leveled, Level0(4), (Last, Run(4))))!;
        Assert.Equal((0, Last, false), (direct.Level, direct.OutputLevel, direct.IsMove));
        Assert.Equal(8, direct.Inputs.Count());

        // What is left above the base is older than level 0 and newer than the base: nothing may pass it.
        Superversion left = Tree(Leveled, Level0(4), (2, Run(1)), (Last, Run(20)));
        Assert.Equal((Last, 2), (left.Targets.Base, left.Targets.Level0Output));
        Assert.Equal(2, Pick(Leveled, left)!.Level);
        Compaction first = Pick(Leveled, Tree(Leveled, Level0(8), (2, Run(1)), (Last, Run(20))))!;
        Assert.Equal((0, 2), (first.Level, first.OutputLevel));
        Compaction drained = Pick(Leveled, Tree(Leveled, [], (2, Run(1)), (Last, Run(20))))!;
        Assert.Equal((2, Last), (drained.Level, drained.OutputLevel));
        Assert.Null(Pick(Leveled, Tree(Leveled, Level0(3), (Last, Run(20)))));
    }

    [Fact]
    public void Level0WaitsForAsMuchAsItIsMergedWith()
    {
        CompactionPicker picker = CompactionPicker.Create(Leveled, new byte[Superversion.Levels][]);

        // 400 bytes for 800 wait; 800 do not.
        Superversion half = Tree(Leveled, Level0(4), (Last, Run(8)));
        Assert.Equal(half.Level0.Max(table => table.Id), picker.Level0WaitsBehind(half));
        Assert.Null(picker.Pick(half, 0, Everything));
        Superversion whole = Tree(Leveled, Level0(8), (Last, Run(8)));
        Assert.Equal(0, picker.Level0WaitsBehind(whole));
        Assert.Equal((0, 16), (picker.Pick(whole, 0, Everything)!.Level, whole.Tables.Count(table => table.BeingCompacted)));

        // Whatever there is to be merged with, not until writers are slowed down.
        Assert.NotEqual(0, picker.Level0WaitsBehind(Tree(Leveled, Level0(15), (Last, Run(90)))));
        Superversion full = Tree(Leveled, Level0(16), (Last, Run(90)));
        Assert.Equal(0, picker.Level0WaitsBehind(full));
        Assert.Equal(0, picker.Pick(full, 0, Everything)!.Level);

        // Three are not compacted anyway; and tombstones, which free more than they take, are worth four times their bytes.
        Assert.Equal(0, picker.Level0WaitsBehind(Tree(Leveled, Level0(3), (Last, Run(90)))));
        SsTable[] removals = [.. Enumerable.Range(0, 4).Select(_ => Table(0, 9_999_999, tombstones: 9))];
        Assert.Equal(0, picker.Level0WaitsBehind(Tree(Leveled, removals, (Last, Run(16)))));
    }

    [Fact]
    public void Level0DoesNotWaitWhereNothingComes()
    {
        CompactionPicker picker = CompactionPicker.Create(Leveled, new byte[Superversion.Levels][]);
        SsTable[] tables = Level0(4);
        SsTable[] last = Run(20);
        Superversion tree = Tree(Leveled, tables, (Last, last));
        long newest = picker.Level0WaitsBehind(tree);
        Assert.NotEqual(0, newest);

        // Another has come meanwhile: it waits on, behind that one.
        Superversion more = Tree(Leveled, [.. Level0(1), .. tables], (Last, last));
        picker.EndWait(newest);
        Assert.Null(picker.Pick(more, 0, Everything));
        Assert.True(picker.Level0WaitsBehind(more) > newest);
        picker.EndWait(picker.Level0WaitsBehind(more));
        Assert.Equal((0, Last), (picker.Pick(more, 0, Everything) is { } found ? (found.Level, found.OutputLevel) : default));
    }

    [Fact]
    public void TablesWithoutCommonKeysAreMoved()
    {
        Compaction move = Pick(Leveled, Tree(Leveled, [Table(30, 30), Table(20, 20), Table(10, 10), Table(5, 5)], (Last, [Table(40, 49)])))!;
        Assert.True(move.IsMove);
        Assert.Equal(Last, move.OutputLevel);
        Assert.Equal([0], move.Runs.Select(run => run.Level));
    }

    [Fact]
    public void TablesOfTombstonesGoFirst()
    {
        // The level is a little too large: the table that is mostly tombstones goes, wherever the pointer is.
        SsTable[] upper = [.. Run(110, 10_000), Table(110_000, 110_001, tombstones: 9)];
        Superversion tree = Tree(Leveled, [], (Last - 1, upper), (Last, Run(1000, 1_000_000)));
        Compaction found = Pick(Leveled, tree, new Horizon(0, 0))!;
        Assert.Equal(upper[^1].Id, found.Runs[0].Tables[0].Id);
        Assert.Equal((Last - 1, Last, false), (found.Level, found.OutputLevel, found.IsMove));

        // No level is too large: it goes all the same, once the horizon lets it.
        Superversion small = Tree(Leveled, [], (Last, [Table(0, 9), Table(10, 19, tombstones: 6)]));
        Assert.Null(Pick(Leveled, small, new Horizon(0, 0)));
        Assert.Equal(Last, Pick(Leveled, small)!.OutputLevel);
    }

    [Fact]
    public void TablesInWorkAreLeftAlone()
    {
        SsTable[] last = Run(20);
        Superversion tree = Tree(Leveled, Level0(20), (Last, last));
        last[7].BeingCompacted = true;
        Assert.Null(Pick(Leveled, tree));
        last[7].BeingCompacted = false;
        Compaction found = Pick(Leveled, tree)!;
        Assert.All(found.Inputs, table => Assert.True(table.BeingCompacted));
        Assert.Null(Pick(Leveled, tree));
    }

    [Fact]
    public void RunsOfSimilarSizeAreMerged()
    {
        // 4 tables of level 0 (400 bytes) join runs up to a tenth larger than what is newer; the last one is far larger.
        Compaction joined = Pick(Tiered, Tree(Tiered, Level0(4), (4, Run(4)), (5, Run(8)), (Last, Run(50))))!;
        Assert.Equal([0, 4, 5], joined.Runs.Select(run => run.Level));
        Assert.Equal(5, joined.OutputLevel);
        Compaction alone = Pick(Tiered, Tree(Tiered, Level0(4), (5, Run(30)), (Last, Run(50))))!;
        Assert.Equal([0], alone.Runs.Select(run => run.Level));
        Assert.Equal(4, alone.OutputLevel);
        Assert.Null(Pick(Tiered, Tree(Tiered, Level0(3), (5, Run(30)), (Last, Run(50)))));
    }

    [Fact]
    public void TooMuchSpaceAboveTheOldestRunMergesEverything()
    {
        Compaction all = Pick(Tiered, Tree(Tiered, Level0(4), (4, Run(40)), (5, Run(60)), (Last, Run(50))))!;
        Assert.Equal([0, 4, 5, Last], all.Runs.Select(run => run.Level));
        Assert.Equal(Last, all.OutputLevel);
    }

    [Fact]
    public void ARunThatLeavesNoPlaceAboveItJoins()
    {
        Compaction found = Pick(Tiered, Tree(Tiered, Level0(4), (1, Run(30)), (2, Run(300)), (Last, Run(5000))))!;
        Assert.Equal([0, 1], found.Runs.Select(run => run.Level));
        Assert.Equal(1, found.OutputLevel);
    }

    private static Compaction? Pick(EngineOptions options, Superversion tree, Horizon? horizon = null) =>
        CompactionPicker.Create(options, new byte[Superversion.Levels][]).Pick(tree, 0, horizon ?? Everything);

    private SsTable[] Level0(int count) => [.. Enumerable.Range(0, count).Select(_ => Table(0, 9_999_999))];

    /// <summary>So many tables of 100 bytes one behind the other.</summary>
    private SsTable[] Run(int count, int keys = 1_000_000)
    {
        int step = keys / count;
        return [.. Enumerable.Range(0, count).Select(i => Table(i * step, (i * step) + step - 1))];
    }

    private SsTable Table(int from, int to, int tombstones = 0) => new(
        _nextId++,
        "/data",
        100,
        new TableProperties
        {
            Entries = 10,
            Tombstones = tombstones,
            MinVersion = 1,
            MaxVersion = 1,
            Smallest = Encoding.ASCII.GetBytes($"{from:D8}"),
            Largest = Encoding.ASCII.GetBytes($"{to:D8}"),
        },
        new EngineContext
        {
            FileSystem = new MemoryFileSystem(),
            Directory = "/data",
            Options = Leveled,
            Background = new ManualBackgroundWork(),
            Snapshots = new SnapshotList(),
            BlockCache = _cache,
            Time = TimeProvider.System,
        });

    private Superversion Tree(EngineOptions options, SsTable[] level0, params (int Level, SsTable[] Tables)[] levels)
    {
        Level[] all = [.. Enumerable.Repeat(Level.Empty, Superversion.Levels)];
        foreach ((int level, SsTable[] tables) in levels)
        {
            all[level] = new Level(tables);
        }

        return new Superversion(_memtable, [], level0, all, default, options, new ReadSampler());
    }
}
