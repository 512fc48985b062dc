using System.Runtime.CompilerServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// The 64-bit hash of keys in filters and block hash indexes: multiply and fold, after Wang Yi's wyhash. It is part of
/// the SSTable format (version 1) and never changes under that version.
/// </summary>
internal static unsafe class KeyHash
{
    private const ulong S0 = 0xa0761d6478bd642f;
    private const ulong S1 = 0xe7037ed1a0b428db;
    private const ulong S2 = 0x8ebc6af09c88c6e3;

    public static ulong Compute(byte* key, int length)
    {
        ulong state = S0;
        byte* p = key;
        int left = length;
        for (; left > 16; left -= 16, p += 16)
        {
            state = Fold(Read8(p) ^ S1, Read8(p + 8) ^ state);
        }

        ulong a;
        ulong b;
        if (left >= 8)
        {
            a = Read8(p);
            b = Read8(p + left - 8);
        }
        else if (left >= 4)
        {
            a = Unsafe.ReadUnaligned<uint>(p);
            b = Unsafe.ReadUnaligned<uint>(p + left - 4);
        }
        else if (left > 0)
        {
            a = ((ulong)p[0] << 16) | ((ulong)p[left >> 1] << 8) | p[left - 1];
            b = 0;
        }
        else
        {
            a = 0;
            b = 0;
        }

        return Fold(S1 ^ (ulong)length, Fold(a ^ S2, b ^ state));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Read8(byte* p) => Unsafe.ReadUnaligned<ulong>(p);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Fold(ulong a, ulong b)
    {
        ulong high = Math.BigMul(a, b, out ulong low);
        return high ^ low;
    }
}
