using System.Text;
using KeyVa.Io;
using KeyVa.Log;
using Xunit;

namespace KeyVa.Tests.Stores;

/// <summary>
/// The cells of docs/durability.md, one test per fault, over every durability and both engines, on a whole store: what was
/// acknowledged before the fault and what is there after it. Damaged and missing files are in <see cref="CrashMatrixDamageTests"/>.
/// </summary>
public sealed class CrashMatrixTests
{
    private const int TooManyOpenFiles = 24;

    public static TheoryData<Durability, EngineKind> Cells()
    {
        var cells = new TheoryData<Durability, EngineKind>();
        foreach (Durability durability in Enum.GetValues<Durability>())
        {
            cells.Add(durability, EngineKind.Lsm);
            cells.Add(durability, EngineKind.Memory);
        }

        return cells;
    }

    [Theory]
    [MemberData(nameof(Cells))]
    public void AKillLosesNothing(Durability durability, EngineKind engine)
    {
        var cell = new Cell(durability, engine);
        for (int round = 1; round <= 5; round++)
        {
            cell.Write(150 + (37 * round));
            cell.Reopen(cell.Files.Kill());
            Assert.Equal(cell.Written, cell.CheckPrefix());
        }
    }

    [Theory]
    [MemberData(nameof(Cells))]
    public void APowerLossLeavesAPrefixAndUnderAlwaysEverything(Durability durability, EngineKind engine)
    {
        for (int seed = 0; seed < 12; seed++)
        {
            var cell = new Cell(durability, engine);
            int before = 0;
            for (int round = 0; round < 3; round++)
            {
                cell.Write(new Random(seed).Next(20, 150));
                int written = cell.Written;
                cell.Reopen(cell.Files.AfterPowerLoss((seed * 7) + round));
                int left = cell.CheckPrefix();
                Assert.InRange(left, durability == Durability.Always ? written : before, written);
                cell.CutTo(left);
                before = left;
            }

            cell.Close();
        }
    }

    [Theory]
    [MemberData(nameof(Cells))]
    public void AClosedStoreHasEverythingAfterAPowerLoss(Durability durability, EngineKind engine)
    {
        for (int seed = 0; seed < 5; seed++)
        {
            var cell = new Cell(durability, engine);
            cell.Write(300);
            cell.Close();
            cell.Reopen(cell.Files.AfterPowerLoss(seed));
            Assert.Equal(cell.Written, cell.CheckPrefix());
            cell.Close();
        }
    }

    [Theory]
    [MemberData(nameof(Cells))]
    public void AFullDiskRefusesPutsLosesNothingAndPasses(Durability durability, EngineKind engine)
    {
        var cell = new Cell(durability, engine);
        cell.Write(50);
        cell.Files.Capacity = cell.Files.Used + 3000;
        WriteResult refused = cell.WriteUntilRefused();
        Assert.Equal(Status.Full, refused.Status);
        Assert.Equal(cell.Written, cell.CheckPrefix());
        Assert.Null(cell.Store.Failure);
        cell.Files.Capacity = long.MaxValue;
        cell.Write(50);
        cell.Reopen(cell.Files.Kill());
        Assert.Equal(cell.Written, cell.CheckPrefix());
        cell.Close();
    }

    [Theory]
    [MemberData(nameof(Cells))]
    public void AFailedWriteOfTheJournalStopsTheStoreAndLosesNothingAcknowledged(Durability durability, EngineKind engine)
    {
        var cell = new Cell(durability, engine);
        cell.Write(100);
        cell.Files.Faults.FailNext(FileOperation.Write, path: ".journal");
        CheckStopped(cell);
    }

    [Theory]
    [MemberData(nameof(Cells))]
    public void AFailedSyncStopsTheStoreAndWithThePowerOnLosesNothing(Durability durability, EngineKind engine)
    {
        var cell = new Cell(durability, engine);
        cell.Write(60);
        if (durability == Durability.Os)
        {
            // No segment is synced for itself: what is synced is where the journal begins, when segments go.
            cell.Files.Faults.FailNext(FileOperation.Sync, path: JournalBeginning.TemporaryName);
        }
        else
        {
            cell.Files.Faults.FailNext(FileOperation.SyncData, path: ".journal");
        }

        cell.Time.Advance(TimeSpan.FromSeconds(5));
        CheckStopped(cell);
    }

