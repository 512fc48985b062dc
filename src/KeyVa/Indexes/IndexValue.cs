using System.Globalization;
using System.Text;
using KeyVa.Io;

namespace KeyVa.Indexes;

/// <summary>
/// A value as indexes know it: null, a boolean, a number (decimal, exact, of any size that JSON gives it), a string or bytes. They are
/// ordered null, false, true, numbers, strings by their UTF-8 bytes, bytes. Immutable.
/// </summary>
public readonly struct IndexValue : IEquatable<IndexValue>, IComparable<IndexValue>
{
    private static readonly byte[] NullBytes = [IndexValueEncoding.Null];

    private readonly byte[]? _encoded;

    private IndexValue(byte[] encoded) => _encoded = encoded;

    /// <summary>The null of JSON; also what a missing field counts as, unless the index is sparse.</summary>
    public static IndexValue Null => default;

    /// <summary>Whether this is null.</summary>
    public bool IsNull => _encoded is null;

    internal ReadOnlySpan<byte> Encoded => _encoded ?? NullBytes;

    /// <summary>What kind of value it is: the first byte of its encoding.</summary>
    internal byte Tag => Encoded[0];

    /// <summary>The bytes of a string (UTF-8) or of binary data.</summary>
    internal byte[] Content => IndexValueText.Unescape(Encoded);

    /// <summary>A string.</summary>
    public static implicit operator IndexValue(string value) => From(value);

    /// <summary>An integer.</summary>
    public static implicit operator IndexValue(long value) => From(value);

    /// <summary>A decimal number.</summary>
    public static implicit operator IndexValue(decimal value) => From(value);

    /// <summary>A number, as the shortest decimal one that leads to it; not infinity and not NaN.</summary>
    public static implicit operator IndexValue(double value) => From(value);

    /// <summary>A boolean.</summary>
    public static implicit operator IndexValue(bool value) => From(value);

    /// <summary>Whether both are the same value.</summary>
    public static bool operator ==(IndexValue left, IndexValue right) => left.Equals(right);

    /// <summary>Whether they differ.</summary>
    public static bool operator !=(IndexValue left, IndexValue right) => !left.Equals(right);

    /// <summary>Whether the left one comes first.</summary>
    public static bool operator <(IndexValue left, IndexValue right) => left.CompareTo(right) < 0;

    /// <summary>Whether the right one comes first.</summary>
    public static bool operator >(IndexValue left, IndexValue right) => left.CompareTo(right) > 0;

    /// <summary>Whether the right one does not come first.</summary>
    public static bool operator <=(IndexValue left, IndexValue right) => left.CompareTo(right) <= 0;

    /// <summary>Whether the left one does not come first.</summary>
    public static bool operator >=(IndexValue left, IndexValue right) => left.CompareTo(right) >= 0;

    /// <summary>A string; null gives <see cref="Null"/>.</summary>
    public static IndexValue From(string? value) => value is null ? Null : FromText(IndexValueEncoding.Text, Encoding.UTF8.GetBytes(value));

    /// <summary>An integer.</summary>
    public static IndexValue From(long value)
    {
        Span<byte> text = stackalloc byte[32];
        value.TryFormat(text, out int length, default, CultureInfo.InvariantCulture);
        return FromDigits(text[..length]);
    }

    /// <summary>A decimal number.</summary>
    public static IndexValue From(decimal value)
    {
        Span<byte> text = stackalloc byte[64];
        value.TryFormat(text, out int length, default, CultureInfo.InvariantCulture);
        return FromDigits(text[..length]);
    }

    /// <summary>A number, as the shortest decimal one that leads to it. Throws <see cref="ArgumentException"/> on infinity and NaN.</summary>
    public static IndexValue From(double value)
    {
        if (!double.IsFinite(value))
        {
            throw new ArgumentException("an index holds no infinity and no NaN", nameof(value));
        }

        Span<byte> text = stackalloc byte[64];
        value.TryFormat(text, out int length, "R", CultureInfo.InvariantCulture);
        return FromDigits(text[..length]);
    }

    /// <summary>A boolean.</summary>
    public static IndexValue From(bool value) => new([value ? IndexValueEncoding.True : IndexValueEncoding.False]);

    /// <summary>Bytes; they come behind all strings.</summary>
    public static IndexValue From(ReadOnlySpan<byte> value) => FromText(IndexValueEncoding.Bytes, value);

    /// <summary>A number in the notation of JSON, exact; false if it is none, or has more than 400 digits or an exponent beyond 32000.</summary>
    public static bool TryParseNumber(ReadOnlySpan<char> text, out IndexValue value)
    {
        value = Null;
        Span<byte> bytes = text.Length <= 1024 ? stackalloc byte[text.Length] : new byte[text.Length];
        return Ascii.FromUtf16(text, bytes, out _) == System.Buffers.OperationStatus.Done && TryParseNumber(bytes, out value);
    }

    /// <summary>As above, in UTF-8.</summary>
    internal static bool TryParseNumber(ReadOnlySpan<byte> bytes, out IndexValue value)
    {
        value = Null;
        using var buffer = new NativeBuffer(32);
        if (!IsNumber(bytes) || !IndexValueEncoding.TryAppendNumber(buffer, bytes))
        {
            return false;
        }

        value = new IndexValue(buffer.Written.ToArray());
        return true;
    }

    /// <inheritdoc/>
    public bool Equals(IndexValue other) => Encoded.SequenceEqual(other.Encoded);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is IndexValue other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        var hash = default(HashCode);
        hash.AddBytes(Encoded);
        return hash.ToHashCode();
    }

    /// <inheritdoc/>
    public int CompareTo(IndexValue other) => Encoded.SequenceCompareTo(other.Encoded);

    /// <summary>As JSON writes it (bytes as a string of their hexadecimal digits).</summary>
    public override string ToString() => IndexValueText.Of(Encoded);

    /// <summary>A string of UTF-8 bytes.</summary>
    internal static IndexValue FromUtf8(ReadOnlySpan<byte> text) => FromText(IndexValueEncoding.Text, text);

    /// <summary>The value at the beginning of a tuple; false if it cannot be read.</summary>
    internal static bool TryTake(ref ReadOnlySpan<byte> tuple, out IndexValue value)
    {
        value = Null;
        int length = IndexValueEncoding.LengthOfFirst(tuple);
        if (length == 0)
        {
            return false;
        }

        value = tuple[0] == IndexValueEncoding.Null ? Null : new IndexValue(tuple[..length].ToArray());
        tuple = tuple[length..];
        return true;
    }

    /// <summary>Whether it is a number of JSON and nothing else; the encoder takes more than that for one.</summary>
    private static bool IsNumber(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty || bytes[0] is not ((byte)'-' or (>= (byte)'0' and <= (byte)'9')))
        {
            return false;
        }

        var json = new System.Text.Json.Utf8JsonReader(bytes);
        try
        {
            return json.Read() && json.BytesConsumed == bytes.Length && !json.Read();
        }
        catch (System.Text.Json.JsonException)
        {
            return false;
        }
    }

    private static IndexValue FromText(byte tag, ReadOnlySpan<byte> text)
    {
        using var buffer = new NativeBuffer(text.Length + 16);
        IndexValueEncoding.AppendText(buffer, tag, text);
        return new IndexValue(buffer.Written.ToArray());
    }

    private static IndexValue FromDigits(ReadOnlySpan<byte> text)
    {
        using var buffer = new NativeBuffer(32);
        bool isNumber = IndexValueEncoding.TryAppendNumber(buffer, text);
        System.Diagnostics.Debug.Assert(isNumber, "what the runtime writes as a number is one");
        return new IndexValue(buffer.Written.ToArray());
    }
}
