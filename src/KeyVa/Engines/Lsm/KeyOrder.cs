using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Engines.Lsm;

/// <summary>What an entry says about its key. The numbers are part of the SSTable format.</summary>
internal enum EntryKind : byte
{
    Tombstone = 0,
    Value = 1,

    /// <summary>A value that stands in a value file; the entry has a <see cref="ValueReference"/> to it.</summary>
    Reference = 2,

    // 3 is kept for merge operands.
}

/// <summary>
/// The order of entries: by key, bytewise; entries of one key by version, newest first. Keys are compared by their
/// head, the first eight bytes as a big-endian number (short keys padded with zeros), and only on a tie byte by byte.
/// </summary>
internal static unsafe class KeyOrder
{
    /// <summary>A version behind all versions of a key in the order.</summary>
    public const long BehindAll = -1;

    /// <summary>A version before all versions of a key in the order.</summary>
    public const long BeforeAll = long.MaxValue;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Head(byte* key, int length) =>
        length >= 8 ? BinaryPrimitives.ReverseEndianness(Unsafe.ReadUnaligned<ulong>(key)) : ShortHead(key, length);

    /// <summary>Compares two keys whose heads are equal.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int CompareTails(byte* a, int aLength, byte* b, int bLength) =>
        aLength >= 8 && bLength >= 8 ? CompareFrom(8, a, aLength, b, bLength) : CompareFrom(0, a, aLength, b, bLength);

    public static int Compare(byte* a, int aLength, byte* b, int bLength) => CompareFrom(0, a, aLength, b, bLength);

    public static int Compare(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b) => a.SequenceCompareTo(b);

    /// <summary>How many bytes two runs have in common at their beginning, at most <paramref name="limit"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int CommonLength(byte* a, byte* b, int limit)
    {
        int i = 0;
        for (; i + 8 <= limit; i += 8)
        {
            ulong difference = Unsafe.ReadUnaligned<ulong>(a + i) ^ Unsafe.ReadUnaligned<ulong>(b + i);
            if (difference != 0)
            {
                return i + (BitOperations.TrailingZeroCount(difference) >> 3);
            }
        }

        for (; i < limit && a[i] == b[i]; i++)
        {
        }

        return i;
    }

    /// <summary>Copies a key into memory that stays where it is, so that it can be pointed into.</summary>
    public static byte[] Pin(ReadOnlySpan<byte> key)
    {
        // One byte at least: an empty array has no element to point to.
        byte[] pinned = GC.AllocateUninitializedArray<byte>(Math.Max(1, key.Length), pinned: true);
        key.CopyTo(pinned);
        return pinned;
    }

    public static byte* Address(byte[] pinned) => (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(pinned));

    private static int CompareFrom(int start, byte* a, int aLength, byte* b, int bLength)
    {
        int limit = Math.Min(aLength, bLength);
        int i = start;
        for (; i + 8 <= limit; i += 8)
        {
            ulong x = Unsafe.ReadUnaligned<ulong>(a + i);
            ulong y = Unsafe.ReadUnaligned<ulong>(b + i);
            if (x != y)
            {
                return BinaryPrimitives.ReverseEndianness(x) < BinaryPrimitives.ReverseEndianness(y) ? -1 : 1;
            }
        }

        for (; i < limit; i++)
        {
            if (a[i] != b[i])
            {
                return a[i] < b[i] ? -1 : 1;
            }
        }

        return aLength - bLength;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static ulong ShortHead(byte* key, int length)
    {
        ulong head = 0;
        for (int i = 0; i < length; i++)
        {
            head |= (ulong)key[i] << (56 - (8 * i));
        }

        return head;
    }
}
