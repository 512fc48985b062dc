using System.Globalization;
using System.Text;
using KeyVa.Cli;
using KeyVa.Cli.Transfer;
using Xunit;

namespace KeyVa.Tests.Cli;

public sealed class ImporterTests
{
    [Fact]
    public async Task WhateverBreaksAnImportItGoesOnWhereItStopped()
    {
        for (int seed = 0; seed < 20; seed++)
        {
            Random random = new(seed);
            TransferFormat format = (TransferFormat)(seed % 2);
            List<(byte[] Key, byte[] Value, long Expires)> records = TransferData.Records(random, 2000);
            byte[] file = TransferData.Write(records, format);
            FakeStore store = new(seed) { BusyEvery = random.Next(2) * 5 };
            ImportPosition done = new(0, 1, 0);
            int parts = 0;
            bool complete = false;
            while (!complete)
            {
                parts++;
                store.FailAtWrite = parts < 5 ? store.Writes + random.Next(1, 8) : 0;
                (complete, done) = await ImportAsync(store, file, format, done);
                AssertHolds(store, records, done, seed);
            }

            Assert.Equal(records.Count, done.Records);
            Dictionary<string, (byte[], long)> expected = [];
            foreach ((byte[] key, byte[] value, long expires) in records)
            {
                expected[Convert.ToHexString(key)] = (value, expires);
            }

            Assert.True(expected.Count == store.Records.Count, $"seed {seed}");
            foreach ((byte[] key, (byte[] value, long expires)) in store.Records)
            {
                (byte[] wanted, long wantedExpiry) = expected[Convert.ToHexString(key)];
                Assert.True(wanted.AsSpan().SequenceEqual(value) && wantedExpiry == expires, $"seed {seed}: the last record of a key wins");
            }
        }
    }

    [Fact]
    public async Task SeveralBatchesAreOnTheirWayAtOnce()
    {
        FakeStore store = new() { WaitForSecond = true };
        StringBuilder file = new();
        for (int i = 0; i < 60_000; i++)
        {
            file.Append(CultureInfo.InvariantCulture, $"{{\"key\":\"{i}\",\"value\":\"some value {i}\"}}\n");
        }

        (bool complete, _) = await ImportAsync(store, Encoding.UTF8.GetBytes(file.ToString()), TransferFormat.JsonLines, new ImportPosition(0, 1, 0));
        Assert.True(complete);
        Assert.Equal(60_000, store.Records.Count);
        Assert.InRange(store.MostInFlight, 2, Importer.Lanes);
    }

    [Fact]
    public async Task ARefusedRecordIsNamedByItsLine()
    {
        FakeStore store = new() { MaxValueBytes = 100 };
        CommandException refused = await Assert.ThrowsAsync<CommandException>(() => ImportAsync(store, WithTwoBigOnes(), skipErrors: false));
        Assert.Equal(ExitCode.Refused, refused.Code);
        Assert.Matches("^input.jsonl:(501|1201): a value is longer than 100 bytes$", refused.Message);

        store.Records.Clear();
        List<string> skipped = [];
        ImportTotals totals = await ImportAsync(store, WithTwoBigOnes(), skipErrors: true, skipped);
        Assert.Equal(["input.jsonl:1201: a value is longer than 100 bytes", "input.jsonl:501: a value is longer than 100 bytes"], skipped.Order(StringComparer.Ordinal));
        Assert.Equal((2000, 2, 2, 1998), (totals.Records, totals.Skipped, totals.Refused, store.Records.Count));
    }

    [Fact]
    public async Task WhatStandsBeforeABadLineIsInTheStore()
    {
        FakeStore store = new();
        byte[] file = Encoding.UTF8.GetBytes("{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"value\":\"2\"}\nnonsense\n{\"key\":\"c\",\"value\":\"3\"}\n");
        CommandException bad = await Assert.ThrowsAsync<CommandException>(() => ImportAsync(store, file, skipErrors: false));
        Assert.Equal(ExitCode.Usage, bad.Code);
        Assert.StartsWith("input.jsonl:3: not a JSON object", bad.Message, StringComparison.Ordinal);
        Assert.Equal(2, store.Records.Count);
        ImportTotals totals = await ImportAsync(store, file, skipErrors: true);
        Assert.Equal((3, 1, 0), (totals.Records, totals.Skipped, totals.Refused));
        Assert.Equal(3, store.Records.Count);
    }

