using System.Diagnostics;

namespace KeyVa.Engines.Lsm;

/// <summary>Blocks in the order in which they came: a list through the blocks themselves. Guarded by the lock of its shard.</summary>
internal unsafe struct BlockQueue(int number)
{
    private Block* _oldest;
    private Block* _newest;

    /// <summary>What <see cref="Block.Queue"/> says of those in here; not 0.</summary>
    public readonly int Number => number;

    public int Count { get; private set; }

    /// <summary>The charges of its blocks.</summary>
    public long Bytes { get; private set; }

    public readonly Block* Oldest => _oldest;

    public void Add(Block* block)
    {
        Debug.Assert(block->Queue == 0, "a block is in one queue");
        block->Queue = number;
        block->Next = null;
        block->Previous = _newest;
        if (_newest == null)
        {
            _oldest = block;
        }
        else
        {
            _newest->Next = block;
        }

        _newest = block;
        Count++;
        Bytes += block->Charge;
    }

    public void Remove(Block* block)
    {
        Debug.Assert(block->Queue == number, "the block is in this queue");
        block->Queue = 0;
        if (block->Previous == null)
        {
            _oldest = block->Next;
        }
        else
        {
            block->Previous->Next = block->Next;
        }

        if (block->Next == null)
        {
            _newest = block->Previous;
        }
        else
        {
            block->Next->Previous = block->Previous;
        }

        Count--;
        Bytes -= block->Charge;
    }

    /// <summary>Gives the oldest one another turn.</summary>
    public void Renew(Block* oldest)
    {
        Remove(oldest);
        Add(oldest);
    }
}
