using System.Text;
using KeyVa.Indexes;
using KeyVa.Io;
using KeyVa.Tests.Stores;
using Xunit;

namespace KeyVa.Tests.Indexes;

/// <summary>
/// Random writes over several partitions and both engines, with indexes that come and go, files that are flushed and
/// compacted, and the store killed or without power in between: every index is what its records say.
/// </summary>
public sealed class IndexModelTests
{
    private const int Keys = 120;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task EveryIndexIsWhatItsRecordsSay(int partitions)
    {
        int seed = Environment.TickCount + partitions;
        var random = new Random(seed);
        var files = new MemoryFileSystem();
        var model = new Dictionary<string, string>();
        Store store = Open(files, partitions);
        foreach (IndexDefinition definition in IndexOracle.All)
        {
            Assert.True((await store.Indexes.CreateAsync(definition)).IsOk);
        }

        for (int round = 0; round < 40; round++)
        {
            string context = $"seed {seed}, round {round}";
            for (int i = 0; i < 40; i++)
            {
                Step(store, random, model);
            }

            if (random.Next(4) == 0)
            {
                await ChangeIndexes(store, random);
            }

            if (random.Next(6) == 0)
            {
                await store.CompactAsync(KeyRange.All);
            }

            if (random.Next(4) == 0)
            {
                files = random.Next(3) switch { 0 => await Closed(store, files), 1 => files.Kill(), _ => files.AfterPowerLoss(random.Next()) };
                store = Open(files, partitions);
            }

            await IndexOracle.Check(store, context);
            CheckRecords(store, model, context);
            CheckQueries(store, random, context);
        }

        await store.DisposeAsync();
    }

    /// <summary>Every file operation of a run with a filling, and a dropping, in the middle may be the last one before the power fails.</summary>
    [Theory]
    [InlineData(1, Durability.Always)]
    [InlineData(2, Durability.Always)]
    [InlineData(1, Durability.Os)]
    [InlineData(2, Durability.Os)]
    public async Task APowerLossAtAnyFileOperationLeavesEveryIndexWhole(int partitions, Durability durability)
    {
        int seed = Environment.TickCount + partitions;
        var random = new Random(seed);
        var files = new MemoryFileSystem();
        var left = new List<MemoryFileSystem>();
        await using (Store store = Open(files, partitions, durability))
        {
            // From the beginning on, or its values would be taken twice.
            Assert.True((await store.Indexes.CreateAsync(IndexOracle.Unique)).IsOk);
            for (int i = 0; i < 400; i++)
            {
                Step(store, random, []);
            }

            int operation = 0;
            files.Faults.Before = (_, _) =>
            {
                lock (left)
                {
                    // All of them would take long; which ones, the seed decides.
                    if ((operation++ * 7919 + seed) % 5 == 0)
                    {
                        left.Add(files.AfterPowerLoss(operation + seed));
                    }
                }
            };
            foreach (IndexDefinition definition in IndexOracle.All)
            {
                Assert.True((await store.Indexes.CreateAsync(definition)).IsOk);
                for (int i = 0; i < 20; i++)
                {
                    Step(store, random, []);
                }
            }

            await store.Indexes.WaitAsync("unique");
            await store.CompactAsync(KeyRange.All);
            for (int i = 0; i < 30; i++)
            {
                Step(store, random, []);
            }

            Assert.True((await store.Indexes.DropAsync("tags")).IsOk);
            for (int i = 0; i < 10; i++)
            {
                Step(store, random, []);
            }

            await IndexSettled.Dropped(store);
            files.Faults.Before = null;
        }

        Assert.True(left.Count > 20, $"{left.Count} operations");
        for (int i = 0; i < left.Count; i++)
        {
            await using Store store = Open(left[i], partitions, durability);
            await IndexOracle.Check(store, $"seed {seed}, image {i}");
            for (int step = 0; step < 5; step++)
            {
                Step(store, random, []);
            }

            await IndexOracle.Check(store, $"seed {seed}, image {i}, later");
        }
    }

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task WritesGoOnWhileAnIndexIsFilled(EngineKind engine)
    {
        var fixture = new StoreFixture(new StoreOptions { Engine = engine, Durability = Durability.Os });
        await using Store store = fixture.Open();
        for (int i = 0; i < 5000; i++)
        {
            StoreFixture.Set(store, $"k{i}", $"{{\"c\":{i % 10},\"n\":{{\"v\":{i}}},\"t\":[{i % 3},{i % 5}]}}");
        }

        using var stop = new CancellationTokenSource();
        Thread[] writers = [.. Enumerable.Range(0, 3).Select(thread => new Thread(() =>
        {
            var random = new Random(thread);
            while (!stop.IsCancellationRequested)
            {
                string key = $"k{random.Next(6000)}";
                if (random.Next(4) == 0)
                {
                    store.Remove(StoreFixture.Bytes(key));
                }
                else
                {
                    StoreFixture.Set(store, key, $"{{\"c\":{random.Next(10)},\"n\":{{\"v\":{random.Next(100)}}},\"t\":[{random.Next(3)}]}}");
                }
            }
        }))];
        Array.ForEach(writers, static writer => writer.Start());
        foreach (IndexDefinition definition in (IndexDefinition[])[IndexOracle.City, IndexOracle.CityNumber, IndexOracle.Tags])
        {
            Assert.True((await store.Indexes.CreateAsync(definition)).IsOk);
            Assert.True((await store.Indexes.WaitAsync(definition.Name)).IsOk);

            // What a query gives fits the query, though writers go on.
            using IndexCursor cursor = store.Query(new IndexQuery { Index = "city", Equal = [3] });
            while (cursor.MoveNext())
            {
                Assert.Contains("\"c\":3,", Encoding.UTF8.GetString(cursor.Value), StringComparison.Ordinal);
            }
        }

        await stop.CancelAsync();
        Array.ForEach(writers, static writer => writer.Join());
        await IndexOracle.Check(store, "at the end");
    }

