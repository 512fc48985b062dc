using System.Text;
using KeyVa.Cli;
using KeyVa.Cli.Transfer;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>Input of <c>keyva import</c> is read record by record; what is none is told with its line, and the end is reached.</summary>
public sealed class ImportFuzzTests : Fuzzing
{
    private static readonly byte[][] JsonLines = Texts(
        "{\"key\": \"a\", \"value\": \"1\"}\n{\"key64\": \"AP8=\", \"value64\": \"AAEC\", \"expires\": \"2030-01-01T00:00:00Z\"}\r\n\n",
        "\uFEFF{\"key\": \"\\ud83d\\ude00\", \"value\": {\"a\": [1, 2, {\"b\": null}]}}\n{\"key\": \"x\", \"value\": \"\\ud83d\"",
        "{\"value\": \"\\u0000\", \"\\ud83d\": 1, \"key\": \"k\", \"expires\": \"\\ud83d\", \"key64\": \"\\ud83d\"}\n[]\n1\n");

    private static readonly byte[][] Csv = Texts(
        "key,value,key64,value64,expires\r\na,1,,,\r\n,,AP8=,AAEC,2030-01-01T00:00:00Z\r\n\"x\"\"y\",\"line\r\nbreak\",,,\r\n",
        "\uFEFFname,key,color\nAda,1,\"red, green\"\nBob,2,blue");

    [Fact]
    public void JsonLinesAreReadOrTold() => Run(1_500, JsonLines, static (input, random) => ReadAll(input, random, TransferFormat.JsonLines));

    [Fact]
    public void CsvIsReadOrTold() => Run(1_500, Csv, static (input, random) => ReadAll(input, random, TransferFormat.Csv));

    private static void ReadAll(byte[] input, Random random, TransferFormat format)
    {
        FieldNames fields = random.Next(3) switch { 0 => new FieldNames("key", null), 1 => new FieldNames("name", "value"), _ => default };
        using RecordReader? reader = TryOpen(input, format, fields);
        if (reader is null)
        {
            return;
        }

        long line = 0;
        // No more records than bytes, or reading does not get on.
        for (int i = 0; i <= input.Length + 1; i++)
        {
            ReadOutcome outcome = reader.Read();
            if (outcome == ReadOutcome.End)
            {
                return;
            }

            Assert.True(reader.Line >= line && reader.Offset <= input.Length);
            line = reader.Line;
            Assert.True(outcome == ReadOutcome.Record || reader.Problem.Length > 0);
        }

        Assert.Fail("the input has no end");
    }

    private static RecordReader? TryOpen(byte[] input, TransferFormat format, FieldNames fields)
    {
        try
        {
            return RecordReader.Open(new MemoryStream(input), format, fields);
        }
        catch (CommandException refused)
        {
            // A header that does not fit, which no line behind it can mend.
            Assert.Contains("line ", refused.Message, StringComparison.Ordinal);
            return null;
        }
    }

    private static byte[][] Texts(params string[] texts) => [.. texts.Select(Encoding.UTF8.GetBytes)];
}
