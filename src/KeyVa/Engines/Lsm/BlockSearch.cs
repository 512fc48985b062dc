using System.Runtime.CompilerServices;

namespace KeyVa.Engines.Lsm;

/// <summary>Finds entries in a block that has passed its checksum. Pure functions over native memory.</summary>
internal static unsafe class BlockSearch
{
    /// <summary>The newest entry of the key at or below the version; false if the block has none.</summary>
    public static bool TryFind(Block* block, byte* key, int keyLength, ulong hash, long at, long versionBase, long stampBase, out BlockEntry entry)
    {
        int interval = -1;
        if (block->Buckets > 0)
        {
            byte bucket = Block.Data(block)[block->RestartsEnd + BlockBuilder.Bucket(hash, block->Buckets)];
            if (bucket == BlockFormat.NoEntry)
            {
                entry = default;
                return false;
            }

            interval = bucket == BlockFormat.Collision ? -1 : bucket;
        }

        if (interval < 0)
        {
            interval = FindInterval(block, key, keyLength, at, versionBase);
        }

        return ScanFor(block, interval, key, keyLength, at, versionBase, stampBase, out entry);
    }

    /// <summary>The last restart interval whose first entry is at or before (key, version), or the first interval.</summary>
    public static int FindInterval(Block* block, byte* key, int keyLength, long version, long versionBase)
    {
        int low = 0;
        int high = block->Restarts - 1;
        while (low < high)
        {
            int middle = (int)(((uint)low + (uint)high + 1) >> 1);
            byte* p = RestartAt(block, middle);
            byte* fixedPart = BlockFormat.DecodeLengths(p, out int flags, out _, out int length, out _);
            byte* candidate = fixedPart + BlockFormat.FixedBytes(flags);
            int order = KeyOrder.Compare(candidate, length, key, keyLength);
            bool before = order != 0
                ? order < 0
                : versionBase + (long)BlockFormat.ReadWidth(fixedPart, flags >> 4) >= version;
            if (before)
            {
                low = middle;
            }
            else
            {
                high = middle - 1;
            }
        }

        return low;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* RestartAt(Block* block, int interval) =>
        Block.Data(block) + Unsafe.ReadUnaligned<uint>(Block.Data(block) + block->EntriesEnd + (4 * interval));

    /// <summary>
    /// Goes over the entries from a restart on without building their keys: <c>matched</c> is how many bytes of the key
    /// the entry before had in common with it, that entry being smaller. An entry that shares more than that with its
    /// predecessor is smaller too; one that shares less is greater, and the search is over.
    /// </summary>
    private static bool ScanFor(Block* block, int interval, byte* key, int keyLength, long at, long versionBase, long stampBase, out BlockEntry entry)
    {
        byte* p = RestartAt(block, interval);
        byte* end = Block.Data(block) + block->EntriesEnd;
        int matched = 0;
        while (p < end)
        {
            byte* fixedPart = BlockFormat.DecodeLengths(p, out int flags, out int shared, out int unshared, out int valueLength);
            byte* suffix = fixedPart + BlockFormat.FixedBytes(flags);
            if (shared == 0)
            {
                matched = 0;
            }

            if (shared < matched)
            {
                break;
            }

            if (shared == matched)
            {
                int rest = keyLength - matched;
                int common = KeyOrder.CommonLength(suffix, key + matched, Math.Min(unshared, rest));
                matched += common;
                if (common == unshared)
                {
                    if (common == rest && versionBase + (long)BlockFormat.ReadWidth(fixedPart, flags >> 4) <= at)
                    {
                        BlockFormat.Decode(p, versionBase, stampBase, out entry);
                        return true;
                    }
                }
                else if (common == rest || suffix[common] > key[matched])
                {
                    break;
                }
            }

            p = suffix + unshared + valueLength;
        }

        entry = default;
        return false;
    }
}
