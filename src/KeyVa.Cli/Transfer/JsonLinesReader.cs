using System.Buffers;
using System.Buffers.Text;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace KeyVa.Cli.Transfer;

/// <summary>
/// Reads JSON Lines: one object per line, empty lines between them allowed. Our own records have <c>key</c> or
/// <c>key64</c>, <c>value</c> or <c>value64</c>, and perhaps <c>expires</c>; a value that is no string is stored as its
/// JSON text. Foreign records have their key, and perhaps their value, in a named field; without a value field the
/// whole line is the value. One thread.
/// </summary>
internal sealed class JsonLinesReader : RecordReader
{
    private readonly byte[]? _keyField;
    private readonly byte[]? _valueField;
    private readonly bool _wholeLine;
    private byte[] _keyScratch = new byte[256];
    private byte[] _valueScratch = new byte[4096];
    private bool _hasKey;
    private bool _hasValue;

    public JsonLinesReader(Stream stream, FieldNames fields, long offset, long line)
        : base(new InputBuffer(stream, offset))
    {
        _keyField = fields.Key is null ? null : Encoding.UTF8.GetBytes(fields.Key);
        _valueField = fields.Value is null ? null : Encoding.UTF8.GetBytes(fields.Value);
        _wholeLine = _keyField is not null && _valueField is null;
        NextLine = line;
        if (offset > 0)
        {
            stream.Seek(offset, SeekOrigin.Begin);
        }
        else
        {
            SkipByteOrderMark();
        }
    }

    public override ReadOutcome Read()
    {
        while (true)
        {
            Line = NextLine;
            RecordOffset = Input.Offset;
            int length = FindLine(out bool terminated);
            IsTorn = !terminated && length >= 0;
            if (length < 0)
            {
                SkipLine();
                return Bad($"the line is longer than {InputBuffer.MaxRecordBytes >> 20} MiB");
            }

            if (length == 0 && !terminated)
            {
                return ReadOutcome.End;
            }

            ReadOnlyMemory<byte> line = Input.Unread[..length];
            Input.Take(length + (terminated ? 1 : 0));
            NextLine++;
            ReadOnlyMemory<byte> text = Trim(line);
            if (!text.IsEmpty)
            {
                return Parse(text);
            }
        }
    }

    public override void Dispose()
    {
    }

    /// <summary>The length of the line at the front without its end; -1 if it is too long.</summary>
    private int FindLine(out bool terminated)
    {
        int searched = 0;
        while (true)
        {
            int end = Input.UnreadSpan[searched..].IndexOf((byte)'\n');
            if (end >= 0)
            {
                terminated = true;
                return searched + end;
            }

            searched = Input.UnreadSpan.Length;
            if (Input.IsTooLong)
            {
                terminated = false;
                return -1;
            }

            if (!Input.Fill())
            {
                terminated = false;
                return searched;
            }
        }
    }

    private void SkipLine()
    {
        NextLine++;
        do
        {
            int end = Input.UnreadSpan.IndexOf((byte)'\n');
            if (end >= 0)
            {
                Input.Take(end + 1);
                return;
            }

            Input.Take(Input.UnreadSpan.Length);
        }
        while (Input.Fill());
    }

    private static ReadOnlyMemory<byte> Trim(ReadOnlyMemory<byte> line)
    {
        ReadOnlySpan<byte> trimmed = line.Span.TrimEnd(" \t\r"u8);
        int front = trimmed.Length - trimmed.TrimStart(" \t"u8).Length;
        return line[front..trimmed.Length];
    }

    private ReadOutcome Parse(ReadOnlyMemory<byte> line)
    {
        if (!Utf8.IsValid(line.Span))
        {
            return Bad("the line is not valid UTF-8; write bytes that are no text as \"key64\" or \"value64\"");
        }

        Key = default;
        Value = default;
        ExpiresAt = 0;
        _hasKey = false;
        _hasValue = false;
        try
        {
            string? problem = ParseObject(line);
            if (problem is not null)
            {
                return Bad(problem);
            }
        }
        catch (JsonException malformed)
        {
            return Bad($"not a JSON object: {Shorten(malformed.Message)}");
        }
        catch (InvalidOperationException)
        {
            return Bad("a string holds half of a surrogate pair (\\ud800 to \\udfff alone), which is no text");
        }

        return Complete(line);
    }

    private ReadOutcome Complete(ReadOnlyMemory<byte> line)
    {
        if (!_hasKey)
        {
            return Bad(_keyField is null
                ? "the record has no \"key\" or \"key64\"; name another field with --key-field"
                : $"the record has no field \"{Encoding.UTF8.GetString(_keyField)}\"");
        }

        if (Key.IsEmpty)
        {
            return Bad("the key is empty; keys have 1 byte to 8 KiB");
        }

        if (Key.Length > KeyText.MaxKeyBytes)
        {
            return Bad($"the key has {Key.Length} bytes; the most are {KeyText.MaxKeyBytes}");
        }

        if (_wholeLine)
        {
            Value = line;
        }
        else if (!_hasValue)
        {
            return Bad(_valueField is null
                ? "the record has no \"value\" or \"value64\""
                : $"the record has no field \"{Encoding.UTF8.GetString(_valueField)}\"");
        }

        return ReadOutcome.Record;
    }

