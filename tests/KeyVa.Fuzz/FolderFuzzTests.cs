using System.Buffers.Binary;
using System.Text;
using KeyVa.Io;
using KeyVa.Log;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>
/// Data folders with damaged, cut, exchanged and missing files: verified and opened they are refused with a
/// <see cref="StoreException"/>, or give only what was written; nothing else may come out, and no other exception.
/// Damaged journals by themselves likewise.
/// </summary>
public sealed class FolderFuzzTests : Fuzzing
{
    private const int Keys = 300;
    private const int Generations = 3;
    private const long MostRecords = 1 << 20;
    private const long MostAllocated = 256L << 20;

    private static readonly StoreOptions Options = new()
    {
        Engine = EngineKind.Lsm,
        CreateDefaultPartition = false,
        JournalSegmentBytes = 64 << 10,
        JournalBudgetBytes = 128 << 10,
        BlockCacheBytes = 64 << 10,
        BackgroundThreads = 1,
    };

    private static readonly Lazy<DataFolder[]> Folders = new(static () => [Folder(killed: false), Folder(killed: true)]);

    [Fact]
    public void ADamagedFolderIsRefusedOrGivesWhatWasWritten()
    {
        foreach (int seed in Seeds(1500))
        {
            Random random = new(seed);
            DataFolder folder = Folders.Value[random.Next(Folders.Value.Length)];
            Dictionary<string, FileBytes?> damage = Damage(folder, random, static _ => true);
            try
            {
                Try(folder, damage);
            }
            catch (Exception failure)
            {
                throw Failed(seed, Encoding.UTF8.GetBytes(string.Join(' ', damage.Keys)), new InvalidOperationException(string.Join(' ', damage.Keys), failure));
            }
        }
    }

    [Fact]
    public void ADamagedJournalIsCutOrRefused()
    {
        foreach (int seed in Seeds(1500))
        {
            Random random = new(seed);
            DataFolder folder = Folders.Value[random.Next(Folders.Value.Length)];
            Dictionary<string, FileBytes?> damage = Damage(folder, random, static path => path.Contains("/journal/", StringComparison.Ordinal));
            try
            {
                MemoryFileSystem files = folder.Write(damage);
                try
                {
                    JournalVerifier found = JournalVerifier.Verify(files, $"{DataFolder.Path}/journal");
                    using Journal journal = Journal.Open(
                        files, $"{DataFolder.Path}/journal", new JournalOptions { SegmentBytes = 64 << 10, ReserveBytes = 0 }, TimeProvider.System);
                    Assert.Null(found.Damage);
                    journal.Replay(new NoReader());
                }
                catch (StoreException)
                {
                    // Refused, with file and offset.
                }
            }
            catch (Exception failure)
            {
                throw Failed(seed, Encoding.UTF8.GetBytes(string.Join(' ', damage.Keys)), failure);
            }
        }
    }

