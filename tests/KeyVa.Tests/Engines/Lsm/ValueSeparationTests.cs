using System.Text;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>Values that stand apart from their keys: where they go, who copies them, and when their room comes back.</summary>
public sealed class ValueSeparationTests
{
    private const int Threshold = 100;

    private static readonly EngineOptions Options = LsmFixture.SmallOptions with
    {
        MemtableBytes = 32 << 10,
        SeparateValuesFrom = Threshold,
        ValueFileBytes = 16 << 10,
    };

    [Fact]
    public void OnlyLargeValuesAreSeparatedAndAllAreRead()
    {
        using LsmFixture fixture = new(Options);
        for (int length = 0; length < 3 * Threshold; length++)
        {
            fixture.Put($"key{length:D6}", new string('v', length));
        }

        fixture.Flush();
        ValueFiles values = fixture.Engine.Versions.Current.Values;
        Assert.Equal(2 * Threshold, values.All.Sum(file => file.Entry.Records));
        Assert.True(values.All.Count > 1, "a flush goes on in another file");
        for (int length = 0; length < 3 * Threshold; length++)
        {
            Assert.Equal(new string('v', length), fixture.Get($"key{length:D6}"));
        }

        fixture.Reopen(files => files.Crash(1));
        Assert.Equal([.. Enumerable.Range(0, 3 * Threshold)], Lengths(fixture, reverse: false));
        Assert.Equal([.. Enumerable.Range(0, 3 * Threshold).Reverse()], Lengths(fixture, reverse: true));
        Assert.Empty(fixture.Engine.Verify(CancellationToken.None));
    }

    [Theory]
    [InlineData(CompactionStyle.Leveled)]
    [InlineData(CompactionStyle.Tiered)]
    public void ACompactionMovesNoValueBytes(CompactionStyle style)
    {
        using LsmFixture fixture = new(Options with { CompactionStyle = style });
        for (int i = 0; i < 300; i++)
        {
            // In no order: the tables overlap, and compactions cannot just move them.
            fixture.Put($"key{i * 7919 % 300:D6}", Value(i, 1000));
            if (i % 30 == 29)
            {
                fixture.Engine.BeginFlush();
                FlushAlone(fixture);
            }
        }

        string[] before = ValueFileNames(fixture);
        List<string> touched = [];
        fixture.Files.Faults.Before = (operation, path) =>
        {
            if (path.EndsWith(".val", StringComparison.Ordinal))
            {
                touched.Add($"{operation} {path}");
            }
        };
        Compact(fixture);
        fixture.Files.Faults.Before = null;
        LsmStatistics tree = fixture.Engine.GetStatistics().Lsm!;
        Assert.True(tree.BytesCompacted > 0);
        Assert.Equal(0, tree.ValueBytesMoved);
        Assert.Empty(touched);
        Assert.Equal(before, ValueFileNames(fixture));
        for (int i = 0; i < 300; i++)
        {
            Assert.Equal(Value(i, 1000), fixture.Get($"key{i * 7919 % 300:D6}"));
        }
    }

    [Theory]
    [InlineData(CompactionStyle.Leveled)]
    [InlineData(CompactionStyle.Tiered)]
    public void OverwritingEverythingAgainAndAgainTakesBoundedRoom(CompactionStyle style)
    {
        const int Keys = 400;
        const int Length = 500;
        using LsmFixture fixture = new(Options with { CompactionStyle = style });
        Random random = new(5);
        long most = 0;
        for (int i = 0; i < Keys * 12; i++)
        {
            int key = random.Next(Keys);
            fixture.Put($"key{key:D6}", Value(key, Length));
            fixture.Background.RunOne(random);

            // What nobody points to any more goes once readers of any engine of this process have moved on: not a matter of this test.
            most = i < Keys ? 0 : Math.Max(most, fixture.Engine.GetStatistics().Lsm!.ValueFileBytes);
        }

        fixture.Flush();
        LsmStatistics tree = fixture.Engine.GetStatistics().Lsm!;
        Assert.True(tree.ValueBytesMoved > 0, "no value was moved");

        // The tables' own waste (see AmplificationTests), a quarter of garbage, and what is being written.
        long alive = Keys * (Length + ValueRecord.HeadBytes + 9);
        Assert.InRange(most, alive, alive * (style == CompactionStyle.Leveled ? 4 : 6));
        Compact(fixture);
        Assert.InRange(ValueBytes(fixture), alive * 9 / 10, alive * 7 / 5);
        Assert.InRange(fixture.Engine.GetStatistics().Lsm!.ValueGarbageBytes, 0, ValueBytes(fixture) / 4);
        Assert.Empty(fixture.Engine.Verify(CancellationToken.None));
        Assert.Equal(ValueFileNames(fixture).Length, fixture.Engine.GetStatistics().Lsm!.ValueFiles);
    }

