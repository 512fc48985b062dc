using KeyVa.Io;
using Xunit;
using static KeyVa.Tests.Stores.BulkLoadTests;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Stores;

public sealed class BulkLoadCrashTests
{
    /// <summary>Long enough for a load to be of several tables.</summary>
    private static readonly string New = new('n', 100);

    [Theory]
    [InlineData(Durability.Always)]
    [InlineData(Durability.Os)]
    public async Task APowerLossAtAnyFileOperationLeavesAllOfALoadOrNothing(Durability durability)
    {
        var fixture = new StoreFixture(new StoreOptions { Durability = durability, JournalSegmentBytes = 1 << 16 });
        var left = new List<(MemoryFileSystem Files, bool Acknowledged)>();
        bool acknowledged = false;
        int operation = 0;
        await using (Store store = Open(fixture))
        {
            for (int i = 0; i < 100; i++)
            {
                Set(store, Key(i * 5), "old");
            }

            MemoryFileSystem files = fixture.Files;
            files.Faults.Before = (_, _) =>
            {
                lock (left)
                {
                    // Asked before: on a thread of the store's own, the load may be acknowledged while the files are copied.
                    bool told = Volatile.Read(ref acknowledged);
                    left.Add((files.AfterPowerLoss(operation++), told));
                }
            };
            Assert.True(TryLoad(store, 100, 300, New).IsOk);
            Volatile.Write(ref acknowledged, true);
            Set(store, "z", "1");
            files.Faults.Before = null;
        }

        Assert.True(left.Count > 40, $"{left.Count} operations");
        int all = 0;
        for (int i = 0; i < left.Count; i++)
        {
            (MemoryFileSystem files, bool must) = left[i];
            MemoryFileSystem repaired = Repaired(files.AfterPowerLoss(i));
            bool loaded = await IsLoaded(files, durability, $"operation {i}");
            all += loaded ? 1 : 0;
            Assert.Equal(loaded, await IsLoaded(repaired, durability, $"operation {i}, repaired"));
            Assert.True(loaded || !must || durability == Durability.Os, $"the load was acknowledged before operation {i}");
        }

        Assert.True(all > 0 && all < left.Count, $"{all} of {left.Count} have the load");
    }

    [Fact]
    public async Task APowerLossWhileTheRecordOfALoadIsReplayedLeavesTheLoad()
    {
        // The journal holds the load and the manifest does not: each operation of the opening that applies it may be the last.
        var fixture = new StoreFixture(new StoreOptions { JournalSegmentBytes = 1 << 16 });
        MemoryFileSystem? logged = null;
        await using (Store store = Open(fixture))
        {
            for (int i = 0; i < 100; i++)
            {
                Set(store, Key(i * 5), "old");
            }

            MemoryFileSystem files = fixture.Files;
            files.Faults.Before = (kind, path) =>
            {
                if (kind == FileOperation.HardLink && logged is null)
                {
                    logged = files.AfterPowerLoss(1);
                }
            };
            Assert.True(TryLoad(store, 100, 300, New).IsOk);
            files.Faults.Before = null;
        }

        var left = new List<MemoryFileSystem>();
        MemoryFileSystem opening = logged!;
        opening.Faults.Before = (_, _) =>
        {
            lock (left)
            {
                left.Add(opening.AfterPowerLoss(left.Count));
            }
        };
        Assert.True(await IsLoaded(opening, Durability.Always, "the first opening"));
        opening.Faults.Before = null;
        Assert.True(left.Count > 20, $"{left.Count} operations");
        for (int i = 0; i < left.Count; i++)
        {
            Assert.True(await IsLoaded(left[i], Durability.Always, $"operation {i} of the opening"), $"operation {i} of the opening");
        }
    }

    [Fact]
    public async Task AFullDiskRefusesTheLoadLosesNothingAndLeavesNoFiles()
    {
        var fixture = new StoreFixture(new StoreOptions { JournalSegmentBytes = 1 << 16 });
        await using Store store = Open(fixture);
        for (int i = 0; i < 100; i++)
        {
            Set(store, Key(i * 5), "old");
        }

        long used = fixture.Files.Used;
        int refused = 0;
        for (long room = 0; room < 64 << 10; room += 1500)
        {
            fixture.Files.Capacity = fixture.Files.Used + room;
            WriteResult result = TryLoad(store, 100, 300, New);
            fixture.Files.Capacity = long.MaxValue;
            if (result.IsOk)
            {
                break;
            }

            refused++;
            Assert.Equal(Status.Full, result.Status);
            Assert.Equal("old", Get(store, Key(100)));
            Assert.Null(Get(store, Key(101)));
            Assert.Empty(Staged(fixture));
            Assert.True(Set(store, "z", "1").IsOk);
        }

        Assert.True(refused > 2, $"{refused} loads were refused, with {used} bytes used");
        Assert.True(TryLoad(store, 100, 300, New).IsOk);
        Assert.Equal(New, Get(store, Key(101)));
        Assert.Equal("old", Get(store, Key(95)));
    }

    [Fact]
    public async Task AFailedSyncBeforeTheRecordFailsTheLoadAlone()
    {
        var fixture = new StoreFixture(new StoreOptions { JournalSegmentBytes = 1 << 16 });
        await using (Store store = Open(fixture))
        {
            Set(store, Key(1), "old");
            fixture.Files.Faults.FailNext(FileOperation.Sync, path: ".load");
            using BulkLoader loader = store.BeginBulkLoad();
            loader.Add(Bytes(Key(1)), Bytes(New));
            Assert.ThrowsAny<StorageException>(() => loader.Complete());
            Assert.True(Set(store, Key(2), "old").IsOk);
        }

        Assert.Empty(Staged(fixture));
        await using Store again = Open(fixture);
        Assert.Equal("old", Get(again, Key(1)));
    }

    // What opening completes or forgets, repairing does too.
    private static MemoryFileSystem Repaired(MemoryFileSystem files)
    {
        StoreRepair.Run(StoreFixture.Directory, null, new StoreEnvironment { FileSystem = files, Time = new ManualTime() }, CancellationToken.None);
        return files;
    }

    private static async Task<bool> IsLoaded(MemoryFileSystem files, Durability durability, string context)
    {
        var fixture = new StoreFixture(new StoreOptions { Durability = durability, JournalSegmentBytes = 1 << 16 }) { Files = files };
        bool loaded;
        await using (Store store = Open(fixture))
        {
            loaded = Get(store, Key(101)) == New;
            for (int i = 0; i < 500; i++)
            {
                string? old = i % 5 == 0 ? "old" : null;
                string? expected = loaded && i is >= 100 and < 300 ? New : old;
                string? found = Get(store, Key(i));
                Assert.True(found == expected || (durability == Durability.Os && !loaded && found is null), $"{context}, {Key(i)}: {found}, expected {expected}");
            }

            Assert.Empty(Staged(fixture));
        }

        Assert.Empty(StoreVerification.Run(StoreFixture.Directory, new StoreEnvironment { FileSystem = files, Time = fixture.Time }, null, CancellationToken.None));
        return loaded;
    }
}