    private static async Task<MemoryFileSystem> Closed(Store store, MemoryFileSystem files)
    {
        await store.DisposeAsync();
        return files;
    }

    private static Store Open(MemoryFileSystem files, int partitions, Durability durability = Durability.Always)
    {
        var environment = new StoreEnvironment
        {
            FileSystem = files,
            Engine = static options => options with { MemtableBytes = 8 << 10, Level0Tables = 2, Level1Bytes = 16 << 10, TableBytes = 8 << 10, CheckpointAfterBytes = 8 << 10 },
        };
        Store store = Store.Open("/data", new StoreOptions { CreateDefaultPartition = false, JournalSegmentBytes = 64 << 10, BlockCacheBytes = 1 << 20, Durability = durability }, environment);
        byte[][] bounds = partitions switch { 1 => [[], []], 2 => [[], "m"u8.ToArray(), []], _ => [[], "i"u8.ToArray(), "q"u8.ToArray(), []] };
        if (store.Partitions.List().Count == 0)
        {
            for (int i = 0; i + 1 < bounds.Length; i++)
            {
                Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(bounds[i], bounds[i + 1]), i % 2 == 0 ? EngineKind.Lsm : EngineKind.Memory).Status);
            }
        }

        return store;
    }

    private static async Task ChangeIndexes(Store store, Random random)
    {
        IndexDefinition definition = IndexOracle.All[random.Next(IndexOracle.All.Length)];
        if (random.Next(2) == 0)
        {
            await store.Indexes.DropAsync(definition.Name);
        }
        else
        {
            IndexResult result = await store.Indexes.CreateAsync(definition);
            Assert.True(result.IsOk, result.Detail);
        }

        // The unique one may be given up: without it, values were taken twice.
        await store.Indexes.WaitAsync(definition.Name);
        await IndexSettled.Dropped(store);
    }

    private static void Step(Store store, Random random, Dictionary<string, string> model)
    {
        switch (random.Next(12))
        {
            case 0:
                byte[] removed = Key(random);
                store.Remove(removed, blind: random.Next(2) == 0);
                model.Remove(Text(removed));
                break;
            case 1:
                byte[] a = Key(random);
                byte[] b = Key(random);
                (byte[] from, byte[] to) = a.AsSpan().SequenceCompareTo(b) < 0 ? (a, b) : (b, a);
                if (store.RemoveRange(from, to).IsOk)
                {
                    RemoveRange(model, from, to);
                }

                break;
            case 2 or 3:
                Batch(store, random, model);
                break;
            default:
                byte[] key = Key(random);
                byte[] value = Value(random);
                WriteResult result = store.Upsert(key, value);
                Assert.True(result.Status is Status.Ok or Status.NotUnique, result.Detail);
                if (result.IsOk)
                {
                    model[Text(key)] = Text(value);
                }

                break;
        }
    }

    private static void Batch(Store store, Random random, Dictionary<string, string> model)
    {
        using var batch = new WriteBatch();
        var after = new Dictionary<string, string>(model);
        if (random.Next(4) == 0)
        {
            byte[] first = Key(random.Next(Keys - 5));
            batch.RemoveRange(first, [.. first, 0xff]);
            batch.RemoveRange(first, [.. first, 0xff, 0xff]);
            RemoveRange(after, first, [.. first, 0xff, 0xff]);
        }

        foreach (int number in Enumerable.Range(0, random.Next(1, 6)).Select(_ => random.Next(Keys)).Distinct())
        {
            byte[] key = Key(number);
            if (random.Next(4) == 0)
            {
                batch.Remove(key);
                after.Remove(Text(key));
            }
            else
            {
                byte[] value = Value(random);
                batch.Put(key, value);
                after[Text(key)] = Text(value);
            }
        }

        Status status = store.Write(batch).Status;
        Assert.True(status is Status.Ok or Status.NotUnique or Status.NotFound, status.ToString());
        if (status == Status.Ok)
        {
            model.Clear();
            foreach ((string key, string value) in after)
            {
                model.Add(key, value);
            }
        }
    }

    private static void RemoveRange(Dictionary<string, string> model, byte[] from, byte[] to)
    {
        foreach (string key in model.Keys.Where(key => Encoding.UTF8.GetBytes(key).AsSpan().SequenceCompareTo(from) >= 0 && Encoding.UTF8.GetBytes(key).AsSpan().SequenceCompareTo(to) < 0).ToList())
        {
            model.Remove(key);
        }
    }

    /// <summary>A replay comes to what was acknowledged, and what was refused stays refused.</summary>
    private static void CheckRecords(Store store, Dictionary<string, string> model, string context)
    {
        int count = 0;
        using ScanCursor cursor = store.Scan(new ScanOptions { Unordered = true });
        while (cursor.MoveNext())
        {
            count++;
            string key = Text(cursor.Key);
            Assert.True(model.TryGetValue(key, out string? value) && value == Text(cursor.Value), $"{context}: '{key}' is {Text(cursor.Value)} instead of {value ?? "missing"}");
        }

        Assert.True(count == model.Count, $"{context}: {count} records instead of {model.Count}");
    }

    private static string Text(ReadOnlySpan<byte> bytes) => Encoding.UTF8.GetString(bytes);

    private static void CheckQueries(Store store, Random random, string context)
    {
        var query = new IndexQuery { Index = "city", From = [random.Next(4)], To = [random.Next(3, 8)], FromExclusive = random.Next(2) == 0, ToInclusive = random.Next(2) == 0 };
        using (IndexCursor cursor = store.Query(query))
        {
            if (cursor.Status == Status.NotFound)
            {
                return;
            }
        }

        List<string> all = IndexOracle.Entries(store, new IndexQuery { Index = "city" });
        List<string> expected = [.. all.Where(entry =>
        {
            string text = entry[..entry.IndexOf('|', StringComparison.Ordinal)];
            if (!IndexValue.TryParseNumber(text, out IndexValue value))
            {
                return false;
            }

            int from = value.CompareTo(query.From[0]);
            int to = value.CompareTo(query.To[0]);
            return (query.FromExclusive ? from > 0 : from >= 0) && (query.ToInclusive ? to <= 0 : to < 0);
        })];
        Assert.True(expected.SequenceEqual(IndexOracle.Entries(store, query)), context);
        expected.Reverse();
        Assert.True(expected.SequenceEqual(IndexOracle.Entries(store, query with { Reverse = true, KeysOnly = true })), context);

        // Page by page.
        var pages = new List<string>();
        byte[] after = [];
        while (true)
        {
            using IndexCursor cursor = store.Query(query with { Reverse = true, Limit = 3, After = after });
            int count = 0;
            while (cursor.MoveNext())
            {
                pages.Add($"{string.Join(", ", cursor.Fields)}|{Encoding.UTF8.GetString(cursor.Key)}");
                after = cursor.ResumeToken.ToArray();
                count++;
            }

            if (count < 3)
            {
                break;
            }
        }

        Assert.True(expected.SequenceEqual(pages), context);
    }

    private static byte[] Key(Random random) => Key(random.Next(Keys));

    private static byte[] Key(int i) => Encoding.UTF8.GetBytes($"{(char)('a' + (i % 26))}{i}");

    private static byte[] Value(Random random)
    {
        if (random.Next(15) == 0)
        {
            return "not json"u8.ToArray();
        }

        var parts = new List<string>();
        if (random.Next(8) != 0)
        {
            parts.Add(random.Next(5) switch { 0 => "\"c\":null", 1 => $"\"c\":\"town {random.Next(5)}\"", _ => $"\"c\":{random.Next(8)}" });
        }

        if (random.Next(4) != 0)
        {
            parts.Add($"\"n\":{{\"v\":{random.Next(-5, 5)}.{random.Next(1, 9)}}}");
        }

        if (random.Next(3) != 0)
        {
            parts.Add($"\"t\":[{string.Join(',', Enumerable.Range(0, random.Next(4)).Select(_ => $"\"{random.Next(4)}\""))}]");
        }

        if (random.Next(3) != 0)
        {
            parts.Add($"\"u\":{random.Next(200)}");
        }

        return Encoding.UTF8.GetBytes($"{{{string.Join(',', parts)}}}");
    }
}