    [Fact]
    public void GarbageIsCollectedThoughNothingElseIsToBeCompacted()
    {
        using LsmFixture fixture = new(Options with { ValueGarbagePercent = 101 });
        for (int round = 0; round < 2; round++)
        {
            for (int i = 0; i < 100; i++)
            {
                if (round == 0 || i % 3 != 0)
                {
                    fixture.Put($"key{i:D6}", Value(i + round, 300));
                }
            }

            Compact(fixture);
        }

        LsmStatistics before = fixture.Engine.GetStatistics().Lsm!;
        Assert.True(before.ValueGarbageBytes * 3 > before.ValueFileBytes, "there is no garbage to begin with");

        // The same files, under the usual limit: opening alone looks for something to do.
        fixture.Options = Options;
        fixture.Reopen();
        fixture.Background.RunAll(new Random(1));
        LsmStatistics after = fixture.Engine.GetStatistics().Lsm!;
        Assert.True(after.ValueBytesMoved > 0);
        Assert.True(after.ValueGarbageBytes * 4 < after.ValueFileBytes, $"{after.ValueGarbageBytes} of {after.ValueFileBytes}");
        for (int i = 0; i < 100; i++)
        {
            Assert.Equal(Value(i % 3 == 0 ? i : i + 1, 300), fixture.Get($"key{i:D6}"));
        }
    }

    [Fact]
    public void ValuesOfRemovedRangesAndExpiredOnesGiveTheirRoomBack()
    {
        using LsmFixture fixture = new(Options);
        for (int i = 0; i < 200; i++)
        {
            fixture.Put($"key{i:D6}", Value(i, 400), i < 100 ? 0 : fixture.Time.UnixMilliseconds + 1000);
        }

        Compact(fixture);
        long all = ValueBytes(fixture);
        fixture.Engine.Admit(8);
        long version = fixture.Oracle.Take(1);
        fixture.Engine.RemoveRange("key000000"u8, "key000080"u8, version, fixture.Oracle.Now());
        fixture.Engine.EndGroup(++fixture.Index, version, fixture.Oracle.Now());
        fixture.Time.UnixMilliseconds += 5000;
        fixture.Put("last", "1");
        Compact(fixture);
        Assert.InRange(ValueBytes(fixture), 1, all / 4);
        Assert.Equal(Value(90, 400), fixture.Get("key000090"));
        Assert.Null(fixture.Get("key000010"));
    }

    [Fact]
    public void ASnapshotKeepsTheValuesItSees()
    {
        using LsmFixture fixture = new(Options);
        fixture.Put("key", Value(1, 500));
        fixture.Flush();
        using Snapshot snapshot = fixture.Snapshots.Open(fixture.Oracle);
        using EngineCursor cursor = fixture.Engine.OpenCursor(default, default, snapshot.Version, reverse: false);
        Assert.True(cursor.MoveNext());
        fixture.Put("key", Value(2, 500));
        Compact(fixture);
        Assert.Equal(Value(1, 500), fixture.Get("key", snapshot.Version));
        Assert.Equal(Value(2, 500), fixture.Get("key"));
        Assert.Equal(Value(1, 500), Encoding.UTF8.GetString(cursor.Value));
    }

    [Fact]
    public void ACursorKeepsAValueFileThatNothingElseNeeds()
    {
        using LsmFixture fixture = new(Options);
        fixture.Put("key", Value(1, 500));
        fixture.Flush();
        string old = Assert.Single(ValueFileNames(fixture));
        EngineCursor cursor = fixture.Engine.OpenCursor(default, default, fixture.Engine.VisibleVersion, reverse: false);
        fixture.Put("key", Value(2, 500));
        Compact(fixture);
        Assert.Contains(old, ValueFileNames(fixture));
        Assert.True(cursor.MoveNext());
        Assert.Equal(Value(1, 500), Encoding.UTF8.GetString(cursor.Value));
        cursor.Dispose();
        Reclaim(fixture);
        Assert.DoesNotContain(old, ValueFileNames(fixture));
    }

