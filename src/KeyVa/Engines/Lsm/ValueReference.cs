using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>Where a value is that stands in a value file: what a table keeps in its place (<see cref="EntryKind.Reference"/>).</summary>
/// <remarks>
/// <code>
/// file varint | ordinal varint | offset varint | recordLength varint | valueLength varint
/// </code>
/// The ordinal counts the records of the file from 0: it is the record's slot for the block cache.
/// </remarks>
internal readonly record struct ValueReference(long File, long Ordinal, long Offset, int RecordLength, int ValueLength)
{
    public const int MaxBytes = 5 * Varint.MaxLength;

    /// <summary>Returns the bytes written, at most <see cref="MaxBytes"/>.</summary>
    public int Encode(Span<byte> to)
    {
        int n = Varint.Write(to, (ulong)File);
        n += Varint.Write(to[n..], (ulong)Ordinal);
        n += Varint.Write(to[n..], (ulong)Offset);
        n += Varint.Write(to[n..], (ulong)RecordLength);
        return n + Varint.Write(to[n..], (ulong)ValueLength);
    }

    /// <summary>False if the bytes are not a reference. Nothing is allocated by what they say until the file has been asked.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> from, out ValueReference reference)
    {
        Span<ulong> numbers = stackalloc ulong[5];
        foreach (ref ulong number in numbers)
        {
            int length = Varint.Read(from, out number);
            if (length == 0)
            {
                reference = default;
                return false;
            }

            from = from[length..];
        }

        reference = new ValueReference((long)numbers[0], (long)numbers[1], (long)numbers[2], (int)numbers[3], (int)numbers[4]);
        return from.IsEmpty && numbers[0] <= long.MaxValue && numbers[1] <= long.MaxValue && numbers[2] <= long.MaxValue
            && numbers[3] <= ValueRecord.MaxBytes && numbers[4] <= Limits.MaxValueBytesCeiling;
    }

    /// <summary>Decodes what stands in a table whose checksum fits.</summary>
    public static ValueReference Decode(ReadOnlySpan<byte> from, string path, long offset = 0) => TryDecode(from, out ValueReference reference)
        ? reference
        : throw new CorruptionException(path, offset, $"{from.Length} bytes that lead to a value do not make sense");
}
