using System.Numerics;
using System.Text.Json;
using System.Text.Unicode;
using KeyVa.Io;

namespace KeyVa.Indexes;

/// <summary>
/// Finds the fields of an index in a JSON value, in one pass and without building a document. One thread at a time; used again
/// and again, without garbage.
/// </summary>
/// <remarks>
/// For each open object or array it knows, as bits, the fields whose paths lead into it; where none does, it is passed over. The
/// whole value is read, so that what is indexed is valid JSON. Of a member that stands in an object twice, the last one that the path leads to counts.
/// </remarks>
internal sealed class JsonFields
{
    /// <summary>Objects and arrays in each other.</summary>
    public const int MaxDepth = 64;

    private const int Missing = -1;
    private const int KeptBytes = 64 << 10;

    private readonly IndexPath[] _paths;
    private readonly bool _leavesOutMissing;
    private readonly int _many;
    private readonly ulong _all;
    private readonly bool _takesScalars;
    private readonly (int Offset, int Length)[] _fields;
    private readonly List<(int Offset, int Length)> _elements = [];

    // By depth of the open objects and arrays.
    private readonly ulong[] _leading = new ulong[MaxDepth];
    private readonly int[] _element = new int[MaxDepth];
    private int _depth;
    private ulong _member;
    private bool _rejected;

    public JsonFields(IndexPath[] paths, bool leavesOutMissing)
    {
        _paths = paths;
        _leavesOutMissing = leavesOutMissing;
        _many = Array.FindIndex(paths, static path => path.IsMany);
        _all = paths.Length == 64 ? ulong.MaxValue : (1UL << paths.Length) - 1;
        _takesScalars = Array.Exists(paths, static path => path.Steps.Length == 0);
        _fields = new (int, int)[paths.Length];
    }

    private NativeBuffer Values { get; } = new(256);

    /// <summary>Adds the value's tuples, or rejects it.</summary>
    public void Read(ReadOnlySpan<byte> value, IndexEntries into)
    {
        if (!TryRead(value))
        {
            into.Reject();
            return;
        }

        if (_many < 0)
        {
            AddTuple(into, default);
            return;
        }

        if (_elements.Count == 0)
        {
            AddTuple(into, (0, Missing));
        }

        foreach ((int Offset, int Length) element in _elements)
        {
            AddTuple(into, element);
        }
    }

    private bool TryRead(ReadOnlySpan<byte> value)
    {
        Values.Clear(KeptBytes);
        _elements.Clear();
        _fields.AsSpan().Fill((0, Missing));
        _depth = -1;
        _rejected = false;

        // Most of what is no JSON ends here, and not in an exception.
        ReadOnlySpan<byte> trimmed = value.TrimStart(" \t\r\n"u8);
        if (trimmed.IsEmpty || (!_takesScalars && trimmed[0] is not ((byte)'{' or (byte)'[')))
        {
            return false;
        }

        try
        {
            var reader = new Utf8JsonReader(value, new JsonReaderOptions { MaxDepth = MaxDepth });
            while (!_rejected && reader.Read())
            {
                Take(ref reader);
            }
        }
        catch (JsonException)
        {
            return false;
        }
        catch (InvalidOperationException)
        {
            // Half of a surrogate pair: the reader has no other way to say it.
            return false;
        }

        return !_rejected;
    }

    private void Take(ref Utf8JsonReader reader)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.PropertyName:
                _member = MatchName(ref reader);
                break;
            case JsonTokenType.StartObject or JsonTokenType.StartArray:
                Open(ref reader);
                break;
            case JsonTokenType.EndObject or JsonTokenType.EndArray:
                _depth--;
                break;
            default:
                ulong ends = EndingAt(Next(), _depth + 1);
                if (ends != 0)
                {
                    TakeScalar(ref reader, ends);
                }