    [Fact]
    public void ACursorReadsNoValueThatNobodyAsksFor()
    {
        using LsmFixture fixture = new(Options);
        for (int i = 0; i < 50; i++)
        {
            fixture.Put($"key{i:D6}", Value(i, 500));
        }

        fixture.Flush();
        int reads = 0;
        fixture.Files.Faults.Before = (operation, path) => reads += operation == FileOperation.Read && path.EndsWith(".val", StringComparison.Ordinal) ? 1 : 0;
        foreach (bool reverse in (bool[])[false, true])
        {
            using EngineCursor cursor = fixture.Engine.OpenCursor(default, default, fixture.Engine.VisibleVersion, reverse);
            int keys = 0;
            while (cursor.MoveNext())
            {
                keys++;
            }

            Assert.Equal(50, keys);
        }

        Assert.Equal(0, reads);
    }

    [Fact]
    public void WithoutSeparationValuesGoBackToTheTables()
    {
        using LsmFixture fixture = new(Options);
        for (int i = 0; i < 50; i++)
        {
            fixture.Put($"key{i:D6}", Value(i, 300));
        }

        Compact(fixture);
        Assert.NotEmpty(ValueFileNames(fixture));
        fixture.Options = Options with { SeparateValuesFrom = 0, ValueFileGarbagePercent = 0, ValueGarbagePercent = 1 };
        fixture.Reopen();
        fixture.Put("key000003", "new");
        Compact(fixture);
        Assert.Empty(ValueFileNames(fixture));
        Assert.Equal(Value(4, 300), fixture.Get("key000004"));
        Assert.Equal("new", fixture.Get("key000003"));

        // And out again, when they are written anew.
        fixture.Options = Options;
        fixture.Reopen();
        fixture.Put("key000005", "new");
        Compact(fixture);
        Assert.NotEmpty(ValueFileNames(fixture));
        Assert.Equal(Value(4, 300), fixture.Get("key000004"));
    }

    [Theory]
    [InlineData(64 << 10, BlockCachePolicy.S3Fifo)]
    [InlineData(1 << 20, BlockCachePolicy.Clock)]
    public void GetsAndStepsAllocateNothing(long cacheBytes, BlockCachePolicy policy)
    {
        using LoneThread alone = LoneThread.Begin();

        // Opening a file allocates: all stay open.
        using LsmFixture fixture = new(Options with { MaxOpenTables = 1000 }, cacheBytes, policy);
        byte[][] keys = [.. Enumerable.Range(0, 400).Select(i => Encoding.UTF8.GetBytes($"key{i:D6}"))];
        foreach (byte[] key in keys)
        {
            fixture.Put(key, Encoding.UTF8.GetBytes(Value(key[^1], 400)));
        }

        Compact(fixture);
        Assert.All(keys, key => Assert.NotNull(fixture.Get(Encoding.UTF8.GetString(key))));
        long length = 0;
        for (int round = 0; round < 2; round++)
        {
            using EngineCursor cursor = fixture.Engine.OpenCursor(default, default, fixture.Engine.VisibleVersion, reverse: round == 1);
            Assert.True(cursor.MoveNext());
            length += cursor.Value.Length;
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 1; i < 400; i++)
            {
                cursor.MoveNext();
                length += cursor.Value.Length;
                fixture.Engine.TryGet(keys[i * 31 % 400], ReadVersion.Latest, out ValueLease lease);
                length += lease.Value.Length;
                lease.Dispose();
            }

            Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(2L * 400 * (400 + 400) - (2 * 400), length);
    }

    [Fact]
    public void AHotValueIsReadFromTheFileOnce()
    {
        using LsmFixture fixture = new(Options);
        fixture.Put("key", Value(1, 500));
        fixture.Flush();
        int reads = 0;
        Assert.Equal(Value(1, 500), fixture.Get("key"));
        fixture.Files.Faults.Before = (operation, _) => reads += operation == FileOperation.Read ? 1 : 0;
        for (int i = 0; i < 10; i++)
        {
            Assert.Equal(Value(1, 500), fixture.Get("key"));
        }

        Assert.Equal(0, reads);
    }

    [Fact]
    public void ACheckpointTakesTheValueFilesAlong()
    {
        using LsmFixture fixture = new(Options);
        for (int i = 0; i < 100; i++)
        {
            fixture.Put($"key{i:D6}", Value(i, 300));
        }

        fixture.Engine.BeginFlush();
        fixture.Engine.Checkpoint("/data/copy", null, CancellationToken.None);
        for (int i = 0; i < 100; i++)
        {
            fixture.Put($"key{i:D6}", Value(i + 1, 300));
        }

        Compact(fixture);
        fixture.Files = fixture.Files.Crash(3);
        using LsmEngine copy = fixture.Open("/data/copy");
        Assert.Empty(copy.Verify(CancellationToken.None));
        Assert.True(copy.TryGet("key000042"u8, ReadVersion.Latest, out ValueLease lease));
        Assert.Equal(Value(42, 300), Encoding.UTF8.GetString(lease.Value));
        lease.Dispose();
    }

