using System.Buffers;
using System.Buffers.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace KeyVa.Cli.Transfer;

/// <summary>Writes records in a format that <see cref="RecordReader"/> reads back, byte for byte. One thread.</summary>
internal abstract class RecordWriter : IDisposable
{
    private const int FlushBytes = 1 << 18;

    private readonly Stream _output;

    protected RecordWriter(Stream output) => _output = output;

    /// <summary>Bytes written so far, buffered ones too.</summary>
    public long Bytes { get; private set; }

    protected ArrayBufferWriter<byte> Buffer { get; } = new(FlushBytes * 2);

    public static RecordWriter Create(Stream output, TransferFormat format) =>
        format == TransferFormat.Csv ? new CsvWriter(output) : new JsonLinesWriter(output);

    /// <summary>Writes what stands before the first record.</summary>
    public abstract void WriteHeader();

    public void Write(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, long expiresAt)
    {
        Append(key, value, expiresAt);
        if (Buffer.WrittenCount >= FlushBytes)
        {
            Flush();
        }
    }

    /// <summary>Hands everything to the output.</summary>
    public void Flush()
    {
        Bytes += Buffer.WrittenCount;
        _output.Write(Buffer.WrittenSpan);
        _output.Flush();
        Buffer.ResetWrittenCount();
    }

    /// <summary>Gives buffers back; flush before. The output stays open.</summary>
    public abstract void Dispose();

    protected abstract void Append(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, long expiresAt);
}

/// <summary>JSON Lines: one object per record and line, in the shape of <see cref="RecordJson"/>.</summary>
internal sealed class JsonLinesWriter : RecordWriter
{
    private readonly Utf8JsonWriter _json;

    public JsonLinesWriter(Stream output)
        : base(output) => _json = new Utf8JsonWriter(Buffer, RecordJson.Options);

    public override void WriteHeader()
    {
    }

    public override void Dispose() => _json.Dispose();

    protected override void Append(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, long expiresAt)
    {
        _json.Reset();
        _json.WriteStartObject();
        RecordJson.WriteKey(_json, key);
        RecordJson.WriteValue(_json, value);
        if (expiresAt != 0)
        {
            _json.WriteNumber("expires"u8, expiresAt);
        }

        _json.WriteEndObject();
        _json.Flush();
        Buffer.Write("\n"u8);
    }
}

/// <summary>CSV with the columns of <see cref="Header"/>; of a text column and its base64 column one is empty.</summary>
internal sealed class CsvWriter : RecordWriter
{
    private static readonly SearchValues<byte> NeedsQuotes = SearchValues.Create(",\"\r\n"u8);

    public CsvWriter(Stream output)
        : base(output)
    {
    }

    public static ReadOnlySpan<byte> Header => "key,value,key64,value64,expires\r\n"u8;

    public override void WriteHeader() => Buffer.Write(Header);

    public override void Dispose()
    {
    }

    protected override void Append(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, long expiresAt)
    {
        bool isKeyText = Utf8.IsValid(key);
        bool isValueText = Utf8.IsValid(value);
        AppendText(isKeyText ? key : default);
        Buffer.Write(","u8);
        AppendText(isValueText ? value : default);
        Buffer.Write(","u8);
        AppendBase64(isKeyText ? default : key);
        Buffer.Write(","u8);
        AppendBase64(isValueText ? default : value);
        Buffer.Write(","u8);
        if (expiresAt != 0)
        {
            _ = Utf8Formatter.TryFormat(expiresAt, Buffer.GetSpan(20), out int written, new StandardFormat('D'));
            Buffer.Advance(written);
        }

        Buffer.Write("\r\n"u8);
    }

    private void AppendText(ReadOnlySpan<byte> text)
    {
        if (!text.ContainsAny(NeedsQuotes))
        {
            Buffer.Write(text);
            return;
        }

        Buffer.Write("\""u8);
        while (true)
        {
            int quote = text.IndexOf((byte)'"');
            if (quote < 0)
            {
                break;
            }

            Buffer.Write(text[..(quote + 1)]);
            Buffer.Write("\""u8);
            text = text[(quote + 1)..];
        }

        Buffer.Write(text);
        Buffer.Write("\""u8);
    }

    private void AppendBase64(ReadOnlySpan<byte> bytes)
    {
        Span<byte> room = Buffer.GetSpan(Base64.GetMaxEncodedToUtf8Length(bytes.Length));
        _ = Base64.EncodeToUtf8(bytes, room, out _, out int written);
        Buffer.Advance(written);
    }
}
