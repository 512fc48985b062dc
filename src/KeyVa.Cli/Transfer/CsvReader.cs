using System.Buffers;
using System.Buffers.Text;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace KeyVa.Cli.Transfer;

/// <summary>
/// Reads CSV as RFC 4180 has it: fields separated by commas, records by CRLF or LF, fields in quotes may hold all of
/// these, a quote in them is doubled. The first record names the columns: <c>key</c> or <c>key64</c>, <c>value</c> or
/// <c>value64</c>, <c>expires</c>; a base64 column counts where it is not empty. Foreign files name their key column, and
/// perhaps their value column; without one the value is the record as a JSON object. One thread.
/// </summary>
internal sealed class CsvReader : RecordReader
{
    private readonly CsvFields _fields = new();
    private readonly ArrayBufferWriter<byte> _object = new();
    private readonly Utf8JsonWriter _json;
    private readonly FieldNames _names;
    private byte[] _keyScratch = new byte[256];
    private byte[] _valueScratch = new byte[4096];
    private JsonEncodedText[] _header = [];
    private int _key = -1;
    private int _value = -1;
    private int _key64 = -1;
    private int _value64 = -1;
    private int _expires = -1;

    /// <summary>Opens a file and reads its header; <see cref="CommandException"/> if that has no key.</summary>
    public CsvReader(Stream stream, FieldNames names, long offset, long line)
        : base(new InputBuffer(stream))
    {
        _names = names;
        _json = new Utf8JsonWriter(_object, RecordJson.Options);
        SkipByteOrderMark();
        ReadHeader();
        if (offset > Input.Offset)
        {
            stream.Seek(offset, SeekOrigin.Begin);
            Input = new InputBuffer(stream, offset);
            NextLine = line;
        }
    }

    public override ReadOutcome Read()
    {
        ReadOutcome outcome = ReadFields();
        if (outcome != ReadOutcome.Record)
        {
            return outcome;
        }

        if (_fields.Count != _header.Length)
        {
            return Bad($"the record has {_fields.Count} fields, the header names {_header.Length}");
        }

        for (int i = 0; i < _fields.Count; i++)
        {
            if (!Utf8.IsValid(_fields[i].Span))
            {
                return Bad($"column \"{_header[i].Value}\" is not valid UTF-8; write bytes that are no text into key64 or value64");
            }
        }

        string? problem = TakeKey() ?? TakeValue() ?? TakeExpiry();
        return problem is null ? ReadOutcome.Record : Bad(problem);
    }

    public override void Dispose() => _json.Dispose();

    private ReadOutcome ReadFields()
    {
        while (true)
        {
            Line = NextLine;
            RecordOffset = Input.Offset;
            int length = CsvFields.FindRecord(Input, out bool terminated, out int lines);
            IsTorn = !terminated && !Input.IsTooLong;
            if (length < 0)
            {
                SkipLine();
                return Bad(Input.IsTooLong
                    ? $"the record is longer than {InputBuffer.MaxRecordBytes >> 20} MiB; perhaps a quote is not closed"
                    : "a quote is opened and never closed");
            }

            if (length == 0 && !terminated)
            {
                return ReadOutcome.End;
            }

            ReadOnlyMemory<byte> record = Input.Unread[..length];
            Input.Take(length + (terminated ? 1 : 0));
            NextLine += lines;
            if (length > 0 && record.Span[^1] == '\r')
            {
                record = record[..^1];
            }

            if (record.IsEmpty)
            {
                continue;
            }

            string? problem = _fields.Split(record);
            return problem is null ? ReadOutcome.Record : Bad(problem);
        }
    }

    /// <summary>Goes on behind the first line end, where the next record may begin.</summary>
    private void SkipLine()
    {
        NextLine++;
        int end = Input.UnreadSpan.IndexOf((byte)'\n');
        Input.Take(end < 0 ? Input.UnreadSpan.Length : end + 1);
    }

