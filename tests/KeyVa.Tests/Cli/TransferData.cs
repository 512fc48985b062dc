using System.Text;
using KeyVa.Cli.Transfer;

namespace KeyVa.Tests.Cli;

/// <summary>Random records and inputs for the tests of import and export.</summary>
internal static class TransferData
{
    private static readonly string[] Pieces =
        ["a", "key", ",", "\"", "\"\"", "\r\n", "\n", "\r", "\t", " ", "\\", "ü", "漢字", "🜚", "\0", "\u2028", "{", "}", "'", "", "null", "1"];

    /// <summary>Bytes of any kind: text full of delimiters, binary, empty, long.</summary>
    public static byte[] Bytes(Random random, int maxBytes)
    {
        switch (random.Next(5))
        {
            case 0:
                byte[] binary = new byte[random.Next(maxBytes)];
                random.NextBytes(binary);
                return binary;
            case 1 when maxBytes > 100:
                return Encoding.UTF8.GetBytes(new string('x', random.Next(maxBytes)));
            case 2:
                return [];
            default:
                StringBuilder text = new();
                for (int i = random.Next(10); i >= 0; i--)
                {
                    text.Append(Pieces[random.Next(Pieces.Length)]);
                }

                byte[] bytes = Encoding.UTF8.GetBytes(text.ToString());
                return bytes.Length > maxBytes ? bytes[..maxBytes] : bytes;
        }
    }

    public static List<(byte[] Key, byte[] Value, long Expires)> Records(Random random, int count, int maxValueBytes = 3000)
    {
        List<(byte[], byte[], long)> records = [];
        for (int i = 0; i < count; i++)
        {
            byte[] key = Bytes(random, 60);
            records.Add((key.Length == 0 ? [(byte)i] : key, Bytes(random, maxValueBytes), random.Next(3) == 0 ? random.NextInt64(1, long.MaxValue) : 0));
        }

        return records;
    }

    public static byte[] Write(List<(byte[] Key, byte[] Value, long Expires)> records, TransferFormat format)
    {
        using MemoryStream stream = new();
        using RecordWriter writer = RecordWriter.Create(stream, format);
        writer.WriteHeader();
        foreach ((byte[] key, byte[] value, long expires) in records)
        {
            writer.Write(key, value, expires);
        }

        writer.Flush();
        return stream.ToArray();
    }

    public static RecordReader Open(string text, TransferFormat format, string? keyField = null, string? valueField = null) =>
        RecordReader.Open(new MemoryStream(Encoding.UTF8.GetBytes(text)), format, new FieldNames(keyField, valueField));

    /// <summary>A stream that gives its bytes in pieces of random length, as a pipe does.</summary>
    public sealed class Trickle(byte[] bytes, Random random) : MemoryStream(bytes)
    {
        public override int Read(byte[] buffer, int offset, int count) => base.Read(buffer, offset, Math.Min(count, random.Next(1, 9) << random.Next(12)));
    }
}
