using System.Globalization;
using System.Text;
using KeyVa.Io;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Stores;

/// <summary>
/// Stores of many histories: partitions that were written at different times, flushed or not, with one segment of the
/// journal or many, closed or killed. Of each, every file is deleted in turn: opening names what is missing, or all that
/// was acknowledged is there.
/// </summary>
public sealed class DeletedFileTests(ITestOutputHelper output)
{
    private static readonly int Histories = System.Environment.GetEnvironmentVariable("KEYVA_DELETED_SEEDS") is { Length: > 0 } count ? int.Parse(count, CultureInfo.InvariantCulture) : 40;

    /// <summary>The oldest segment alone holds the last writes of a partition, all others are for another one.</summary>
    [Fact]
    public async Task AMissingSegmentShowsThoughNothingBehindItIsForItsPartition()
    {
        MemoryFileSystem files = new();
        Store store = SmallStore.Open(files);
        store.Partitions.Add(new KeyRange(default, "m"u8.ToArray()), EngineKind.Lsm);
        store.Partitions.Add(new KeyRange("m"u8.ToArray(), default), EngineKind.Lsm);
        Assert.True(store.Upsert("a"u8, "1"u8).IsOk);
        byte[] value = new byte[1000];
        for (int i = 0; i < 20; i++)
        {
            Assert.True(store.Upsert("z"u8, value).IsOk);
        }

        await store.DisposeAsync();
        string first = $"{SmallStore.Directory}/journal/0000000001.journal";
        files.DeleteFile(first);
        CorruptionException refused = Assert.Throws<CorruptionException>(() => SmallStore.Open(files));
        Assert.Equal(first, refused.File);
        Assert.Contains("the log of partition 1 had reached index 1 before the next one, its files end at 0", refused.Message, StringComparison.Ordinal);
        Assert.Equal(refused.Message, Assert.Single(SmallStore.Verify(files), damage => damage.Message.Contains("partition 1", StringComparison.Ordinal)).Message);
        RepairReport report = StoreRepair.Run(SmallStore.Directory, "/repaired", SmallStore.Environment(files), CancellationToken.None);
        Assert.Contains(report.Damages, damage => damage.File == first);
        Assert.Contains(report.Losses, static loss => loss.Detail == "partition 1: the log lacks index 1 to 1 (each a group of writes)");
    }

    [Fact]
    public void WhateverTheHistoryADeletedFileIsNamedOrNothingIsLost()
    {
        int first = System.Environment.TickCount & 0xFFFFFF;
        int deleted = 0;
        int named = 0;
        List<string> failures = [];
        for (int seed = first; seed < first + Histories; seed++)
        {
            var history = new StoreHistory(seed);
            FolderImage image = history.Run();
            history.Check(image.Write());
            foreach (string path in image.Files)
            {
                deleted++;
                try
                {
                    named += IsNamed(history, image, path) ? 1 : 0;
                }
                catch (Exception failure)
                {
                    failures.Add($"seed {seed} ({history.Text}): {path} deleted: {failure.Message}; the store has {string.Join(' ', image.Files)}");
                }
            }
        }

        output.WriteLine($"{deleted} files deleted, {named} of them named");
        Assert.True(failures.Count == 0, string.Join('\n', failures));
        Assert.True(named > Histories);
    }

    private static bool IsNamed(StoreHistory history, FolderImage image, string path)
    {
        MemoryFileSystem Without() => image.Write((other, bytes) => other == path ? null : bytes);
        bool found = SmallStore.Verify(Without()).Count > 0;
        try
        {
            history.Check(Without());
        }
        catch (CorruptionException damage)
        {
            Assert.True(found, $"opening is refused ({damage.Message}), verify finds nothing");
            Assert.StartsWith(SmallStore.Directory, damage.File, StringComparison.Ordinal);
            CheckRepair(history, Without());
            return true;
        }

        Assert.False(found, "verify finds damage, and yet all is there");
        return false;
    }

    /// <summary>What a repair does not save, it reports.</summary>
    private static void CheckRepair(StoreHistory history, MemoryFileSystem files)
    {
        RepairReport report = StoreRepair.Run(SmallStore.Directory, "/repaired", SmallStore.Environment(files), CancellationToken.None);
        if (report.Losses.Count == 0 && !report.Notes.Any(static note => note.Contains("cannot be told", StringComparison.Ordinal)))
        {
            history.Check(files, "/repaired");
        }
    }

