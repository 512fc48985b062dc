using System.Diagnostics;
using System.Globalization;
using System.Text;
using KeyVa.Indexes;

namespace KeyVa.Bench;

/// <summary>
/// What a secondary index adds to a put, against a get, a delete and a put of a store without one; rounds take turns.
/// </summary>
/// <remarks>
/// An index reads the record as it was, removes its entry and writes another: so much it may cost, and no more. The values are JSON of the
/// configured length, of which the index is on one field of twelve characters.
/// </remarks>
internal sealed class IndexBench(BenchOptions options)
{
    private const double AskedRatio = 1.0;
    private const int SyncedShare = 50;
    private const int LeastValueBytes = 40;
    private const string IndexName = "by-field";

    /// <summary>The measured section, and whether the ratios were kept.</summary>
    public (Section Section, bool Passed) Run()
    {
        Section section = new("Index", askedRatio: 0);
        long records = Math.Min(options.Records, 500_000);
        section.Conditions.Add(("records", string.Create(CultureInfo.InvariantCulture,
            $"{records:N0} JSON values of {ValueBytes} bytes in each of two stores, one of them with an index on one field; one thread, random keys")));
        section.Conditions.Add(("changed", "each put gives the field another value: the index loses an entry and gets another"));
        section.Conditions.Add(("kept", "each put leaves the field as it was: the index stays"));
        section.Conditions.Add(("synced", string.Create(CultureInfo.InvariantCulture, $"1/{SyncedShare} as many, durability always")));
        Table table = new(
            "Cost of an index, µs per operation",
            ["workload", "get", "delete", "put", "indexed put", "added", "get + delete + put", "ratio", "asked", "kept"]);
        bool passed = true;
        foreach ((string name, bool changes, KeyVa.Durability durability) in new[]
        {
            ("changed", true, KeyVa.Durability.Os), ("kept", false, KeyVa.Durability.Os), ("changed, synced", true, KeyVa.Durability.Always),
        })
        {
            passed &= Measure(table, name, changes, durability, records).GetAwaiter().GetResult();
        }

        section.Tables.Add(table);
        section.Note($"asked for: added / (get + delete + put) of at most {AskedRatio.ToString("F1", CultureInfo.InvariantCulture)}, where added is the indexed put without the put");
        return (section, passed);
    }

    private int ValueBytes => Math.Max(options.ValueBytes, LeastValueBytes);

    private async Task<bool> Measure(Table table, string name, bool changes, KeyVa.Durability durability, long records)
    {
        using DataFolder plainFolder = new(options.Data, "index-without");
        using DataFolder indexedFolder = new(options.Data, "index-with");
        await using Store plain = Open(plainFolder, durability);
        await using Store indexed = Open(indexedFolder, durability);
        Check((await indexed.Indexes.CreateAsync(new IndexDefinition { Name = IndexName, Fields = ["field"] })).Status);
        Check((await indexed.Indexes.WaitAsync(IndexName)).Status);
        foreach (Store store in new[] { plain, indexed })
        {
            Fill(store, records);
        }

        long operations = durability == KeyVa.Durability.Always ? records / SyncedShare : records;
        Rounds gets = new(), deletes = new(), puts = new(), indexedPuts = new();
        for (int round = -1; round < options.Rounds; round++)
        {
            // The first one warms up.
            bool counts = round >= 0;
            puts.Add(counts, Put(plain, records, operations, changes, round));
            indexedPuts.Add(counts, Put(indexed, records, operations, changes, round));
            gets.Add(counts, Get(plain, records, operations, round));
            deletes.Add(counts, Delete(plain, records, operations, round));
        }

        double added = indexedPuts.Median - puts.Median;
        double bar = gets.Median + deletes.Median + puts.Median;
        bool kept = added / bar <= AskedRatio;
        table.Add(name, gets.Median, deletes.Median, puts.Median, indexedPuts.Median, added, bar, added / bar, AskedRatio, kept ? "yes" : "NO");
        return kept;
    }

    private Store Open(DataFolder folder, KeyVa.Durability durability) => Store.Open(folder.Path, new StoreOptions
    {
        Durability = durability,
        BlockCacheBytes = options.BlockCacheBytes,
        MemtableBytes = options.MemtableBytes,
    });

    private void Fill(Store store, long records)
    {
        const int BatchRecords = 1000;
        byte[] key = Keys.NewBuffer(options.KeyBytes);
        byte[] value = NewValue();
        for (long i = 0; i < records;)
        {
            using WriteBatch batch = new();
            for (int j = 0; j < BatchRecords && i < records; j++, i++)
            {
                Keys.Write(key, (ulong)i);
                SetField(value, (ulong)i);
                batch.Put(key, value);
            }

            Check(store.Write(batch).Status);
        }
    }

    private double Put(Store store, long records, long operations, bool changes, int round)
    {
        byte[] key = Keys.NewBuffer(options.KeyBytes);
        byte[] value = NewValue();
        Prng random = new(options.Seed + (ulong)(round + 2));
        long begun = Stopwatch.GetTimestamp();
        for (long i = 0; i < operations; i++)
        {
            ulong number = random.Below((uint)records);
            Keys.Write(key, number);
            SetField(value, changes ? random.Next() : number);
            Check(store.Upsert(key, value).Status);
        }

        return Stopwatch.GetElapsedTime(begun).TotalMicroseconds / operations;
    }

    private double Get(Store store, long records, long operations, int round)
    {
        byte[] key = Keys.NewBuffer(options.KeyBytes);
        Prng random = new(options.Seed + (ulong)(round + 2));
        long begun = Stopwatch.GetTimestamp();
        for (long i = 0; i < operations; i++)
        {
            Keys.Write(key, random.Below((uint)records));
            using ValueLease lease = store.Get(key);
            Check(lease.Status);
        }

        return Stopwatch.GetElapsedTime(begun).TotalMicroseconds / operations;
    }

    /// <summary>Deletes records that are there, each once in random order; they are put back outside of the time.</summary>
    private double Delete(Store store, long records, long operations, int round)
    {
        uint[] order = Keys.Shuffled(records, options.Seed + (ulong)(round + 2));
        byte[] key = Keys.NewBuffer(options.KeyBytes);
        long begun = Stopwatch.GetTimestamp();
        for (long i = 0; i < operations; i++)
        {
            Keys.Write(key, order[i]);
            Check(store.Remove(key).Status);
        }

        double each = Stopwatch.GetElapsedTime(begun).TotalMicroseconds / operations;
        Fill(store, records);
        return each;
    }

    private byte[] NewValue() => Encoding.UTF8.GetBytes($"{{\"field\":\"000000000000\",\"pad\":\"{new string('x', ValueBytes - LeastValueBytes + 5)}\"}}");

    // Behind {"field":" stand twelve hexadecimal digits.
    private static void SetField(byte[] value, ulong number) => (Keys.Mixed(number) >> 16).TryFormat(value.AsSpan(10, 12), out _, "x12", CultureInfo.InvariantCulture);

    private static void Check(Status status)
    {
        if (status != Status.Ok)
        {
            throw new InvalidOperationException($"an operation ended with {status}");
        }
    }

    private sealed class Rounds
    {
        private readonly List<double> _rounds = [];

        public double Median => _rounds.Order().ElementAt((_rounds.Count - 1) / 2);

        public void Add(bool counts, double round)
        {
            if (counts)
            {
                _rounds.Add(round);
            }
        }
    }
}