    [Fact]
    public void WhatAFlushLeftBehindIsRemovedAtTheNextOpening()
    {
        using LsmFixture fixture = new(Options);
        fixture.Put("key", Value(1, 300));
        fixture.Flush();
        string[] before = ValueFileNames(fixture);
        fixture.Put("key2", Value(2, 300));
        fixture.Files.Faults.FailNext(FileOperation.SyncData, path: "MANIFEST");
        fixture.Files.Faults.FailNext(FileOperation.Delete, times: 10);
        fixture.Engine.BeginFlush();
        fixture.Background.RunAll(new Random(1));
        Assert.NotNull(fixture.Engine.Failure);
        fixture.Files.Faults.Clear();
        Assert.Equal(before.Length + 1, ValueFileNames(fixture).Length);
        fixture.Reopen(files => files.Crash(2));
        Assert.Equal(Value(1, 300), fixture.Get("key"));
        fixture.Reopen();
        Assert.InRange(ValueFileNames(fixture).Length, before.Length, before.Length + 1);
        Assert.Equal(fixture.Engine.Versions.Current.Values.All.Count, ValueFileNames(fixture).Length);
    }

    [Fact]
    public void AMissingValueFileIsNamedAtOpening()
    {
        using LsmFixture fixture = new(Options);
        fixture.Put("key", Value(1, 300));
        fixture.Flush();
        string name = Assert.Single(ValueFileNames(fixture));
        fixture.Engine.Dispose();
        fixture.Files.DeleteFile($"{LsmFixture.Directory}/{name}");
        CorruptionException damage = Assert.Throws<CorruptionException>(() => fixture.Open());
        Assert.EndsWith(name, damage.File, StringComparison.Ordinal);
    }

    [Fact]
    public void StatisticsCountTheValueFiles()
    {
        using LsmFixture fixture = new(Options);
        for (int round = 0; round < 4; round++)
        {
            for (int i = round; i < 100; i++)
            {
                fixture.Put($"key{i:D6}", Value(i, 300));
            }

            Compact(fixture);
        }

        LsmStatistics tree = fixture.Engine.GetStatistics().Lsm!;
        Assert.Equal(tree.ValueFileBytes, ValueBytes(fixture));
        Assert.True(tree.WriteAmplification > 1);
        Assert.True(fixture.Engine.GetStatistics().StorageBytes > tree.ValueFileBytes);
    }

    private static string Value(int seed, int length) => string.Create(length, seed, static (to, from) =>
    {
        for (int i = 0; i < to.Length; i++)
        {
            to[i] = (char)('a' + ((from + (i * 7)) % 26));
        }
    });

    private static List<int> Lengths(LsmFixture fixture, bool reverse)
    {
        List<int> lengths = [];
        using EngineCursor cursor = fixture.Engine.OpenCursor(default, default, fixture.Engine.VisibleVersion, reverse);
        while (cursor.MoveNext())
        {
            Assert.False(cursor.Value.ContainsAnyExcept((byte)'v'));
            lengths.Add(cursor.Value.Length);
        }

        return lengths;
    }

    private static void Compact(LsmFixture fixture)
    {
        fixture.Engine.BeginFlush();
        PartitionCompaction compaction = new(CancellationToken.None);
        fixture.Engine.BeginCompaction(compaction, KeyRange.All);
        fixture.Background.RunAll(new Random(1));
        Assert.True(compaction.Completion.IsCompletedSuccessfully);
        Reclaim(fixture);
    }

    /// <summary>Files go when no reader of the process is left that could have seen them: other tests have some.</summary>
    private static void Reclaim(LsmFixture fixture) =>
        Assert.True(SpinWait.SpinUntil(() => !fixture.Engine.Versions.Reclaim(), TimeSpan.FromSeconds(30)));

    /// <summary>Level 0 fills up, as it does when compactions do not get their turn.</summary>
    private static void FlushAlone(LsmFixture fixture) => fixture.Engine.Checkpoint($"/data/at{fixture.Index}", null, CancellationToken.None);

    private static string[] ValueFileNames(LsmFixture fixture) =>
        [.. fixture.Files.List(LsmFixture.Directory).Where(name => FileNames.TryParseValues(name, out _)).Order()];

    private static long ValueBytes(LsmFixture fixture) => ValueFileNames(fixture).Sum(name =>
    {
        using StorageFile file = fixture.Files.Open($"{LsmFixture.Directory}/{name}", writable: false);
        return file.Length;
    });
}