    [Fact]
    public void TheStateIsReplacedAsAWholeAndBelongsToOneInput()
    {
        string directory = Directory.CreateTempSubdirectory("keyva-test").FullName;
        string input = Path.Combine(directory, "input.jsonl");
        File.WriteAllText(input, "{}\n");
        string path = ImportState.PathFor(input);
        ImportState begin = ImportState.Begin(new FileInfo(input), "server:1", "format jsonl");
        Assert.Equal(begin, ImportState.Load(path, begin));
        ImportState saved = begin with { Done = new ImportPosition(100, 7, 6), Skipped = 2 };
        saved.Save(path);
        saved.Save(path);
        Assert.Equal(saved, ImportState.Load(path, begin));
        Assert.Equal(["input.jsonl", "input.jsonl.keyva-import"], Directory.GetFiles(directory).Select(Path.GetFileName).Order());

        Assert.Contains("to server:1 with", Assert.Throws<CommandException>(() => ImportState.Load(path, begin with { Server = "other" })).Message, StringComparison.Ordinal);
        File.WriteAllText(input, "{}\n{}\n");
        Assert.Contains("has changed", Assert.Throws<CommandException>(() => ImportState.Load(path, ImportState.Begin(new FileInfo(input), "server:1", "format jsonl"))).Message, StringComparison.Ordinal);
        File.WriteAllText(path, "{\"keyva-import\":1,");
        Assert.Contains("is no state of an import", Assert.Throws<CommandException>(() => ImportState.Load(path, begin)).Message, StringComparison.Ordinal);
        Directory.Delete(directory, recursive: true);
    }

    private static async Task<(bool Complete, ImportPosition Done)> ImportAsync(FakeStore store, byte[] file, TransferFormat format, ImportPosition from)
    {
        using RecordReader reader = RecordReader.Open(new MemoryStream(file), format, default, from.Offset, from.Line);
        using Importer importer = new(store, reader, Options(false, []), from.Records);
        try
        {
            await importer.RunAsync(CancellationToken.None);
            return (true, importer.Totals.Done);
        }
        catch (StoreException)
        {
            return (false, importer.Totals.Done);
        }
    }

    private static async Task<ImportTotals> ImportAsync(FakeStore store, byte[] file, bool skipErrors, List<string>? skipped = null)
    {
        using RecordReader reader = RecordReader.Open(new MemoryStream(file), TransferFormat.JsonLines, default);
        using Importer importer = new(store, reader, Options(skipErrors, skipped ?? []));
        await importer.RunAsync(CancellationToken.None);
        return importer.Totals;
    }

    private static ImportOptions Options(bool skipErrors, List<string> skipped) => new()
    {
        Name = "input.jsonl",
        SkipErrors = skipErrors,
        OnSkipped = line =>
        {
            lock (skipped)
            {
                skipped.Add(line);
            }
        },
        OnProgress = _ => { },
    };

    /// <summary>Everything before the place that the import says is done is in the store, or a later record of its key.</summary>
    private static void AssertHolds(FakeStore store, List<(byte[] Key, byte[] Value, long Expires)> records, ImportPosition done, int seed)
    {
        Dictionary<string, HashSet<string>> later = [];
        for (int i = records.Count - 1; i >= 0; i--)
        {
            string key = Convert.ToHexString(records[i].Key);
            if (!later.TryGetValue(key, out HashSet<string>? values))
            {
                values = [];
                later.Add(key, values);
            }

            values.Add(Convert.ToHexString(records[i].Value));
            if (i < done.Records)
            {
                Assert.True(
                    store.Records.TryGetValue(records[i].Key, out (byte[] Value, long) held) && values.Contains(Convert.ToHexString(held.Value)),
                    $"seed {seed}: record {i} of {done.Records} done is not in the store");
            }
        }
    }

    private static byte[] WithTwoBigOnes()
    {
        StringBuilder file = new();
        for (int i = 0; i < 2000; i++)
        {
            string value = i is 500 or 1200 ? new string('x', 200) : "small";
            file.Append(CultureInfo.InvariantCulture, $"{{\"key\":\"{i}\",\"value\":\"{value}\"}}\n");
        }

        return Encoding.UTF8.GetBytes(file.ToString());
    }
}