                break;
        }
    }

    private void Open(ref Utf8JsonReader reader)
    {
        ulong leading = Next();
        if (EndingAt(leading, _depth + 1) != 0)
        {
            // An object or an array is no value of an index.
            _rejected = true;
        }
        else if (leading == 0)
        {
            reader.Skip();
        }
        else
        {
            _depth++;
            _leading[_depth] = leading;
            _element[_depth] = reader.TokenType == JsonTokenType.StartArray ? 0 : -1;
        }
    }

    /// <summary>The fields that lead to the value that comes next.</summary>
    private ulong Next()
    {
        if (_depth < 0)
        {
            return _all;
        }

        if (_element[_depth] < 0)
        {
            return _member;
        }

        int element = _element[_depth]++;
        ulong found = 0;
        for (ulong rest = _leading[_depth]; rest != 0; rest &= rest - 1)
        {
            int field = BitOperations.TrailingZeroCount(rest);
            PathStep step = _paths[field].Steps[_depth];
            if (step.Name is null && (step.Element == element || step.IsEvery))
            {
                found |= 1UL << field;
            }
        }

        return found;
    }

    private ulong MatchName(ref Utf8JsonReader reader)
    {
        ulong found = 0;
        for (ulong rest = _leading[_depth]; rest != 0; rest &= rest - 1)
        {
            int field = BitOperations.TrailingZeroCount(rest);
            byte[]? name = _paths[field].Steps[_depth].Name;
            if (name is not null && reader.ValueTextEquals(name))
            {
                found |= 1UL << field;
            }
        }

        return found;
    }

    private ulong EndingAt(ulong fields, int steps)
    {
        ulong found = 0;
        for (ulong rest = fields; rest != 0; rest &= rest - 1)
        {
            int field = BitOperations.TrailingZeroCount(rest);
            found |= _paths[field].Steps.Length == steps ? 1UL << field : 0;
        }

        return found;
    }

    private void TakeScalar(ref Utf8JsonReader reader, ulong fields)
    {
        int begin = Values.Length;
        switch (reader.TokenType)
        {
            case JsonTokenType.Null:
                Values.AppendByte(IndexValueEncoding.Null);
                break;
            case JsonTokenType.True:
                Values.AppendByte(IndexValueEncoding.True);
                break;
            case JsonTokenType.False:
                Values.AppendByte(IndexValueEncoding.False);
                break;
            case JsonTokenType.Number:
                _rejected = !IndexValueEncoding.TryAppendNumber(Values, reader.ValueSpan);
                break;
            default:
                AppendString(ref reader);
                break;
        }

        (int, int) place = (begin, Values.Length - begin);
        for (ulong rest = fields; rest != 0; rest &= rest - 1)
        {
            int field = BitOperations.TrailingZeroCount(rest);
            if (field == _many)
            {
                _elements.Add(place);
            }
            else
            {
                _fields[field] = place;
            }
        }

        _rejected |= Values.Length > IndexEntries.MaxTupleBytes * 16 || _elements.Count > IndexEntries.MaxEntries * 4;
    }

    private void AppendString(ref Utf8JsonReader reader)
    {
        ReadOnlySpan<byte> raw = reader.ValueSpan;
        if (!Utf8.IsValid(raw))
        {
            // The reader lets it pass. What no string of a client can be equal to, and no message can carry, is no value of an index.
            _rejected = true;
            return;
        }

        if (!reader.ValueIsEscaped)
        {
            IndexValueEncoding.AppendText(Values, IndexValueEncoding.Text, raw);
            return;
        }

        if (raw.Length > IndexEntries.MaxTupleBytes * 6)
        {
            _rejected = true;
            return;
        }

        byte[] text = System.Buffers.ArrayPool<byte>.Shared.Rent(raw.Length);
        try
        {
            int length = reader.CopyString(text);
            IndexValueEncoding.AppendText(Values, IndexValueEncoding.Text, text.AsSpan(0, length));
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(text);
        }
    }

    private void AddTuple(IndexEntries into, (int Offset, int Length) element)
    {
        int begin = into.Bytes.Length;
        for (int field = 0; field < _paths.Length; field++)
        {
            (int offset, int length) = field == _many ? element : _fields[field];
            if (length != Missing)
            {
                into.Bytes.Append(Values.Slice(offset, length));
            }
            else if (_leavesOutMissing)
            {
                into.Bytes.Truncate(begin);
                return;
            }
            else
            {
                into.Bytes.AppendByte(IndexValueEncoding.Null);
            }
        }

        into.Complete(begin);
    }
}
