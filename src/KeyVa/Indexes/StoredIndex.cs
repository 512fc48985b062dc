using System.Text;
using KeyVa.Io;

namespace KeyVa.Indexes;

/// <summary>How far an index is.</summary>
public enum IndexState
{
    /// <summary>It is being filled; it follows every write already.</summary>
    Building = 1,

    /// <summary>It answers queries.</summary>
    Ready = 2,

    /// <summary>It is being removed.</summary>
    Dropping = 3,
}

/// <summary>An index as the catalog holds it. Immutable.</summary>
/// <param name="Id">Its number, never given twice; its folders are named by it.</param>
/// <param name="State">How far it is.</param>
/// <param name="Definition">What it is of.</param>
internal sealed record StoredIndex(long Id, IndexState State, IndexDefinition Definition)
{
    public const int MaxFields = 8;
    public const int MaxNameBytes = 64;

    private const int UniqueBit = 1;
    private const int SparseBit = 2;
    private const int StrictBit = 4;
    private const int ExtractorBit = 8;
    private const int FixedBytes = 11;

    /// <summary>Null if the definition can be carried out; otherwise why not.</summary>
    public static string? Check(IndexDefinition definition)
    {
        if (!IsName(definition.Name))
        {
            return $"an index's name has 1 to {MaxNameBytes} letters, digits, dots, hyphens and underscores";
        }

        if (definition.Fields is null || definition.Fields.Count is < 1 or > MaxFields)
        {
            return $"an index has 1 to {MaxFields} fields";
        }

        if (definition.Extractor is not null)
        {
            return IsName(definition.Extractor) && definition.Fields.All(IsName) ? null : "extractors and the fields they give are named as indexes are";
        }

        if (definition.ExtractorVersion != 0)
        {
            // The catalog would not keep it, and the same definition would be another one after the next opening.
            return "the version of an extractor is given, and no extractor";
        }

        int many = 0;
        foreach (string field in definition.Fields)
        {
            if (IndexPath.Parse(field, out IndexPath path) is { } refusal)
            {
                return refusal;
            }

            many += path.IsMany ? 1 : 0;
        }

        return many > 1 ? "one field of an index at most has [*] in its path" : null;
    }

    /// <summary>
    /// Appends it as the catalog has it (docs/format.md, Catalog): id 8, state 1, flags 1 (bit 0 unique, 1 sparse, 2 strict, 3 extractor), the number of
    /// fields 1, name, fields; then, if it has one, the extractor's name and version 4. Texts: varint length, UTF-8.
    /// </summary>
    public void Append(NativeBuffer bytes)
    {
        bytes.AppendInt64(Id);
        bytes.AppendByte((byte)State);
        bytes.AppendByte((byte)((Definition.Unique ? UniqueBit : 0) | (Definition.Sparse ? SparseBit : 0) | (Definition.Strict ? StrictBit : 0) | (Definition.Extractor is null ? 0 : ExtractorBit)));
        bytes.AppendByte((byte)Definition.Fields.Count);
        AppendText(bytes, Definition.Name);
        foreach (string field in Definition.Fields)
        {
            AppendText(bytes, field);
        }

        if (Definition.Extractor is { } extractor)
        {
            AppendText(bytes, extractor);
            bytes.AppendUInt32((uint)Definition.ExtractorVersion);
        }
    }

    /// <summary>Reads one and moves behind it; false if the bytes are none.</summary>
    public static bool TryRead(ref ReadOnlySpan<byte> bytes, out StoredIndex index)
    {
        index = null!;
        if (bytes.Length < FixedBytes)
        {
            return false;
        }

        long id = System.Buffers.Binary.BinaryPrimitives.ReadInt64LittleEndian(bytes);
        var state = (IndexState)bytes[8];
        int flags = bytes[9];
        var fields = new string[bytes[10]];
        ReadOnlySpan<byte> rest = bytes[FixedBytes..];
        if (!TryReadText(ref rest, out string name))
        {
            return false;
        }

        for (int i = 0; i < fields.Length; i++)
        {
            if (!TryReadText(ref rest, out fields[i]))
            {
                return false;
            }
        }

        string? extractor = null;
        int version = 0;
        if ((flags & ExtractorBit) != 0)
        {
            if (!TryReadText(ref rest, out extractor) || rest.Length < 4)
            {
                return false;
            }

            version = System.Buffers.Binary.BinaryPrimitives.ReadInt32LittleEndian(rest);
            rest = rest[4..];
        }

        var definition = new IndexDefinition
        {
            Name = name,
            Fields = fields,
            Unique = (flags & UniqueBit) != 0,
            Sparse = (flags & SparseBit) != 0,
            Strict = (flags & StrictBit) != 0,
            Extractor = extractor,
            ExtractorVersion = version,
        };
        index = new StoredIndex(id, state, definition);
        bytes = rest;
        return id > 0 && state is IndexState.Building or IndexState.Ready or IndexState.Dropping && Check(definition) is null;
    }

    private static bool IsName(string? name) =>
        name is { Length: >= 1 and <= MaxNameBytes } && name.All(static c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_');

    private static void AppendText(NativeBuffer bytes, string text)
    {
        byte[] encoded = Encoding.UTF8.GetBytes(text);
        bytes.AppendVarint((ulong)encoded.Length);
        bytes.Append(encoded);
    }

    private static bool TryReadText(ref ReadOnlySpan<byte> bytes, out string text)
    {
        text = string.Empty;
        int taken = Varint.Read(bytes, out ulong length);
        if (taken == 0 || length > (ulong)(bytes.Length - taken))
        {
            return false;
        }

        text = Encoding.UTF8.GetString(bytes.Slice(taken, (int)length));
        bytes = bytes[(taken + (int)length)..];
        return true;
    }
}
