using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Io;

/// <summary>
/// CRC32C (Castagnoli, RFC 3720 appendix B.4), the checksum of every record and block. Uses the processor's instruction
/// where there is one, through <see cref="BitOperations.Crc32C(uint, ulong)"/>.
/// </summary>
/// <remarks>
/// The instruction's result is there three cycles later, but one can begin in each: so longer data are taken as three stretches
/// side by side, whose checksums are then put together (Gopal et al., Fast CRC Computation for iSCSI Polynomial Using CRC32
/// Instruction, Intel 2011; the tables are those of Adler's crc32c.c).
/// </remarks>
internal static class Crc32C
{
    private const int LongBytes = 1024;
    private const int ShortBytes = 128;

    private static readonly uint[] LongShift = ShiftTable(LongBytes);
    private static readonly uint[] ShortShift = ShiftTable(ShortBytes);

    public static uint Compute(ReadOnlySpan<byte> data) => ~Update(~0u, data);

    /// <summary>Continues a checksum returned by <see cref="Compute"/> or <see cref="Extend"/> over more data.</summary>
    public static uint Extend(uint checksum, ReadOnlySpan<byte> data) => ~Update(~checksum, data);

    private static uint Update(uint state, ReadOnlySpan<byte> data)
    {
        ref byte start = ref MemoryMarshal.GetReference(data);
        int i = 0;
        if (data.Length >= 3 * ShortBytes)
        {
            for (; i + (3 * LongBytes) <= data.Length; i += 3 * LongBytes)
            {
                state = UpdateThree(state, ref Unsafe.Add(ref start, i), LongBytes, LongShift);
            }

            for (; i + (3 * ShortBytes) <= data.Length; i += 3 * ShortBytes)
            {
                state = UpdateThree(state, ref Unsafe.Add(ref start, i), ShortBytes, ShortShift);
            }
        }

        for (; i + 8 <= data.Length; i += 8)
        {
            state = BitOperations.Crc32C(state, Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref start, i)));
        }

        for (; i < data.Length; i++)
        {
            state = BitOperations.Crc32C(state, Unsafe.Add(ref start, i));
        }

        return state;
    }

    private static uint UpdateThree(uint state, ref byte start, int bytes, uint[] shift)
    {
        ref byte second = ref Unsafe.Add(ref start, bytes);
        ref byte third = ref Unsafe.Add(ref second, bytes);
        uint b = 0;
        uint c = 0;
        for (int i = 0; i < bytes; i += 8)
        {
            state = BitOperations.Crc32C(state, Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref start, i)));
            b = BitOperations.Crc32C(b, Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref second, i)));
            c = BitOperations.Crc32C(c, Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref third, i)));
        }

        return Shift(shift, Shift(shift, state) ^ b) ^ c;
    }

    /// <summary>The state after as many zero bytes as the table is for.</summary>
    private static uint Shift(uint[] table, uint state) =>
        table[state & 0xff] ^ table[256 + ((state >> 8) & 0xff)] ^ table[512 + ((state >> 16) & 0xff)] ^ table[768 + (state >> 24)];

    /// <summary>For each byte of a state and each of its values, what becomes of it behind so many zero bytes: the operation is linear.</summary>
    private static uint[] ShiftTable(int zeros)
    {
        Span<uint> ofBit = stackalloc uint[32];
        for (int bit = 0; bit < 32; bit++)
        {
            uint state = 1u << bit;
            for (int i = 0; i < zeros; i += 8)
            {
                state = BitOperations.Crc32C(state, 0UL);
            }

            ofBit[bit] = state;
        }

        uint[] table = new uint[4 * 256];
        for (int i = 0; i < table.Length; i++)
        {
            for (int bit = 0; bit < 8; bit++)
            {
                table[i] ^= ((i >> bit) & 1) != 0 ? ofBit[(i / 256 * 8) + bit] : 0;
            }
        }

        return table;
    }
}
