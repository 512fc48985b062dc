using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Io;

/// <summary>
/// CRC32C (Castagnoli, RFC 3720 appendix B.4), the checksum of every record and block. Uses the processor's instruction
/// where there is one, through <see cref="BitOperations.Crc32C(uint, ulong)"/>.
/// </summary>
internal static class Crc32C
{
    public static uint Compute(ReadOnlySpan<byte> data) => ~Update(~0u, data);

    /// <summary>Continues a checksum returned by <see cref="Compute"/> or <see cref="Extend"/> over more data.</summary>
    public static uint Extend(uint checksum, ReadOnlySpan<byte> data) => ~Update(~checksum, data);

    private static uint Update(uint state, ReadOnlySpan<byte> data)
    {
        ref byte start = ref MemoryMarshal.GetReference(data);
        int i = 0;
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
}
