using System.Text;
using KeyVa.Engines;
using KeyVa.Io;
using KeyVa.Simulation;
using Xunit;

namespace KeyVa.Tests.Stores;

/// <summary>
/// A store of some dozen kilobytes with everything that a store can have: an lsm partition with flushed and merged tables, a
/// memory partition with a checkpoint, several journal segments, writes that only the journal holds; and what it must
/// answer. Sizes are tiny so that every byte can be damaged in turn.
/// </summary>
internal static class SmallStore
{
    public const string Directory = "/data";
    public const int Keys = 200;

    /// <summary>Keys below this are written a third time.</summary>
    private const int Late = 90;

    public static readonly StoreOptions Options = new()
    {
        CreateDefaultPartition = false,
        JournalSegmentBytes = 8 << 10,
        JournalBudgetBytes = 24 << 10,
        BlockCacheBytes = 64 << 10,
        BackgroundThreads = 1,
    };

    private static readonly Lazy<FolderImage> Closed = new(static () => Build(killed: false));
    private static readonly Lazy<FolderImage> Killed = new(static () => Build(killed: true));

    /// <summary>As a clean close leaves it, or a kill right behind a write. Without the reserve: 16 MiB of zeros.</summary>
    public static FolderImage Image(bool killed) => killed ? Killed.Value : Closed.Value;

    /// <param name="files">The disk.</param>
    /// <param name="time">The clock; null: the system's.</param>
    /// <param name="work">Who runs flushes, compactions and checkpoints; null: threads of the store's own.</param>
    public static StoreEnvironment Environment(IFileSystem files, TimeProvider? time = null, IBackgroundWork? work = null) => new()
    {
        FileSystem = files,
        Time = time ?? TimeProvider.System,
        Background = work,
        Engine = static options => options with
        {
            MemtableBytes = 3 << 10,
            BlockBytes = 256,
            TableBytes = 2 << 10,
            Level0Tables = 2,
            Level1Bytes = 4 << 10,
            LevelMultiplier = 4,
            CheckpointAfterBytes = 4 << 10,
            SeparateValuesFrom = 52,
        },
    };

    public static Store Open(IFileSystem files) => Store.Open(Directory, Options, Environment(files));

    public static IReadOnlyList<CorruptionException> Verify(IFileSystem files, List<string>? notes = null) =>
        StoreVerification.Run(Directory, new StoreEnvironment { FileSystem = files }, notes is null ? null : notes.Add, CancellationToken.None);

    public static byte[] Key(int i) => Encoding.ASCII.GetBytes($"{(i % 2 == 0 ? 'a' : 'z')}{i:D4}");

    /// <summary>What the key holds at the end; null: it was removed.</summary>
    public static string? Value(int i) => i % 13 == 5 ? null : i < Late ? Text(i, 3) : i % 5 == 0 ? Text(i, 1) : Text(i, 2);

    /// <summary>
    /// Reads every key, one by one and by a scan. A wrong answer fails the test. Returns how many reads were refused with damage;
    /// <paramref name="mayLose"/>: the last writes may be missing.
    /// </summary>
    public static int Read(Store store, bool mayLose)
    {
        int refused = 0;
        for (int i = 0; i < Keys; i++)
        {
            try
            {
                using ValueLease lease = store.Get(Key(i));
                string? found = lease.Found ? Encoding.ASCII.GetString(lease.Value) : null;
                Assert.True(found == Value(i) || (mayLose && IsOlder(i, found)), $"key {i} is '{found}' instead of '{Value(i)}'");
            }
            catch (CorruptionException damage)
            {
                Assert.NotEmpty(damage.File);
                refused++;
            }
        }

        return refused + Scan(store, mayLose);
    }

    private static int Scan(Store store, bool mayLose)
    {
        try
        {
            using ScanCursor cursor = store.Scan(new ScanOptions { Unordered = true });
            while (cursor.MoveNext())
            {
                int i = int.Parse(Encoding.ASCII.GetString(cursor.Key[1..]));
                string found = Encoding.ASCII.GetString(cursor.Value);
                Assert.True(found == Value(i) || (mayLose && IsOlder(i, found)), $"the scan gives '{found}' for key {i} instead of '{Value(i)}'");
            }

            return 0;
        }
        catch (CorruptionException)
        {
            return 1;
        }
    }

    /// <summary>Whether that was ever the key's value.</summary>
    public static bool IsOlder(int i, string? found) =>
        found is null || found == Text(i, 1) || found == Text(i, 2) || (i < Late && found == Text(i, 3));

    private static string Text(int i, int generation) => $"{generation}:{i}:{new string((char)('a' + (i % 26)), 20 + (i % 40))}";

    private static FolderImage Build(bool killed)
    {
        MemoryFileSystem files = new();
        var work = new DeterministicWork(new Random(1));
        Store store = Store.Open(Directory, Options, Environment(files, work: work));
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(default, "m"u8.ToArray()), EngineKind.Lsm).Status);
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange("m"u8.ToArray(), default), EngineKind.Memory).Status);
        for (int generation = 1; generation <= 3; generation++)
        {
            for (int i = 0; i < (generation == 3 ? Late : Keys); i++)
            {
                if (i % 13 == 5 && generation == 2)
                {
                    Assert.Equal(Status.Ok, store.Remove(Key(i)).Status);
                }
                else if (generation != 2 || i % 5 != 0)
                {
                    if (generation < 3 || i % 13 != 5)
                    {
                        Assert.Equal(Status.Ok, store.Upsert(Key(i), Encoding.ASCII.GetBytes(Text(i, generation))).Status);
                    }
                }

                if (i % 40 == 39)
                {
                    // Behind all keys of the partition and before all of the next: a range tombstone that changes no answer.
                    Assert.True(store.RemoveRange("a9"u8, "b"u8).IsOk);
                }
            }

            Settle(work);
        }

        MemoryFileSystem left = files;
        if (killed)
        {
            Assert.Equal(Status.Ok, store.Upsert(Key(0), Encoding.ASCII.GetBytes(Text(0, 3))).Status);
            left = files.Kill();
        }

        try
        {
            store.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
        catch (StorageException) when (killed)
        {
            // Its disk is gone.
        }

        // Files that compactions have replaced go once readers of any engine of this process have moved on: a busy machine may have left some.
        List<string> notes = [];
        Verify(left, notes);
        string[] replaced = [.. notes.Where(static note => note.Contains("that the manifest does not name", StringComparison.Ordinal)).Select(static note => Path.GetFileName(note.Split('\'')[1]))];
        var image = new FolderImage(left, Directory, name => name == "reserve" || replaced.Contains(name));
        Assert.True(image.Files.Count(static path => path.EndsWith(".sst", StringComparison.Ordinal)) >= 3, string.Join(' ', image.Files));
        Assert.True(image.Files.Count(static path => path.EndsWith(".journal", StringComparison.Ordinal)) >= 2, string.Join(' ', image.Files));
        Assert.Contains(image.Files, static path => path.EndsWith(".val", StringComparison.Ordinal));
        Assert.Contains(image.Files, static path => path.Contains("checkpoint-", StringComparison.Ordinal));
        Assert.Empty(Verify(image.Write()));
        return image;
    }

    /// <summary>Flushes, compacts and checkpoints until there is nothing more to do.</summary>
    public static void Settle(DeterministicWork work)
    {
        while (work.RunOne())
        {
        }
    }
}
