using System.Text;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Stores;

/// <summary>
/// A store of which something is damaged, repaired: the result opens, verifies clean, answers nothing that was never written,
/// and has everything that was not reported.
/// </summary>
public sealed class RepairTests
{
    private const string Target = "/repaired";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void WithOneByteOfAnyFileChangedAllButWhatIsReportedIsThere(bool killed)
    {
        FolderImage image = SmallStore.Image(killed);
        int seed = Environment.TickCount;
        Random random = new(seed);
        int lossless = 0;
        int repairs = 0;
        foreach (string path in image.Files.Where(path => image[path].Length > 0 && !path.EndsWith("/LOCK", StringComparison.Ordinal)))
        {
            int used = image[path].AsSpan().LastIndexOfAnyExcept((byte)0) + 1;
            for (int i = 0; i < 25 && used > 0; i++)
            {
                int offset = random.Next(used);
                MemoryFileSystem files = image.Write();
                files.Corrupt(path, offset, (byte)(1 << random.Next(8)));
                try
                {
                    RepairReport report = Repair(files, path);
                    repairs++;
                    lossless += report.Losses.Count == 0 ? 1 : 0;
                }
                catch (Exception failure)
                {
                    throw new InvalidOperationException($"{path} at {offset} of {used}, seed {seed}: {failure.Message}", failure);
                }
            }
        }

        // Most bytes are in data blocks and records; but every footer, index, filter, catalog and manifest is made up for.
        Assert.InRange(lossless, repairs / 20, repairs);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void WithAnyFileMissingAllButWhatIsReportedIsThere(bool killed)
    {
        FolderImage image = SmallStore.Image(killed);
        foreach (string path in image.Files)
        {
            List<string> notes = [];
            IReadOnlyList<CorruptionException> damages = SmallStore.Verify(image.Write((other, bytes) => other == path ? null : bytes), notes);
            try
            {
                Repair(image.Write((other, bytes) => other == path ? null : bytes), path);
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException($"{path}: {failure.Message}\n{string.Join('\n', damages.Select(static damage => damage.Message).Concat(notes).Concat(image.Files.Select(file => $"{file} {image[file].Length}")))}", failure);
            }
        }
    }

    [Fact]
    public void WithoutManifestsNothingIsLostThatTablesAndJournalHold()
    {
        FolderImage image = SmallStore.Image(killed: true);
        MemoryFileSystem files = image.Write((path, bytes) => path.Contains("MANIFEST", StringComparison.Ordinal) || path.EndsWith("1/CURRENT", StringComparison.Ordinal) ? null : bytes);
        RepairReport report = StoreRepair.Run(SmallStore.Directory, Target, SmallStore.Environment(files), CancellationToken.None);
        Assert.Empty(report.Losses);
        Assert.NotEmpty(report.Notes);
        Check(files, Target, report);
    }

    [Fact]
    public void WithoutTheCatalogPartitionsAndRangesAreFound()
    {
        FolderImage image = SmallStore.Image(killed: false);
        MemoryFileSystem files = image.Write((path, bytes) => path.EndsWith("/CATALOG", StringComparison.Ordinal) ? null : bytes);
        RepairReport report = StoreRepair.Run(SmallStore.Directory, Target, SmallStore.Environment(files), CancellationToken.None);
        Assert.Empty(report.Losses);
        Check(files, Target, report);
        Store store = Store.Open(Target, SmallStore.Options, SmallStore.Environment(files));
        Assert.Equal([EngineKind.Lsm, EngineKind.Memory], store.Partitions.List().Select(static partition => partition.Engine));
        Assert.Equal("z"u8[0], store.Partitions.List()[1].Range.From.Span[0]);
        Close(store);
    }

    [Fact]
    public void InPlaceTheOriginalIsKeptAndTheResultGoesOn()
    {
        FolderImage image = SmallStore.Image(killed: false);
        MemoryFileSystem files = image.Write();
        string table = image.Files.First(static path => path.EndsWith(".sst", StringComparison.Ordinal));
        files.Corrupt(table, 40, 1);
        RepairReport report = StoreRepair.Run(SmallStore.Directory, null, SmallStore.Environment(files), CancellationToken.None);
        Assert.Equal("/data/damaged-1", report.DamagedDirectory);
        Assert.Equal(table, Assert.Single(report.Damages).File);
        RepairLoss loss = Assert.Single(report.Losses);
        Assert.True(loss.Records > 0, "how many entries a block held is known from the properties");
        Check(files, SmallStore.Directory, report);
        foreach (string path in image.Files.Where(static path => !path.EndsWith("/LOCK", StringComparison.Ordinal)))
        {
            Assert.True(files.FileExists(path.Replace("/data/", "/data/damaged-1/", StringComparison.Ordinal)), path);
        }

        Store store = SmallStore.Open(files);
        Assert.True(store.Upsert(SmallStore.Key(1), "new"u8).IsOk);
        Close(store);
        store = SmallStore.Open(files);
        Assert.Equal("new", StoreFixture.Get(store, Encoding.ASCII.GetString(SmallStore.Key(1))));
        Close(store);
        Assert.Empty(SmallStore.Verify(files));
    }

    [Fact]
    public void AFolderWithoutDamageIsLeftAlone()
    {
        FolderImage image = SmallStore.Image(killed: true);
        MemoryFileSystem files = image.Write();
        RepairReport report = StoreRepair.Run(SmallStore.Directory, null, SmallStore.Environment(files), CancellationToken.None);
        Assert.Empty(report.Damages);
        Assert.Null(report.DamagedDirectory);
        var after = new FolderImage(files, SmallStore.Directory);
        Assert.Equal(image.Files, after.Files);
        Assert.All(image.Files, path => Assert.Equal(image[path], after[path]));
    }

    [Fact]
    public void ADamagedPlaceInTheJournalCostsItsRecordAlone()
    {
        // All in the journal: nothing was flushed.
        var fixture = new StoreFixture();
        Store store = fixture.Open();
        for (int i = 0; i < 50; i++)
        {
            Assert.True(StoreFixture.Set(store, $"k{i}", new string('v', 50)).IsOk);
        }

        Close(store);
        string segment = "/data/journal/0000000001.journal";
        fixture.Files.Corrupt(segment, 3000, 8);
        var environment = new StoreEnvironment { FileSystem = fixture.Files };
        Assert.Single(StoreVerification.Run("/data", environment, null, CancellationToken.None));
        RepairReport report = StoreRepair.Run("/data", Target, environment, CancellationToken.None);
        Assert.Contains("lacks index", Assert.Single(report.Losses).Detail, StringComparison.Ordinal);
        Assert.Equal(49, report.RecordsReplayed);
        store = Store.Open(Target, null, environment);
        Assert.Equal(49, Enumerable.Range(0, 50).Count(i => StoreFixture.Get(store, $"k{i}") is not null));
        Close(store);
    }

    private static void Close(Store store) => store.DisposeAsync().AsTask().GetAwaiter().GetResult();

    private static RepairReport Repair(MemoryFileSystem files, string damaged)
    {
        RepairReport report = StoreRepair.Run(SmallStore.Directory, Target, SmallStore.Environment(files), CancellationToken.None);
        Assert.All(report.Losses, static loss => Assert.NotEmpty(loss.File));
        Assert.All(report.Damages, damage => Assert.StartsWith(SmallStore.Directory, damage.File, StringComparison.Ordinal));
        Assert.NotNull(damaged);
        Check(files, Target, report);
        return report;
    }

    private static void Check(MemoryFileSystem files, string directory, RepairReport report)
    {
        var environment = SmallStore.Environment(files);
        Assert.Empty(StoreVerification.Run(directory, environment, null, CancellationToken.None));
        Store store = Store.Open(directory, SmallStore.Options, environment);
        try
        {
            bool isTail = report.Notes.Any(static note => note.Contains("no sync had confirmed", StringComparison.Ordinal));
            Assert.Equal(0, SmallStore.Read(store, mayLose: report.Losses.Count > 0 || isTail));
        }
        finally
        {
            Close(store);
        }

        Assert.Empty(StoreVerification.Run(directory, environment, null, CancellationToken.None));
    }
}