    /// <summary>As if the damaged files had been written so: nothing but a refusal or wrong values may come of it.</summary>
    [Fact]
    public void AFolderWithRightChecksumsIsReadWithoutHarm()
    {
        foreach (int seed in Seeds(700))
        {
            Random random = new(seed);
            DataFolder folder = Folders.Value[random.Next(Folders.Value.Length)];
            Dictionary<string, FileBytes?> damage = Forge(folder, random);
            try
            {
                long before = GC.GetAllocatedBytesForCurrentThread();
                ReadForged(folder, damage);
                Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, MostAllocated);
            }
            catch (Exception failure)
            {
                throw Failed(seed, Encoding.UTF8.GetBytes(string.Join(' ', damage.Keys)), new InvalidOperationException(string.Join(' ', damage.Keys), failure));
            }
        }
    }

    private static Dictionary<string, FileBytes?> Forge(DataFolder folder, Random random)
    {
        string[] paths = [.. folder.Files.Where(path => folder[path].Bytes.Length > 0)];
        string[] kinds = ["MANIFEST", "CURRENT", ".journal", "CATALOG", ".sst", ""];
        string kind = kinds[random.Next(kinds.Length)];
        string[] like = [.. paths.Where(path => path.Contains(kind, StringComparison.Ordinal))];
        string path = like[random.Next(like.Length)];
        byte[] original = folder[path].Bytes;
        byte[] bytes = original;
        for (int edits = random.Next(1, 4); edits > 0; edits--)
        {
            bytes = Mutation.Edit(random, bytes, [original, folder[like[random.Next(like.Length)]].Bytes]);
        }

        bytes = [.. bytes];
        Checksums.Repair(path, bytes, original);
        return new Dictionary<string, FileBytes?> { [path] = new FileBytes(bytes, Math.Max(bytes.Length, folder[path].Length > original.Length ? folder[path].Length : 0)) };
    }

    private static void ReadForged(DataFolder folder, Dictionary<string, FileBytes?> damage)
    {
        try
        {
            StoreVerification.Run(DataFolder.Path, new StoreEnvironment { FileSystem = folder.Write(damage) }, null, CancellationToken.None);
        }
        catch (StoreException)
        {
            // No store any more, or a newer one.
        }

        try
        {
            Store store = Store.Open(DataFolder.Path, Options, Environment(folder.Write(damage)));
            try
            {
                for (int i = 0; i < Keys; i++)
                {
                    using ValueLease lease = store.Get(Key(i));
                }

                using ScanCursor cursor = store.Scan(new ScanOptions { Unordered = true });
                for (long left = MostRecords; cursor.MoveNext(); left--)
                {
                    Assert.True(left > 0, "the scan has no end");
                }

                store.Upsert(Key(1), Value(Key(1), 0));
            }
            finally
            {
                Close(store);
            }
        }
        catch (StoreException)
        {
            // Refused.
        }
    }

    private static void Try(DataFolder folder, Dictionary<string, FileBytes?> damage)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        List<string> notes = [];
        IReadOnlyList<CorruptionException>? found = null;
        try
        {
            found = StoreVerification.Run(DataFolder.Path, new StoreEnvironment { FileSystem = folder.Write(damage) }, notes.Add, CancellationToken.None);
        }
        catch (StoreException)
        {
            // No store any more, or a newer one.
        }

        // Bytes that changed without a trace must have meant nothing: then all is there. Three losses leave no trace: a file
        // that is gone and that no other names, the end of the journal, which looks as if it had never been written, and a last
        // segment that looks as if its file had not begun its new life yet.
        bool isIntact = found is { Count: 0 }
            && !damage.Any(one => one.Value is null || HasLostItsEnd(folder[one.Key], one.Value.Value) || IsInItsFormerLife(one.Key, one.Value.Value))
            && !notes.Exists(static note => note.Contains("no sync had confirmed", StringComparison.Ordinal));
        try
        {
            ReadAll(folder.Write(damage), isIntact);
        }
        catch (StoreException)
        {
            // Refused, which an intact folder is not.
            Assert.False(isIntact, "nothing is wrong with the folder, says its verification, and yet it is refused");
        }

        Assert.True(found is null || found.All(static one => one.File.Length > 0 && one.Offset >= 0));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, MostAllocated);
    }

    private static void ReadAll(MemoryFileSystem files, bool isIntact)
    {
        Store store = Store.Open(DataFolder.Path, Options, Environment(files));
        try
        {
            for (int i = 0; i < Keys; i++)
            {
                CheckRead(store, i, isIntact);
            }

            CheckScan(store);
            WriteResult result = store.Upsert(Key(1), Value(Key(1), 0));
            Assert.True(result.Status is Status.Ok or Status.Failed or Status.BadNode, $"{result.Status}");
        }
        finally
        {
            Close(store);
        }
    }

    private static void CheckRead(Store store, int i, bool isIntact)
    {
        byte[] key = Key(i);
        try
        {
            using ValueLease lease = store.Get(key);
            if (lease.Found)
            {
                CheckWritten(key, lease.Value);
            }

            bool isLatest = IsRemoved(i, Generations - 1) ? !lease.Found : lease.Found && lease.Value.SequenceEqual(Value(key, Generations - 1));
            Assert.True(isLatest || !isIntact, $"nothing is wrong with the folder, says its verification, and yet key {i} is not as last written");
        }
        catch (StoreException)
        {
            // The block with the key is damaged; others may not be.
            Assert.False(isIntact, "nothing is wrong with the folder, says its verification, and yet a read fails");
        }
    }

    private static void CheckScan(Store store)
    {
        try
        {
            using ScanCursor cursor = store.Scan(new ScanOptions { Unordered = true });
            while (cursor.MoveNext())
            {
                CheckWritten(cursor.Key, cursor.Value);
            }
        }
        catch (StoreException)
        {
            // As above.
        }
    }

    private static void Close(Store store)
    {
        try
        {
            store.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
        catch (StoreException)
        {
            // What stopped the store may come up again when it closes.
        }
    }

    private static Dictionary<string, FileBytes?> Damage(DataFolder folder, Random random, Func<string, bool> which)
    {
        string[] paths = [.. folder.Files.Where(which).Where(path => folder[path].Length > 0)];
        Dictionary<string, FileBytes?> damage = [];
        for (int files = random.Next(1, 3); files > 0; files--)
        {
            string path = paths[random.Next(paths.Length)];
            FileBytes original = folder[path];
            damage[path] = random.Next(12) switch
            {
                0 => null,
                1 => folder[paths[random.Next(paths.Length)]],
                2 => new FileBytes([], 0),
                _ => Damaged(original, random, folder[paths[random.Next(paths.Length)]].Bytes),
            };
        }

        return damage;
    }

    private static bool HasLostItsEnd(FileBytes original, FileBytes damaged) =>
        original.Bytes.AsSpan().StartsWith(damaged.Bytes.AsSpan().TrimEnd((byte)0));

    // docs/format.md, Where the journal ends: a segment whose file begins with the header of an older one was never written to.
    private static bool IsInItsFormerLife(string path, FileBytes damaged) =>
        JournalFormat.SequenceOf(Path.GetFileName(path)) is > 0 and long sequence
        && damaged.Bytes.Length >= JournalFormat.SegmentHeaderBytes
        && JournalFormat.TryReadSegmentHeader(damaged.Bytes.AsSpan(0, JournalFormat.SegmentHeaderBytes), path, out SegmentHeader header)
        && header.Sequence < sequence;

    private static FileBytes Damaged(FileBytes original, Random random, byte[] other)
    {
        byte[] bytes = original.Bytes;
        for (int edits = random.Next(1, 4); edits > 0; edits--)
        {
            bytes = Mutation.Edit(random, bytes, [original.Bytes, other]);
        }

        bool preallocated = original.Length > original.Bytes.Length;
        return new FileBytes(bytes, preallocated ? Math.Max(bytes.Length, original.Length) : bytes.Length);
    }

    // Two partitions, lsm and memory, with several tables, checkpoints and journal segments.
    private static DataFolder Folder(bool killed)
    {
        MemoryFileSystem files = new();
        Store store = Store.Open(DataFolder.Path, Options, Environment(files));
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(default, "m"u8.ToArray()), EngineKind.Lsm).Status);
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange("m"u8.ToArray(), default), EngineKind.Memory).Status);
        for (int generation = 0; generation < Generations; generation++)
        {
            for (int i = 0; i < Keys; i++)
            {
                WriteResult result = IsRemoved(i, generation) ? store.Remove(Key(i)) : store.Upsert(Key(i), Value(Key(i), generation));
                Assert.True(result.Status is Status.Ok or Status.NotFound);
            }
        }

        if (killed)
        {
            MemoryFileSystem left = files.Kill();
            Close(store);
            return new DataFolder(left);
        }

        Close(store);
        DataFolder folder = new(files);
        Assert.Contains(folder.Files, static path => path.EndsWith(".sst", StringComparison.Ordinal));
        Assert.Empty(StoreVerification.Run(DataFolder.Path, new StoreEnvironment { FileSystem = folder.Write(new Dictionary<string, FileBytes?>()) }, null, CancellationToken.None));
        return folder;
    }

    private static bool IsRemoved(int i, int generation) => i % 17 == generation;

    private static StoreEnvironment Environment(MemoryFileSystem files) => new()
    {
        FileSystem = files,
        Engine = static options => options with
        {
            MemtableBytes = 8 << 10,
            BlockBytes = 256,
            TableBytes = 4 << 10,
            Level0Tables = 3,
            Level1Bytes = 12 << 10,
            LevelMultiplier = 4,
            MaxOpenTables = 6,
            CheckpointAfterBytes = 8 << 10,
        },
    };

    private static byte[] Key(int i) => Encoding.UTF8.GetBytes($"{(i % 2 == 0 ? 'a' : 'z')}{i:D5}");

    // Generation, checksum of key and generation, and filling that follows from both.
    private static byte[] Value(ReadOnlySpan<byte> key, int generation)
    {
        uint checksum = Crc32C.Extend((uint)generation, key);
        byte[] value = new byte[8 + (checksum % 120)];
        new Random((int)checksum).NextBytes(value);
        BinaryPrimitives.WriteInt32LittleEndian(value, generation);
        BinaryPrimitives.WriteUInt32LittleEndian(value.AsSpan(4), checksum);
        return value;
    }

    private static void CheckWritten(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        int generation = value.Length >= 4 ? BinaryPrimitives.ReadInt32LittleEndian(value) : -1;
        Assert.InRange(generation, 0, Generations - 1);
        Assert.True(value.SequenceEqual(Value(key, generation)), $"{Encoding.UTF8.GetString(key)} has a value that nobody wrote: {Convert.ToHexString(value)}");
    }

    private sealed class NoReader : IJournalReader
    {
        public void Read(in JournalRecord record) => Assert.False(record.Positions.IsEmpty);
    }
}
