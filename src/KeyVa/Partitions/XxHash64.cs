using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Partitions;

/// <summary>
/// XXH64 (Yann Collet, "xxHash fast digest algorithm", specification 0.1.1). Its value places keys: in partitions under
/// the hash strategy and in the memory engine's index, so it never changes.
/// </summary>
internal static class XxHash64
{
    private const ulong Prime1 = 0x9E3779B185EBCA87;
    private const ulong Prime2 = 0xC2B2AE3D27D4EB4F;
    private const ulong Prime3 = 0x165667B19E3779F9;
    private const ulong Prime4 = 0x85EBCA77C2B2AE63;
    private const ulong Prime5 = 0x27D4EB2F165667C5;
    private const int StripeBytes = 32;

    public static ulong Compute(ReadOnlySpan<byte> data, ulong seed = 0)
    {
        ref byte start = ref MemoryMarshal.GetReference(data);
        int length = data.Length;
        int at = 0;
        ulong hash = seed + Prime5;
        if (length >= StripeBytes)
        {
            hash = Stripes(ref start, length, seed);
            at = length & ~(StripeBytes - 1);
        }

        hash += (ulong)length;
        for (; at + 8 <= length; at += 8)
        {
            hash = (BitOperations.RotateLeft(hash ^ Round(0, Read64(ref start, at)), 27) * Prime1) + Prime4;
        }

        if (at + 4 <= length)
        {
            hash = (BitOperations.RotateLeft(hash ^ (Read32(ref start, at) * Prime1), 23) * Prime2) + Prime3;
            at += 4;
        }

        for (; at < length; at++)
        {
            hash = BitOperations.RotateLeft(hash ^ (Unsafe.Add(ref start, at) * Prime5), 11) * Prime1;
        }

        hash = (hash ^ (hash >> 33)) * Prime2;
        hash = (hash ^ (hash >> 29)) * Prime3;
        return hash ^ (hash >> 32);
    }

    /// <summary>The four lanes over all whole stripes, merged.</summary>
    private static ulong Stripes(ref byte start, int length, ulong seed)
    {
        ulong a = seed + Prime1 + Prime2;
        ulong b = seed + Prime2;
        ulong c = seed;
        ulong d = seed - Prime1;
        for (int at = 0; at + StripeBytes <= length; at += StripeBytes)
        {
            a = Round(a, Read64(ref start, at));
            b = Round(b, Read64(ref start, at + 8));
            c = Round(c, Read64(ref start, at + 16));
            d = Round(d, Read64(ref start, at + 24));
        }

        ulong hash = BitOperations.RotateLeft(a, 1) + BitOperations.RotateLeft(b, 7)
            + BitOperations.RotateLeft(c, 12) + BitOperations.RotateLeft(d, 18);
        hash = Merge(hash, a);
        hash = Merge(hash, b);
        hash = Merge(hash, c);
        return Merge(hash, d);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Round(ulong lane, ulong input) => BitOperations.RotateLeft(lane + (input * Prime2), 31) * Prime1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Merge(ulong hash, ulong lane) => ((hash ^ Round(0, lane)) * Prime1) + Prime4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Read64(ref byte start, int at)
    {
        ulong value = Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref start, at));
        return BitConverter.IsLittleEndian ? value : System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Read32(ref byte start, int at)
    {
        uint value = Unsafe.ReadUnaligned<uint>(ref Unsafe.Add(ref start, at));
        return BitConverter.IsLittleEndian ? value : System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(value);
    }
}
