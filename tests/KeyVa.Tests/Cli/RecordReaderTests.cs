using System.Text;
using KeyVa.Cli;
using KeyVa.Cli.Transfer;
using Xunit;

namespace KeyVa.Tests.Cli;

public sealed class RecordReaderTests
{
    [Theory]
    [InlineData("JsonLines")]
    [InlineData("Csv")]
    public void AnyBytesComeBackFromBothFormats(string name)
    {
        TransferFormat format = Enum.Parse<TransferFormat>(name);
        for (int seed = 0; seed < 150; seed++)
        {
            Random random = new(seed);
            List<(byte[] Key, byte[] Value, long Expires)> records = TransferData.Records(random, random.Next(40));
            byte[] file = TransferData.Write(records, format);
            using RecordReader reader = RecordReader.Open(new TransferData.Trickle(file, random), format, default);
            foreach ((byte[] key, byte[] value, long expires) in records)
            {
                Assert.True(reader.Read() == ReadOutcome.Record, $"seed {seed}, line {reader.Line}: {reader.Problem}");
                Assert.True(key.AsSpan().SequenceEqual(reader.Key.Span), $"seed {seed}, line {reader.Line}: another key");
                Assert.True(value.AsSpan().SequenceEqual(reader.Value.Span), $"seed {seed}, line {reader.Line}: another value");
                Assert.Equal(expires, reader.ExpiresAt);
                Assert.False(reader.IsTorn);
            }

            Assert.Equal(ReadOutcome.End, reader.Read());
        }
    }

    [Theory]
    [InlineData("JsonLines")]
    [InlineData("Csv")]
    public void ReadingGoesOnAtAnyRecord(string name)
    {
        TransferFormat format = Enum.Parse<TransferFormat>(name);
        byte[] file = TransferData.Write(TransferData.Records(new Random(7), 60), format);
        using RecordReader whole = RecordReader.Open(new MemoryStream(file), format, default);
        List<(long Offset, long Line, string Key)> places = [];
        while (whole.Read() == ReadOutcome.Record)
        {
            places.Add((whole.RecordOffset, whole.Line, Convert.ToHexString(whole.Key.Span)));
        }

        for (int i = 0; i < places.Count; i++)
        {
            using RecordReader part = RecordReader.Open(new MemoryStream(file), format, default, places[i].Offset, places[i].Line);
            for (int j = i; j < places.Count; j++)
            {
                Assert.Equal(ReadOutcome.Record, part.Read());
                Assert.Equal(places[j], (part.RecordOffset, part.Line, Convert.ToHexString(part.Key.Span)));
            }

            Assert.Equal(ReadOutcome.End, part.Read());
        }
    }

    [Theory]
    [InlineData("JsonLines")]
    [InlineData("Csv")]
    public void ATornEndIsToldApart(string name)
    {
        TransferFormat format = Enum.Parse<TransferFormat>(name);
        byte[] file = TransferData.Write([("k"u8.ToArray(), "line 1\nline, \"2\""u8.ToArray(), 12345)], format);
        int header = format == TransferFormat.Csv ? CsvWriter.Header.Length : 0;
        for (int length = header + 1; length < file.Length; length++)
        {
            using RecordReader reader = RecordReader.Open(new MemoryStream(file, 0, length), format, default);
            _ = reader.Read();
            Assert.True(reader.IsTorn, $"{length} of {file.Length} bytes");
        }
    }