    /// <summary>What a seed says was done to a store, and what must be there afterwards. One thread.</summary>
    private sealed class StoreHistory(int seed)
    {
        private static readonly EngineKind[] Engines = [EngineKind.Lsm, EngineKind.Memory];

        private readonly Random _random = new(seed);
        private readonly SortedDictionary<string, string> _expected = new(StringComparer.Ordinal);
        private readonly StringBuilder _text = new();

        public string Text => _text.ToString();

        public FolderImage Run()
        {
            MemoryFileSystem files = new();
            int partitions = _random.Next(1, 4);
            int lives = _random.Next(1, 4);
            for (int life = 0; life < lives; life++)
            {
                Store store = SmallStore.Open(files);
                if (life == 0)
                {
                    AddPartitions(store, partitions);
                }

                Write(store, partitions);
                MemoryFileSystem left = _random.Next(2) == 0 ? files.Kill() : files;
                Close(store, left != files);
                _text.Append(left != files ? " killed;" : " closed;");
                files = left;
            }

            return new FolderImage(files, SmallStore.Directory, static name => name == "reserve");
        }

        /// <summary>Opens the store and compares everything.</summary>
        public void Check(MemoryFileSystem files, string directory = SmallStore.Directory)
        {
            Store store = Store.Open(directory, SmallStore.Options, SmallStore.Environment(files));
            try
            {
                using ScanCursor cursor = store.Scan(new ScanOptions { Unordered = true });
                Dictionary<string, string> found = [];
                while (cursor.MoveNext())
                {
                    found.Add(Encoding.ASCII.GetString(cursor.Key), Encoding.ASCII.GetString(cursor.Value));
                }

                foreach ((string key, string value) in _expected)
                {
                    Assert.True(found.Remove(key, out string? there) && there == value, $"'{key}' is '{there}' instead of '{value}'");
                }

                Assert.True(found.Count == 0, $"'{found.Keys.FirstOrDefault()}' is back");
            }
            finally
            {
                Close(store, mayFail: true);
            }
        }

        private static void Close(Store store, bool mayFail)
        {
            try
            {
                store.DisposeAsync().AsTask().GetAwaiter().GetResult();
            }
            catch (StoreException) when (mayFail)
            {
                // Its disk is gone, or what was deleted stopped it.
            }
        }

        private void AddPartitions(Store store, int count)
        {
            for (int i = 0; i < count; i++)
            {
                byte[] from = i == 0 ? [] : [(byte)('a' + i)];
                byte[] to = i == count - 1 ? [] : [(byte)('b' + i)];
                EngineKind engine = Engines[_random.Next(2)];
                Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(from, to), engine).Status);
                _text.Append($" {engine};");
            }
        }

        /// <summary>In turns, each of which writes to some of the partitions.</summary>
        private void Write(Store store, int partitions)
        {
            for (int turns = _random.Next(1, 5); turns > 0; turns--)
            {
                int some = _random.Next(1, 1 << partitions);
                int writes = _random.Next(3) == 0 ? _random.Next(1, 6) : _random.Next(1, 200);
                _text.Append($" {writes} to {some:b};");
                for (int i = 0; i < writes; i++)
                {
                    int partition = _random.Next(partitions);
                    if ((some >> partition & 1) != 0)
                    {
                        WriteOne(store, $"{(char)('a' + partition)}{_random.Next(60):D4}");
                    }
                }

                if (_random.Next(3) == 0)
                {
                    SpinWait.SpinUntil(static () => false, 15);
                }
            }
        }

        private void WriteOne(Store store, string key)
        {
            if (_random.Next(6) == 0)
            {
                Assert.Contains(store.Remove(Encoding.ASCII.GetBytes(key)).Status, new[] { Status.Ok, Status.NotFound });
                _expected.Remove(key);
                return;
            }

            string value = $"{_random.Next()}:{new string('v', _random.Next(90))}";
            Assert.Equal(Status.Ok, store.Upsert(Encoding.ASCII.GetBytes(key), Encoding.ASCII.GetBytes(value)).Status);
            _expected[key] = value;
        }
    }
}
