using System.Text;
using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>Removed ranges in the lsm engine: what they cost, and what becomes of the tables under them.</summary>
public sealed class LsmRangeTests
{
    [Fact]
    public void CoveredTablesLeaveTheTreeWithoutBeingRead()
    {
        using LsmFixture fixture = Filled(2000);
        LsmEngine engine = fixture.Engine;
        SsTable[] before = [.. engine.Versions.Current.Tables];
        Assert.True(before.Length > 4);
        fixture.Put("other", "stays");
        RemoveRange(fixture, "key", "key~");
        Dictionary<string, int> reads = CountReads(fixture);
        fixture.Flush();
        fixture.Files.Faults.Before = null;
        Assert.DoesNotContain(before, table => reads.ContainsKey(table.Path));
        Assert.DoesNotContain(before, table => fixture.Files.FileExists(table.Path));
        Assert.Equal("stays", fixture.Get("other"));
        Assert.Null(fixture.Get("key00000007"));
        Assert.Equal(["other"], Scan(fixture, engine.VisibleVersion, reverse: false));
        Assert.InRange(TableBytes(fixture), 1, 2048);
        fixture.Reopen();
        Assert.Equal(["other"], Scan(fixture, fixture.Engine.VisibleVersion, reverse: true));
        Assert.Empty(fixture.Engine.Verify(CancellationToken.None));
    }

    [Fact]
    public void ARangeOverWholeTablesIsFlushedAtOnce()
    {
        using LsmFixture fixture = Filled(2000);
        fixture.Time.UnixMilliseconds += 5000;
        Assert.InRange(TableBytes(fixture), 20_000, long.MaxValue);
        RemoveRange(fixture, "", "");
        fixture.Background.RunAll(new Random(0));

        // What is left is a table with the tombstone, whose open end alone takes 8 KiB.
        Assert.InRange(TableBytes(fixture), 0, 10_000);
        Assert.Empty(Scan(fixture, fixture.Engine.VisibleVersion, reverse: false));
    }

    [Fact]
    public void WhatASnapshotSeesStaysUntilItCloses()
    {
        using LsmFixture fixture = Filled(300);
        Snapshot snapshot = fixture.Snapshots.Open(fixture.Oracle);
        RemoveRange(fixture, "key", "");
        fixture.Put("key00000150", "again");
        fixture.Flush();
        fixture.Background.RunAll(new Random(1));
        Assert.Equal(300, Scan(fixture, snapshot.Version, reverse: false).Count);
        Assert.Equal(300, Scan(fixture, snapshot.Version, reverse: true).Count);
        Assert.Equal("value7", fixture.Get("key00000007", snapshot.Version));
        Assert.Equal(["key00000150"], Scan(fixture, fixture.Engine.VisibleVersion, reverse: false));
        Assert.Equal("again", fixture.Get("key00000150"));
        Assert.True(fixture.Engine.Versions.Current.HasRanges);
        snapshot.Dispose();
        for (int i = 0; i < 4; i++)
        {
            fixture.Put("later" + i, "x");
            fixture.Flush();
        }

        Assert.Equal(5, Scan(fixture, fixture.Engine.VisibleVersion, reverse: true).Count);
        Assert.Empty(fixture.Engine.Verify(CancellationToken.None));
    }

    [Fact]
    public void ATombstoneOverNothingIsNotKept()
    {
        using LsmFixture fixture = new();
        fixture.Put("m", "1");
        RemoveRange(fixture, "a", "b");
        fixture.Flush();
        Assert.False(fixture.Engine.Versions.Current.HasRanges);
        Assert.Equal("1", fixture.Get("m"));
    }

    [Fact]
    public void ACoveredRangeIsPassedOverWithoutReadingIt()
    {
        using LsmFixture fixture = Filled(4000, LsmFixture.SmallOptions with { MemtableBytes = 1 << 20, MaxOpenTables = 1000 });
        fixture.Flush();
        RemoveRange(fixture, "key00000001", "key00003999");
        foreach (bool reverse in new[] { false, true })
        {
            Dictionary<string, int> reads = CountReads(fixture);
            Assert.Equal(
                reverse ? ["key00003999", "key00000000"] : ["key00000000", "key00003999"],
                Scan(fixture, fixture.Engine.VisibleVersion, reverse));
            fixture.Files.Faults.Before = null;
            Assert.InRange(reads.Values.Sum(), 0, 20);
        }
    }

    [Fact]
    public void WritesAfterTheRemovalAreSeenAmongIt()
    {
        using LsmFixture fixture = Filled(500);
        RemoveRange(fixture, "key00000100", "key00000400");
        fixture.Put("key00000200", "new");
        Assert.Equal(201, Scan(fixture, fixture.Engine.VisibleVersion, reverse: false).Count);
        Assert.Equal(201, Scan(fixture, fixture.Engine.VisibleVersion, reverse: true).Count);
        fixture.Flush();
        Assert.Equal(201, Scan(fixture, fixture.Engine.VisibleVersion, reverse: false).Count);
        Assert.Equal("new", fixture.Get("key00000200"));
        Assert.Null(fixture.Get("key00000399"));
        Assert.Equal("value400", fixture.Get("key00000400"));
    }