    [Theory]
    [InlineData("{\"key\":\"b\"", "it is not closed")]
    [InlineData("{\"key\":\"b\"}", "no \"value\"")]
    [InlineData("{\"value\":\"b\"}", "no \"key\"")]
    [InlineData("{\"key\":\"\",\"value\":\"b\"}", "the key is empty")]
    [InlineData("{\"key\":\"b\",\"value\":\"b\"} x", "not a JSON object")]
    [InlineData("[1]", "not a JSON object")]
    [InlineData("garbage", "not a JSON object")]
    [InlineData("{\"key64\":\"*\",\"value\":\"b\"}", "\"key64\" is not base64")]
    [InlineData("{\"key\":\"b\",\"value64\":\"AAA\"}", "\"value64\" is not base64")]
    [InlineData("{\"key\":\"b\",\"value\":\"\\ud800\"}", "surrogate")]
    [InlineData("{\"key\":\"b\",\"value\":\"b\",\"expires\":\"x\"}", "\"expires\" is not a time")]
    public void ABadJsonLineIsNamedAndTheNextOneRead(string line, string problem)
    {
        using RecordReader reader = TransferData.Open($"\n{{\"key\":\"a\",\"value\":\"1\"}}\r\n{line}\n\n{{\"key\":\"c\",\"value\":\"3\"}}", TransferFormat.JsonLines);
        Assert.Equal(ReadOutcome.Record, reader.Read());
        Assert.Equal(2, reader.Line);
        Assert.Equal(ReadOutcome.Bad, reader.Read());
        Assert.Equal(3, reader.Line);
        Assert.Contains(problem, reader.Problem, StringComparison.Ordinal);
        Assert.Equal(ReadOutcome.Record, reader.Read());
        Assert.Equal((5, "c", "3"), (reader.Line, Text(reader.Key), Text(reader.Value)));
        Assert.Equal(ReadOutcome.End, reader.Read());
    }

    [Theory]
    [InlineData("a,1,x", "3 fields, the header names 2")]
    [InlineData("a", "1 fields, the header names 2")]
    [InlineData(",1", "the key is empty")]
    [InlineData("\"a\"b,1", "behind its closing quote")]
    [InlineData("a\"b\",1", "a quote in its middle")]
    public void ABadCsvLineIsNamedAndTheNextOneRead(string line, string problem)
    {
        using RecordReader reader = TransferData.Open($"key,value\n\"k\n1\",\"a\r\n\"\"b\"\"\"\n{line}\nc,\n", TransferFormat.Csv);
        Assert.Equal(ReadOutcome.Record, reader.Read());
        Assert.Equal((2, "k\n1", "a\r\n\"b\""), (reader.Line, Text(reader.Key), Text(reader.Value)));
        Assert.Equal(ReadOutcome.Bad, reader.Read());
        Assert.Equal(5, reader.Line);
        Assert.Contains(problem, reader.Problem, StringComparison.Ordinal);
        Assert.Equal(ReadOutcome.Record, reader.Read());
        Assert.Equal((6, "c", ""), (reader.Line, Text(reader.Key), Text(reader.Value)));
        Assert.Equal(ReadOutcome.End, reader.Read());
    }

    [Fact]
    public void AQuoteThatIsNeverClosedCostsOneLine()
    {
        using RecordReader reader = TransferData.Open("key,value\r\na,\"1\r\nb,2\r\n", TransferFormat.Csv);
        Assert.Equal(ReadOutcome.Bad, reader.Read());
        Assert.Equal(2, reader.Line);
        Assert.Contains("never closed", reader.Problem, StringComparison.Ordinal);
        Assert.Equal(ReadOutcome.Record, reader.Read());
        Assert.Equal((3, "b", "2"), (reader.Line, Text(reader.Key), Text(reader.Value)));
    }

