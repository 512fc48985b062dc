using System.Runtime.CompilerServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Whether a data block may be searched: the checksum says that the bytes are those that were written, not that they make
/// sense. Searches and cursors check nothing and rely on it. Verification looks at every block; reads only if
/// <see cref="IsCheckedOnRead"/>, since it costs a quarter of an uncached read (docs/decisions/trusted-blocks.md).
/// Pure functions over native memory.
/// </summary>
/// <remarks>
/// Sound means, of a block that <see cref="Block.TryParse"/> has taken:
/// 1. the entries fill the bytes up to the restarts, and each lies within them;
/// 2. an entry shares no more of a key than the one before it has, and no key is longer than a key may be;
/// 3. every restart is where an entry begins that shares nothing, the first one is the first entry, and they rise;
/// 4. every bucket names a restart interval that is there, or none.
/// Order is not among it: out of order, keys are not found, but nothing outside the block is read.
/// </remarks>
internal static unsafe class BlockStructure
{
    /// <summary>Reads look at every block that comes from the disk: the switch KeyVa.CheckBlocks of the runtime's configuration, which the fuzzing turns on.</summary>
    public static readonly bool IsCheckedOnRead = AppContext.TryGetSwitch("KeyVa.CheckBlocks", out bool isOn) && isOn;

    /// <summary>A block as it comes from the disk; false if it must not be used.</summary>
    public static bool TryAccept(Block* block) => Block.TryParse(block) && (!IsCheckedOnRead || IsSound(block));

    public static bool IsSound(Block* block)
    {
        byte* data = Block.Data(block);
        byte* end = data + block->EntriesEnd;
        int restarts = block->Restarts;
        int restart = 0;
        long nextRestart = Unsafe.ReadUnaligned<uint>(end);
        int keyLength = 0;
        if (nextRestart != 0)
        {
            return false;
        }

        for (byte* p = data; p < end;)
        {
            byte* at = BlockFormat.DecodeLengths(p, out int flags, out int shared, out int unshared, out int valueLength);
            at += BlockFormat.FixedBytes(flags);
            if (p - data == nextRestart)
            {
                keyLength = 0;
                restart++;
                nextRestart = restart < restarts ? Unsafe.ReadUnaligned<uint>(end + (4 * restart)) : -1;
            }

            // As unsigned numbers: what is negative is too much.
            if ((uint)shared > (uint)keyLength || (uint)unshared > Limits.MaxStoredKeyBytes || (uint)valueLength > int.MaxValue
                || end - at < (long)unshared + valueLength)
            {
                return false;
            }

            keyLength = shared + unshared;
            p = at + unshared + valueLength;
            if (keyLength > Limits.MaxStoredKeyBytes)
            {
                return false;
            }
        }

        return restart == restarts
            && (restarts >= BlockFormat.NoEntry || !new ReadOnlySpan<byte>(data + block->RestartsEnd, block->Buckets).ContainsAnyInRange((byte)restarts, (byte)(BlockFormat.NoEntry - 1)));
    }
}
