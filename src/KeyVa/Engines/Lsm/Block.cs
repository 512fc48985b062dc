using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Engines.Lsm;

/// <summary>The head of a block in native memory; its bytes follow. See <see cref="BlockCache"/> for who may touch what.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct Block
{
    public const int HeadBytes = 64;

    /// <summary>Further reads are not counted, so that most hits write nothing.</summary>
    public const int MostReads = 3;

    /// <summary>Where the table keeps the pointer to this block; null when it is in no table (any more).</summary>
    public nint* Slot;

    /// <summary>Its neighbours in its queue. Under the shard's lock.</summary>
    public Block* Next;
    public Block* Previous;

    /// <summary>Cursors on the block; negative: on its way out, cannot be pinned.</summary>
    public int Pins;

    /// <summary>Reads since it came or was last passed over, up to <see cref="MostReads"/>.</summary>
    public int Reads;

    /// <summary>Bytes of the block, without trailer.</summary>
    public int Length;

    /// <summary>The queue it is in; 0: none.</summary>
    public int Queue;

    // A data block's parts, from its footer.
    public int Restarts;
    public int Buckets;
    public int EntriesEnd;
    public int RestartsEnd;

    /// <summary>Bytes it counts for in the cache.</summary>
    public readonly int Charge => HeadBytes + Length + BlockFormat.ReadSlack;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Data(Block* block) => (byte*)block + HeadBytes;

    public static Block* Allocate(int length)
    {
        Block* block = (Block*)NativeMemory.Alloc((nuint)HeadBytes + (nuint)length + BlockFormat.ReadSlack + BlockFormat.TrailerBytes);
        *block = default;
        block->Length = length;
        return block;
    }

    public static void Free(Block* block) => NativeMemory.Free(block);

    /// <summary>Reads a data block's footer; false if its parts do not fit its length.</summary>
    public static bool TryParse(Block* block)
    {
        int length = block->Length;
        if (length < BlockFormat.FooterBytes + 4)
        {
            return false;
        }

        byte* data = Data(block);
        uint restarts = Unsafe.ReadUnaligned<uint>(data + length - 8);
        uint buckets = Unsafe.ReadUnaligned<uint>(data + length - 4);
        long entriesEnd = length - BlockFormat.FooterBytes - buckets - (4L * restarts);
        if (restarts == 0 || entriesEnd <= 0)
        {
            return false;
        }

        block->Restarts = (int)restarts;
        block->Buckets = (int)buckets;
        block->EntriesEnd = (int)entriesEnd;
        block->RestartsEnd = (int)(entriesEnd + (4L * restarts));
        return true;
    }

    /// <summary>Keeps the block from being freed; false if it is already on its way out. Inside an epoch.</summary>
    public static bool TryPin(Block* block)
    {
        ref int pins = ref block->Pins;
        int seen = Volatile.Read(ref pins);
        while (seen >= 0)
        {
            int found = Interlocked.CompareExchange(ref pins, seen + 1, seen);
            if (found == seen)
            {
                return true;
            }

            seen = found;
        }

        return false;
    }
}
