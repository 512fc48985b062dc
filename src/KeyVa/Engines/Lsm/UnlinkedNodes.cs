using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Engines.Lsm;

/// <summary>A node that is in no order yet. While it is sorted, the head may be that of a later part of its key.</summary>
internal unsafe struct UnlinkedNode
{
    public ulong Head;
    public SkipNode* Node;
}

/// <summary>
/// Nodes of a skip list that nobody looks for yet, in the order in which they came: sorted all at once they cost a few passes over
/// 16 bytes each, where a search for the place of each waits for the memory of some twenty nodes.
/// </summary>
/// <remarks>One thread at a time. Its memory, outside the GC heap, is charged to a budget as buffers.</remarks>
internal sealed unsafe class UnlinkedNodes(MemoryBudget? budget) : IDisposable
{
    /// <summary>So many at most: 256 MiB, and as much again while they are sorted.</summary>
    public const int Most = 1 << 24;

    private const int FirstCapacity = 4096;

    private UnlinkedNode* _nodes;
    private int _capacity;

    ~UnlinkedNodes() => NativeMemory.Free(_nodes);

    public int Count { get; private set; }

    public ReadOnlySpan<UnlinkedNode> Nodes => new(_nodes, Count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Add(SkipNode* node)
    {
        if (Count == _capacity)
        {
            Grow();
        }

        UnlinkedNode* next = _nodes + Count++;
        next->Head = node->Head;
        next->Node = node;
    }

    /// <summary>Puts them into the list's order. What is the same in key came by rising version.</summary>
    public void Sort()
    {
        long bytes = (long)Count * sizeof(UnlinkedNode);
        budget?.Charge(MemoryKind.Buffers, bytes);
        UnlinkedNode* scratch = (UnlinkedNode*)NativeMemory.Alloc((nuint)bytes);
        try
        {
            SkipNodeSort.Sort(_nodes, scratch, Count);
        }
        finally
        {
            NativeMemory.Free(scratch);
            budget?.Release(MemoryKind.Buffers, bytes);
        }
    }

    /// <summary>They are linked; the memory of many goes back to the system.</summary>
    public void Clear()
    {
        Count = 0;
        if (_capacity > FirstCapacity)
        {
            Free();
        }
    }

    public void Dispose()
    {
        Count = 0;
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        NativeMemory.Free(_nodes);
        _nodes = null;
        budget?.Release(MemoryKind.Buffers, (long)_capacity * sizeof(UnlinkedNode));
        _capacity = 0;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Grow()
    {
        Debug.Assert(Count < Most, "the list links them before there are too many");
        int capacity = Math.Max(FirstCapacity, _capacity * 2);
        _nodes = (UnlinkedNode*)NativeMemory.Realloc(_nodes, (nuint)capacity * (nuint)sizeof(UnlinkedNode));
        budget?.Charge(MemoryKind.Buffers, (long)(capacity - _capacity) * sizeof(UnlinkedNode));
        _capacity = capacity;
    }
}