    [Fact]
    public void ForeignJsonHasItsKeyInAField()
    {
        const string Line = "{\"package\":\"0ad\", \"size\":7, \"depends\":[\"a\",{\"package\":\"no\"}]}";
        Assert.Equal(("0ad", Line), Only(TransferData.Open($"  {Line}  \n", TransferFormat.JsonLines, "package")));
        Assert.Equal(("7", "[\"a\",{\"package\":\"no\"}]"), Only(TransferData.Open(Line, TransferFormat.JsonLines, "size", "depends")));
        using RecordReader none = TransferData.Open(Line, TransferFormat.JsonLines, "name");
        Assert.Equal(ReadOutcome.Bad, none.Read());
        Assert.Equal("the record has no field \"name\"", none.Problem);
        using RecordReader list = TransferData.Open(Line, TransferFormat.JsonLines, "depends");
        Assert.Equal(ReadOutcome.Bad, list.Read());
        Assert.Contains("is an array", list.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void AValueThatIsNoStringIsKeptAsItsJsonText()
    {
        Assert.Equal(("k", "{\"x\": [1, 2]}"), Only(TransferData.Open("{\"value\":{\"x\": [1, 2]},\"key\":\"k\"}", TransferFormat.JsonLines)));
        Assert.Equal(("k", "null"), Only(TransferData.Open("{\"value\": null ,\"key\":\"k\"}", TransferFormat.JsonLines)));
        Assert.Equal(("k", "-1.50"), Only(TransferData.Open("{\"value\":-1.50,\"other\":{\"key\":1},\"key\":\"k\"}", TransferFormat.JsonLines)));
    }

    [Fact]
    public void ForeignCsvHasItsKeyInAColumn()
    {
        const string File = "\ufeffname,\"the, age\",\"q\"\"x\"\r\nBob,7,\"a \"\"b\"\"\"\r\n";
        Assert.Equal(("Bob", "{\"name\":\"Bob\",\"the, age\":\"7\",\"q\\\"x\":\"a \\\"b\\\"\"}"), Only(TransferData.Open(File, TransferFormat.Csv, "name")));
        Assert.Equal(("Bob", "7"), Only(TransferData.Open(File, TransferFormat.Csv, "name", "the, age")));
        CommandException wrong = Assert.Throws<CommandException>(() => TransferData.Open(File, TransferFormat.Csv));
        Assert.Equal(ExitCode.Usage, wrong.Code);
        Assert.Contains("names no column \"key\"", wrong.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void RecordsLargerThanAnyBufferAreRead()
    {
        byte[] value = new byte[9 << 20];
        new Random(3).NextBytes(value);
        foreach (TransferFormat format in Enum.GetValues<TransferFormat>())
        {
            byte[] file = TransferData.Write([("a"u8.ToArray(), [1], 0), ("big"u8.ToArray(), value, 0), ("z"u8.ToArray(), [2], 0)], format);
            using RecordReader reader = RecordReader.Open(new MemoryStream(file), format, default);
            Assert.Equal(ReadOutcome.Record, reader.Read());
            Assert.Equal(ReadOutcome.Record, reader.Read());
            Assert.True(value.AsSpan().SequenceEqual(reader.Value.Span));
            Assert.Equal(ReadOutcome.Record, reader.Read());
            Assert.Equal("z", Text(reader.Key));
            Assert.Equal(ReadOutcome.End, reader.Read());
        }
    }

    [Fact]
    public void ReadingAllocatesNothingForEachRecord()
    {
        byte[] file = TransferData.Write([.. Enumerable.Range(0, 20_000).Select(i => (Encoding.UTF8.GetBytes($"key {i}"), "a \"value\" \\ ü"u8.ToArray(), 0L))], TransferFormat.JsonLines);
        foreach (byte[] input in (byte[][])[file, [.. "package,text\n"u8, .. file[..0], .. Encoding.UTF8.GetBytes(string.Concat(Enumerable.Range(0, 20_000).Select(i => $"p{i},\"a \"\"b\"\" c\"\n")))]])
        {
            bool csv = input[0] == (byte)'p';
            using RecordReader reader = RecordReader.Open(
                new MemoryStream(input), csv ? TransferFormat.Csv : TransferFormat.JsonLines, csv ? new FieldNames("package", null) : default);
            for (int i = 0; i < 1000; i++)
            {
                _ = reader.Read();
            }

            long before = GC.GetAllocatedBytesForCurrentThread();
            int records = 0;
            while (reader.Read() == ReadOutcome.Record)
            {
                records++;
            }

            long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            Assert.Equal(19_000, records);
            Assert.True(allocated < 100_000, $"{allocated} bytes for {records} records");
        }
    }

    private static (string Key, string Value) Only(RecordReader reader)
    {
        using (reader)
        {
            Assert.True(reader.Read() == ReadOutcome.Record, reader.Problem);
            (string, string) record = (Text(reader.Key), Text(reader.Value));
            Assert.Equal(ReadOutcome.End, reader.Read());
            return record;
        }
    }

    private static string Text(ReadOnlyMemory<byte> bytes) => Encoding.UTF8.GetString(bytes.Span);
}