    [Fact]
    public void AMemtableOfRangesAloneIsFlushedAndRead()
    {
        using LsmFixture fixture = Filled(100);
        fixture.Flush();
        using Snapshot snapshot = fixture.Snapshots.Open(fixture.Oracle);
        RemoveRange(fixture, "key00000050", "");
        fixture.Flush();
        long durable = fixture.Engine.DurableIndex;
        Assert.Equal(fixture.Index, durable);
        Assert.Contains(fixture.Engine.Versions.Current.Tables, table => table.HasRanges && table.Properties.Entries == 0);
        Assert.Equal(50, Scan(fixture, fixture.Engine.VisibleVersion, reverse: false).Count);
        Assert.Empty(fixture.Engine.Verify(CancellationToken.None));
        fixture.Reopen();
        Assert.Equal(50, Scan(fixture, fixture.Engine.VisibleVersion, reverse: true).Count);
        Assert.Null(fixture.Get("key00000099"));
        Assert.Equal("value99", fixture.Get("key00000099", snapshot.Version));
        fixture.Engine.Checkpoint("/data/copy", null, CancellationToken.None);
        using LsmEngine copy = fixture.Open("/data/copy");
        Assert.False(copy.TryGet("key00000099"u8, ReadVersion.Latest, out _));
        Assert.True(copy.TryGet("key00000001"u8, ReadVersion.Latest, out ValueLease lease));
        lease.Dispose();
    }

    [Fact]
    public void ADamagedBlockOfRangesIsFound()
    {
        using LsmFixture fixture = Filled(100);
        fixture.Flush();
        using Snapshot snapshot = fixture.Snapshots.Open(fixture.Oracle);
        RemoveRange(fixture, "key00000050", "key00000060");
        fixture.Flush();
        SsTable table = fixture.Engine.Versions.Current.Tables.First(table => table.HasRanges);
        long at = Place(fixture, table).Offset;
        using (StorageFile file = fixture.Files.Open(table.Path, writable: true))
        {
            byte[] one = new byte[1];
            file.Read(at + 6, one);
            one[0] ^= 4;
            file.Write(at + 6, one);
        }

        CorruptionException damage = Assert.Single(fixture.Engine.Verify(CancellationToken.None));
        Assert.Equal((table.Path, at), (damage.File, damage.Offset));
    }

    [Fact]
    public void TablesOfALevelDoNotOverlapWhereARangeIsCut()
    {
        // The snapshot keeps everything, so the range goes through many tables on its way down.
        using LsmFixture fixture = new();
        using Snapshot snapshot = fixture.Snapshots.Open(fixture.Oracle);
        for (int round = 0; round < 12; round++)
        {
            for (int i = 0; i < 150; i++)
            {
                fixture.Put($"key{i:D8}", "value" + i);
            }

            RemoveRange(fixture, $"key{round * 5:D8}", round % 3 == 0 ? "" : $"key{100 + round:D8}");
            fixture.Flush();
        }

        Superversion current = fixture.Engine.Versions.Current;
        Assert.Contains(current.Deeper, level => level.Tables.Count(table => table.HasRanges) > 1);
        foreach (SsTable table in current.Tables.Where(table => table.HasRanges))
        {
            Assert.True(KeyOrder.Compare(table.Smallest, table.Ranges!.First) <= 0);
            Assert.True(KeyOrder.Compare(table.Ranges!.Last, [.. table.Largest, 0]) <= 0);
        }

        Assert.Empty(fixture.Engine.Verify(CancellationToken.None));

        // The last round left what lies outside of [55, 111).
        Assert.Equal(150 - (111 - 55), Scan(fixture, fixture.Engine.VisibleVersion, reverse: false).Count);
        Assert.Equal(150 - (111 - 55), Scan(fixture, fixture.Engine.VisibleVersion, reverse: true).Count);
    }

    private static LsmFixture Filled(int keys, EngineOptions? options = null)
    {
        LsmFixture fixture = new(options);
        for (int i = 0; i < keys; i++)
        {
            fixture.Put($"key{i:D8}", "value" + i);
            fixture.Background.RunAll(new Random(i));
        }

        fixture.Flush();
        return fixture;
    }

    private static long TableBytes(LsmFixture fixture) => fixture.Engine.Versions.Current.Tables.Sum(table => table.FileBytes);

    private static void RemoveRange(LsmFixture fixture, string from, string to)
    {
        fixture.Engine.Admit(from.Length + to.Length);
        long version = fixture.Oracle.Take(1);
        long stamp = fixture.Oracle.Now();
        fixture.Engine.RemoveRange(Encoding.UTF8.GetBytes(from), Encoding.UTF8.GetBytes(to), version, stamp);
        fixture.Engine.EndGroup(++fixture.Index, version, stamp);
    }

    private static List<string> Scan(LsmFixture fixture, long at, bool reverse)
    {
        List<string> keys = [];
        using EngineCursor cursor = fixture.Engine.OpenCursor(default, default, at, reverse);
        while (cursor.MoveNext())
        {
            keys.Add(Encoding.UTF8.GetString(cursor.Key));
        }

        return keys;
    }

    private static Dictionary<string, int> CountReads(LsmFixture fixture)
    {
        Dictionary<string, int> reads = [];
        fixture.Files.Faults.Before = (operation, path) =>
        {
            if (operation == FileOperation.Read)
            {
                reads[path] = reads.GetValueOrDefault(path) + 1;
            }
        };
        return reads;
    }

    private static BlockPlace Place(LsmFixture fixture, SsTable table)
    {
        using TableReader reader = TableReader.Open(fixture.Files.Open(table.Path, writable: false), fixture.Cache);
        return reader.Layout.RangeTombstones;
    }
}