    private void ReadHeader()
    {
        ReadOutcome outcome = ReadFields();
        if (outcome == ReadOutcome.End)
        {
            return;
        }

        if (outcome == ReadOutcome.Bad)
        {
            throw CommandException.Usage($"line {Line}, the header: {Problem}");
        }

        _header = new JsonEncodedText[_fields.Count];
        for (int i = 0; i < _fields.Count; i++)
        {
            string name = Encoding.UTF8.GetString(_fields[i].Span);
            _header[i] = JsonEncodedText.Encode(name, RecordJson.Options.Encoder);
            Assign(name, i);
        }

        if (_key < 0 && _key64 < 0)
        {
            string wanted = _names.Key ?? "key";
            throw CommandException.Usage(
                $"line {Line}: the header names no column \"{wanted}\", but {string.Join(", ", _header.Select(name => $"\"{name.Value}\""))}; name the key's column with --key-field");
        }

        if (_value < 0 && _value64 < 0 && (_names.Key is null || _names.Value is not null))
        {
            throw CommandException.Usage($"line {Line}: the header names no column \"{_names.Value ?? "value"}\"; name the value's column with --value-field");
        }
    }

    private void Assign(string name, int column)
    {
        bool foreign = _names.Key is not null || _names.Value is not null;
        if (name == (_names.Key ?? "key"))
        {
            _key = column;
        }

        if (foreign)
        {
            _value = _names.Value == name ? column : _value;
            return;
        }

        switch (name)
        {
            case "value":
                _value = column;
                break;
            case "key64":
                _key64 = column;
                break;
            case "value64":
                _value64 = column;
                break;
            case "expires":
                _expires = column;
                break;
            default:
                break;
        }
    }

    private string? TakeKey()
    {
        if (_key64 >= 0 && !_fields[_key64].IsEmpty)
        {
            if (!TryBase64(_fields[_key64].Span, ref _keyScratch, out ReadOnlyMemory<byte> key))
            {
                return "\"key64\" is not base64";
            }

            Key = key;
        }
        else
        {
            Key = _key >= 0 ? _fields[_key] : default;
        }

        if (Key.IsEmpty)
        {
            return "the key is empty; keys have 1 byte to 8 KiB";
        }

        return Key.Length <= KeyText.MaxKeyBytes ? null : $"the key has {Key.Length} bytes; the most are {KeyText.MaxKeyBytes}";
    }

    private string? TakeValue()
    {
        if (_value64 >= 0 && !_fields[_value64].IsEmpty)
        {
            bool valid = TryBase64(_fields[_value64].Span, ref _valueScratch, out ReadOnlyMemory<byte> value);
            Value = value;
            return valid ? null : "\"value64\" is not base64";
        }

        if (_value >= 0)
        {
            Value = _fields[_value];
            return null;
        }

        Value = _value64 >= 0 ? default : RecordAsObject();
        return null;
    }

    private string? TakeExpiry()
    {
        ExpiresAt = 0;
        if (_expires < 0 || _fields[_expires].IsEmpty)
        {
            return null;
        }

        bool valid = long.TryParse(_fields[_expires].Span, NumberStyles.None, CultureInfo.InvariantCulture, out long expires);
        ExpiresAt = expires;
        return valid ? null : "\"expires\" is not a time in milliseconds since 1970-01-01 UTC";
    }

    private ReadOnlyMemory<byte> RecordAsObject()
    {
        Debug.Assert(_names.Key is not null, "only foreign records have no value column");
        _object.ResetWrittenCount();
        _json.Reset(_object);
        _json.WriteStartObject();
        for (int i = 0; i < _header.Length; i++)
        {
            _json.WriteString(_header[i], _fields[i].Span);
        }

        _json.WriteEndObject();
        _json.Flush();
        return _object.WrittenMemory;
    }

    private static bool TryBase64(ReadOnlySpan<byte> text, ref byte[] scratch, out ReadOnlyMemory<byte> bytes)
    {
        if (scratch.Length < text.Length)
        {
            scratch = new byte[Math.Max(text.Length, scratch.Length * 2)];
        }

        bool valid = Base64.DecodeFromUtf8(text, scratch, out int consumed, out int written) == OperationStatus.Done
            && consumed == text.Length;
        bytes = valid ? scratch.AsMemory(0, written) : default;
        return valid;
    }
}
