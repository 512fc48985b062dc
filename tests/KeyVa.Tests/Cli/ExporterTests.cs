using KeyVa.Cli;
using KeyVa.Cli.Transfer;
using Xunit;

namespace KeyVa.Tests.Cli;

public sealed class ExporterTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("keyva-test").FullName;

    private string Target => Path.Combine(_directory, "out");

    [Theory]
    [InlineData("JsonLines")]
    [InlineData("Csv")]
    public async Task WhereverAnExportBreaksItGoesOnBehindTheLastCompleteRecord(string name)
    {
        TransferFormat format = Enum.Parse<TransferFormat>(name);
        FakeStore store = Filled(40);
        await Export(store, format, resume: false);
        byte[] whole = await File.ReadAllBytesAsync(Target);
        for (int cut = 0; cut <= whole.Length; cut += cut < 200 ? 1 : 23)
        {
            File.Delete(Target);
            await File.WriteAllBytesAsync(Exporter.PartialPath(Target), whole[..cut]);
            Exporter exporter = await Export(store, format, resume: true);
            byte[] resumed = await File.ReadAllBytesAsync(Target);
            Assert.True(whole.AsSpan().SequenceEqual(resumed), $"cut at byte {cut} of {whole.Length}");
            Assert.Equal(store.Records.Count, exporter.Records);
            Assert.False(File.Exists(Exporter.PartialPath(Target)));
        }
    }

    [Fact]
    public async Task ABrokenScanLeavesAPartialFileAndNothingUnderTheName()
    {
        FakeStore store = Filled(40);
        store.BreakScanAfter = 11;
        await Assert.ThrowsAsync<StoreException>(() => Export(store, TransferFormat.Csv, resume: false));
        Assert.False(File.Exists(Target));
        Assert.Contains("--resume", (await Assert.ThrowsAsync<CommandException>(() => Export(store, TransferFormat.Csv, resume: false))).Message, StringComparison.Ordinal);
        for (int part = 2; part <= 3; part++)
        {
            await Assert.ThrowsAsync<StoreException>(() => Export(store, TransferFormat.Csv, resume: true));
        }

        store.BreakScanAfter = 0;
        Exporter last = await Export(store, TransferFormat.Csv, resume: true);
        Assert.Equal((33, store.Records.Count), (last.RecordsBefore, last.Records));
        Assert.Contains("already there", (await Assert.ThrowsAsync<CommandException>(() => Export(store, TransferFormat.Csv, resume: true))).Message, StringComparison.Ordinal);
        using RecordReader reader = RecordReader.Open(File.OpenRead(Target), TransferFormat.Csv, default);
        foreach ((byte[] key, (byte[] value, long expires)) in store.Records)
        {
            Assert.True(reader.Read() == ReadOutcome.Record, reader.Problem);
            Assert.Equal((Convert.ToHexString(key), Convert.ToHexString(value), expires), (Convert.ToHexString(reader.Key.Span), Convert.ToHexString(reader.Value.Span), reader.ExpiresAt));
        }
    }

    [Fact]
    public async Task ALimitCountsWhatAnEarlierPartWrote()
    {
        FakeStore store = Filled(40);
        store.BreakScanAfter = 5;
        await Assert.ThrowsAsync<StoreException>(() => Export(store, TransferFormat.JsonLines, resume: false, limit: 12));
        store.BreakScanAfter = 0;
        Assert.Equal(12, (await Export(store, TransferFormat.JsonLines, resume: true, limit: 12)).Records);
        Assert.Equal(12, (await File.ReadAllLinesAsync(Target)).Length);
    }

    [Fact]
    public async Task AnotherFileIsNotContinued()
    {
        await File.WriteAllTextAsync(Exporter.PartialPath(Target), "no export\nat all\n");
        CommandException refused = await Assert.ThrowsAsync<CommandException>(() => Export(Filled(3), TransferFormat.JsonLines, resume: true));
        Assert.Contains(":1: this is no export", refused.Message, StringComparison.Ordinal);
        Assert.Equal("no export\nat all\n", await File.ReadAllTextAsync(Exporter.PartialPath(Target)));
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private static FakeStore Filled(int records)
    {
        FakeStore store = new();
        foreach ((byte[] key, byte[] value, long expires) in TransferData.Records(new Random(5), records, 60))
        {
            store.Records[key] = (value, expires);
        }

        return store;
    }

    private async Task<Exporter> Export(FakeStore store, TransferFormat format, bool resume, long limit = 0)
    {
        Exporter exporter = new(store, new ScanOptions { Limit = limit }, format, (_, _) => { });
        await exporter.RunAsync(Target, resume, replace: false, CancellationToken.None);
        return exporter;
    }
}