    private string? ParseObject(ReadOnlyMemory<byte> line)
    {
        Utf8JsonReader json = new(line.Span);
        if (!json.Read() || json.TokenType != JsonTokenType.StartObject)
        {
            return "not a JSON object: each line must be one, {\"key\":…,\"value\":…}";
        }

        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            string? problem = ParseProperty(line, ref json);
            if (problem is not null)
            {
                return problem;
            }
        }

        // Reads on only to be told of anything behind the object.
        _ = json.Read();
        return null;
    }

    private string? ParseProperty(ReadOnlyMemory<byte> line, ref Utf8JsonReader json)
    {
        if (_keyField is not null || _valueField is not null)
        {
            bool isKey = json.ValueTextEquals(_keyField is null ? "key"u8 : _keyField);
            bool isValue = _valueField is not null && json.ValueTextEquals(_valueField);
            _ = json.Read();
            return ParseForeign(line, ref json, isKey, isValue);
        }

        if (json.ValueTextEquals("key"u8))
        {
            _ = json.Read();
            Key = Text(line, ref json, ref _keyScratch);
            _hasKey = true;
        }
        else if (json.ValueTextEquals("value"u8))
        {
            _ = json.Read();
            Value = Text(line, ref json, ref _valueScratch);
            _hasValue = true;
        }
        else if (json.ValueTextEquals("key64"u8))
        {
            _ = json.Read();
            _hasKey = TryBase64(ref json, ref _keyScratch, out ReadOnlyMemory<byte> key);
            Key = key;
            return _hasKey ? null : "\"key64\" is not base64";
        }
        else if (json.ValueTextEquals("value64"u8))
        {
            _ = json.Read();
            _hasValue = TryBase64(ref json, ref _valueScratch, out ReadOnlyMemory<byte> value);
            Value = value;
            return _hasValue ? null : "\"value64\" is not base64";
        }
        else if (json.ValueTextEquals("expires"u8))
        {
            _ = json.Read();
            if (json.TokenType != JsonTokenType.Number || !json.TryGetInt64(out long expires) || expires < 0)
            {
                return "\"expires\" is not a time in milliseconds since 1970-01-01 UTC";
            }

            ExpiresAt = expires;
        }
        else
        {
            json.Skip();
        }

        return null;
    }

    private string? ParseForeign(ReadOnlyMemory<byte> line, ref Utf8JsonReader json, bool isKey, bool isValue)
    {
        if (isKey)
        {
            if (json.TokenType is not (JsonTokenType.String or JsonTokenType.Number))
            {
                return $"the key field is {Describe(json.TokenType)}; it must be a string or a number";
            }

            Key = Text(line, ref json, ref _keyScratch);
            _hasKey = true;
        }

        if (isValue)
        {
            Value = Text(line, ref json, ref _valueScratch);
            _hasValue = true;
        }
        else if (!isKey)
        {
            json.Skip();
        }

        return null;
    }

    /// <summary>The characters of a string, or the JSON text of anything else, without a copy where that is possible.</summary>
    private static ReadOnlyMemory<byte> Text(ReadOnlyMemory<byte> line, ref Utf8JsonReader json, ref byte[] scratch)
    {
        int start = (int)json.TokenStartIndex;
        if (json.TokenType != JsonTokenType.String)
        {
            json.Skip();
            return line[start..(int)json.BytesConsumed];
        }

        int length = json.ValueSpan.Length;
        if (!json.ValueIsEscaped)
        {
            return line.Slice(start + 1, length);
        }

        return Room(ref scratch, length).AsMemory(0, json.CopyString(scratch));
    }

    private static bool TryBase64(ref Utf8JsonReader json, ref byte[] scratch, out ReadOnlyMemory<byte> bytes)
    {
        bytes = default;
        if (json.TokenType != JsonTokenType.String)
        {
            return false;
        }

        int length = json.CopyString(Room(ref scratch, json.ValueSpan.Length));
        if (Base64.DecodeFromUtf8InPlace(scratch.AsSpan(0, length), out int written) != OperationStatus.Done)
        {
            return false;
        }

        bytes = scratch.AsMemory(0, written);
        return true;
    }

    private static byte[] Room(ref byte[] scratch, int length)
    {
        if (scratch.Length < length)
        {
            scratch = new byte[Math.Max(length, scratch.Length * 2)];
        }

        return scratch;
    }

    private static string Describe(JsonTokenType token) => token switch
    {
        JsonTokenType.StartObject => "an object",
        JsonTokenType.StartArray => "an array",
        JsonTokenType.Null => "null",
        _ => "true or false",
    };

    /// <summary>Leaves the reader's own line count out: each line is a document of its own to it.</summary>
    private static string Shorten(string message)
    {
        int position = message.IndexOf("LineNumber:", StringComparison.Ordinal);
        if (position < 0)
        {
            return message;
        }

        if (message.StartsWith("Expected depth to be zero", StringComparison.Ordinal))
        {
            return "it is not closed";
        }

        int column = message.IndexOf("BytePositionInLine: ", StringComparison.Ordinal);
        string what = message[..position].TrimEnd();
        return column < 0 ? what : $"{what} (byte {message[(column + 20)..].TrimEnd('.')})";
    }
}
