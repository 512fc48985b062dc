using System.Runtime.CompilerServices;

namespace KeyVa.Io;

/// <summary>Unsigned integers in base 128, least significant group first, as in Protocol Buffers; at most ten bytes.</summary>
internal static class Varint
{
    public const int MaxLength = 10;

    /// <summary>Writes the value and returns how many bytes it took; the destination must have room for it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Write(Span<byte> destination, ulong value)
    {
        int i = 0;
        while (value >= 0x80)
        {
            destination[i++] = (byte)(value | 0x80);
            value >>= 7;
        }

        destination[i++] = (byte)value;
        return i;
    }

    /// <summary>Reads a value; returns the bytes it took, or 0 if the source ends early or the value exceeds 64 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Read(ReadOnlySpan<byte> source, out ulong value)
    {
        if (source.Length > 0 && source[0] < 0x80)
        {
            value = source[0];
            return 1;
        }

        return ReadLong(source, out value);
    }

    /// <summary>How many bytes <see cref="Write"/> takes for the value.</summary>
    public static int Length(ulong value) => (70 - System.Numerics.BitOperations.LeadingZeroCount(value | 1)) / 7;

    private static int ReadLong(ReadOnlySpan<byte> source, out ulong value)
    {
        ulong result = 0;
        for (int i = 0; i < source.Length && i < MaxLength; i++)
        {
            ulong group = source[i];
            if (i == MaxLength - 1 && group > 1)
            {
                break;
            }

            result |= (group & 0x7f) << (7 * i);
            if (group < 0x80)
            {
                value = result;
                return i + 1;
            }
        }

        value = 0;
        return 0;
    }
}