    [Theory]
    [MemberData(nameof(Cells))]
    public void TheLimitOfOpenFilesLosesNothingAndPasses(Durability durability, EngineKind engine)
    {
        var cell = new Cell(durability, engine);
        cell.Write(120);
        cell.Files.Faults.Decide = static (operation, _) => operation is FileOperation.Create or FileOperation.Open ? TooManyOpenFiles : 0;
        WriteResult refused = cell.WriteUntilRefused();
        Assert.True(refused.Status == Status.Full, $"{refused.Status}: {refused.Detail} {cell.Store.Failure}");
        Assert.Null(cell.Store.Failure);
        cell.Files.Faults.Clear();
        cell.Write(120);
        Assert.Equal(cell.Written, cell.CheckPrefix());
        cell.Reopen(cell.Files.Kill());
        Assert.Equal(cell.Written, cell.CheckPrefix());
        cell.Close();
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task ALostDiskLeavesTheSnapshotElsewhere(EngineKind engine)
    {
        var cell = new Cell(Durability.Always, engine);
        cell.Write(200);
        PartitionSnapshotResult result = await cell.Store.Partitions.BeginSnapshot(1, "/elsewhere/copy").Completion;
        Assert.Equal(Status.Ok, result.Status);
        cell.Write(100);
        cell.Close();
        cell.Files.DeleteDirectory(StoreFixture.Directory);
        var environment = new StoreEnvironment { FileSystem = cell.Files };
        Assert.Empty(StoreVerification.Run("/elsewhere/copy", environment, null, CancellationToken.None));
        await using Store copy = Store.Open("/elsewhere/copy", null, environment);
        Assert.Equal(200, Cell.CheckPrefix(copy, 300));
    }

    /// <summary>The next write stops the store; what was acknowledged is there, before and after it is opened again.</summary>
    private static void CheckStopped(Cell cell)
    {
        Assert.Equal(Status.Failed, cell.WriteUntilRefused().Status);
        Assert.NotNull(cell.Store.Failure);
        Assert.Equal(cell.Written, cell.CheckPrefix());
        cell.Reopen(cell.Files.Kill());
        Assert.InRange(cell.CheckPrefix(mayBeOneMore: true), cell.Written, cell.Written + 1);
        cell.Close();
    }

    /// <summary>One store under one setting: writes numbered values over a few keys, and knows what a prefix of them leaves.</summary>
    private sealed class Cell
    {
        private const int Keys = 40;

        private readonly StoreOptions _options;

        public Cell(Durability durability, EngineKind engine)
        {
            _options = new StoreOptions
            {
                Durability = durability,
                Engine = engine,
                SyncInterval = TimeSpan.FromMilliseconds(1),
                JournalSegmentBytes = 16 << 10,
                JournalBudgetBytes = 64 << 10,
                BlockCacheBytes = 64 << 10,
                BackgroundThreads = 1,
                ScrubInterval = TimeSpan.Zero,
            };
            Store = Open();
        }

        public MemoryFileSystem Files { get; private set; } = new();

        public ManualTime Time { get; } = new();

        public Store Store { get; private set; }

        /// <summary>Writes that were acknowledged.</summary>
        public int Written { get; private set; }

        /// <summary>How many of the first <paramref name="written"/> writes a store holds: it must be a prefix of them.</summary>
        public static int CheckPrefix(Store store, int written)
        {
            int[] found = new int[Keys];
            for (int key = 0; key < Keys; key++)
            {
                string? value = StoreFixture.Get(store, $"k{key}");
                found[key] = value is null ? -1 : int.Parse(value[..value.IndexOf(':', StringComparison.Ordinal)]);
                Assert.True(value is null || value == Text(found[key]), $"k{key} is '{value}'");
            }

            // The newest write decides how long the prefix is; every other key must then hold its last write within it.
            int count = found.Max() + 1;
            Assert.InRange(count, 0, written);
            for (int key = 0; key < Keys; key++)
            {
                int last = count - 1 - ((((count - 1 - key) % Keys) + Keys) % Keys);
                Assert.Equal(last < 0 ? -1 : last, found[key]);
            }

            return count;
        }

        public int CheckPrefix(bool mayBeOneMore = false) => CheckPrefix(Store, Written + (mayBeOneMore ? 1 : 0));

        public void CutTo(int written) => Written = written;

        public void Write(int count)
        {
            for (int i = 0; i < count; i++)
            {
                WriteResult result = WriteOne();
                Assert.True(result.IsOk, $"write {Written}: {result.Status} {result.Detail}");
            }
        }

        /// <summary>Writes until a write is refused, and returns that.</summary>
        public WriteResult WriteUntilRefused()
        {
            for (int i = 0; i < 200_000; i++)
            {
                WriteResult result = WriteOne();
                if (!result.IsOk)
                {
                    return result;
                }
            }

            throw new InvalidOperationException("no write was refused");
        }

        /// <summary>Goes on with the disk as a crash left it.</summary>
        public void Reopen(MemoryFileSystem left)
        {
            Close();
            Files = left;
            Store = Open();
        }

        public void Close()
        {
            try
            {
                Store.DisposeAsync().AsTask().GetAwaiter().GetResult();
            }
            catch (StoreException)
            {
                // Its disk is dead, or what stopped it comes up again.
            }
        }

        private static string Text(int number) => $"{number}:{new string('v', 30 + (number % 90))}";

        private WriteResult WriteOne()
        {
            WriteResult result = Store.Upsert(StoreFixture.Bytes($"k{Written % Keys}"), Encoding.UTF8.GetBytes(Text(Written)));
            Written += result.IsOk ? 1 : 0;
            return result;
        }

        private Store Open() => Store.Open(StoreFixture.Directory, _options, SmallStore.Environment(Files, Time));
    }
}
