using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace KeyVa.Engines.Memory;

/// <summary>
/// The index of the memory engine: extendible hashing (Fagin et al., 1979) on the top bits of the hash. The directory
/// points to segments; a segment that is full is split in two, alone, so growth costs a bounded piece of work per put.
/// </summary>
/// <remarks>
/// <para>Thread-safety. One writer. Readers are inside an <see cref="Epochs"/> stay and never wait: they load the
/// directory, then a segment, then a slot. A split builds two new segments beside the old one and then redirects the
/// directory; a reader that still holds the old segment finds in it everything it may see, since the segment does not
/// change any more and what comes later has a version above the one it reads at.</para>
/// <para>Invariants.
/// 1. Bucket order is hash order, whatever the depth: all bits that place a key are taken from the top of its hash.
/// 2. A key has at most one slot among all segments reachable from the directory.
/// 3. What is replaced (segments, lines, directories) goes to the queue of unlinked blocks, never straight to the allocator.
/// 4. The directory has at most one entry per <see cref="KeysPerEntry"/> keys (but for the first), so hashes
///    that collide on purpose make long buckets and not a huge directory.
/// </para>
/// <para>Doubling the directory copies eight bytes per 150 to 300 keys: about a millisecond at forty million keys, once.</para>
/// <code>directory: | depth (8) | segment pointer (8) × 2^depth |</code>
/// </remarks>
internal sealed unsafe class HashIndex
{
    /// <summary>Slots in use at which a segment is split: five of seven slots of each bucket.</summary>
    private const int SplitAt = 320;

    private const int KeysPerEntry = 64;
    private const int MaxDepth = 32;

    private readonly SlabAllocator _memory;
    private readonly NativeQueue _unlinked;

    /// <summary>Written by the writer, read by anyone. 0 after <see cref="Close"/>.</summary>
    private nint _directory;

    public HashIndex(SlabAllocator memory, NativeQueue unlinked, long expectedKeys)
    {
        _memory = memory;
        _unlinked = unlinked;
        int depth = 0;
        while (depth < MaxDepth && (SplitAt * 3L / 4) << depth < expectedKeys)
        {
            depth++;
        }

        byte* directory = NewDirectory(depth);
        for (long i = 0; i < 1L << depth; i++)
        {
            Segment* segment = NewSegment(depth, depth == 0 ? 0 : (ulong)i << (64 - depth));
            segment->MinExpiry = long.MaxValue;
            Entries(directory)[i] = (nint)segment;
        }

        _directory = (nint)directory;
    }

    /// <summary>Slots in use. Writer only.</summary>
    public long Count { get; private set; }

    /// <summary>The newest version of a key, tombstones too, or null.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Node* Find(ulong hash, ReadOnlySpan<byte> key)
    {
        _ = Segment.Find(Segment.LineOf(SegmentOf(hash), hash), hash, key, out Node* head);
        return head;
    }

    /// <summary>The segment of a hash, for a reader or the writer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Segment* SegmentOf(ulong hash)
    {
        byte* directory = (byte*)Volatile.Read(ref _directory);
        if (directory is null)
        {
            ThrowClosed();
        }

        int depth = *(int*)directory;
        return (Segment*)Volatile.Read(ref Entries(directory)[(nint)((hash >> 1) >> (63 - depth))]);
    }

    /// <summary>Links a version in front of its key's others. Writer only; returns the former newest version, or null.</summary>
    public Node* Link(Node* node)
    {
        Segment* segment = SegmentOf(node->Hash);
        ulong* slot = Segment.Find(Segment.LineOf(segment, node->Hash), node->Hash, Node.KeyOf(node), out Node* head);
        node->Older = (nint)head;
        if (node->ExpiresAt != 0 && node->ExpiresAt < segment->MinExpiry)
        {
            segment->MinExpiry = node->ExpiresAt;
        }

        if (slot is not null)
        {
            Volatile.Write(ref *slot, Segment.Word(node));
            return head;
        }

        AddTo(segment, node);
        Count++;
        if (segment->Count >= SplitAt)
        {
            Split(segment);
        }

        return null;
    }

    /// <summary>Frees the slot of a node if it is its key's newest version; the node itself stays the caller's. Writer only.</summary>
    public bool TryUnlink(Node* node)
    {
        Segment* segment = SegmentOf(node->Hash);
        ulong word = Segment.Word(node);
        for (ulong* line = Segment.LineOf(segment, node->Hash); line is not null; line = Segment.NextLine(line))
        {
            for (int i = 0; i < Segment.SlotsPerLine; i++)
            {
                if (line[i] == word)
                {
                    Volatile.Write(ref line[i], 0);
                    segment->Count--;
                    Count--;
                    return true;
                }
            }
        }

        return false;
    }

    /// <summary>From here on readers are refused; the memory is the caller's to free.</summary>
    public void Close() => Volatile.Write(ref _directory, 0);

    private static nint* Entries(byte* directory) => (nint*)(directory + sizeof(long));

    private static int DirectoryBytes(int depth) => checked(sizeof(long) + (sizeof(long) << depth));

    private static void ThrowClosed() => throw new ObjectDisposedException(nameof(MemoryEngine));

    private byte* NewDirectory(int depth)
    {
        byte* directory = (byte*)_memory.Allocate(DirectoryBytes(depth));
        *(long*)directory = depth;
        return directory;
    }

    private Segment* NewSegment(int depth, ulong prefix)
    {
        Segment* segment = (Segment*)_memory.Allocate(Segment.Bytes);
        new Span<byte>(segment, Segment.Bytes).Clear();
        segment->Depth = depth;
        segment->Prefix = prefix;
        return segment;
    }

    /// <summary>Puts a key that has no slot yet into the first free one, or into a new line.</summary>
    private void AddTo(Segment* segment, Node* node)
    {
        ulong* line = Segment.LineOf(segment, node->Hash);
        while (true)
        {
            for (int i = 0; i < Segment.SlotsPerLine; i++)
            {
                if (line[i] == 0)
                {
                    Volatile.Write(ref line[i], Segment.Word(node));
                    segment->Count++;
                    return;
                }
            }

            ulong* next = Segment.NextLine(line);
            if (next is null)
            {
                next = (ulong*)_memory.Allocate(Segment.LineBytes);
                new Span<byte>(next, Segment.LineBytes).Clear();
                Volatile.Write(ref line[Segment.SlotsPerLine], (ulong)next);
            }

            line = next;
        }
    }

    private void Split(Segment* old)
    {
        byte* directory = (byte*)_directory;
        int depth = *(int*)directory;
        if (old->Depth == depth)
        {
            if (depth == MaxDepth || (long)KeysPerEntry << (depth + 1) > Count)
            {
                return;
            }

            directory = DoubleDirectory(directory, depth++);
        }

        ulong half = 1UL << (63 - old->Depth);
        Segment* low = NewSegment(old->Depth + 1, old->Prefix);
        Segment* high = NewSegment(old->Depth + 1, old->Prefix | half);
        low->MinExpiry = long.MaxValue;
        high->MinExpiry = long.MaxValue;
        for (int bucket = 0; bucket < Segment.Buckets; bucket++)
        {
            Prefetch(old, bucket + 2);
            Segment* target = bucket < Segment.Buckets / 2 ? low : high;
            for (ulong* line = Segment.Line(old, bucket); line is not null; line = Segment.NextLine(line))
            {
                MoveLine(line, target);
            }
        }

        nint* entry = Entries(directory) + (nint)((old->Prefix >> 1) >> (63 - depth));
        long span = 1L << (depth - old->Depth);
        for (long i = 0; i < span; i++)
        {
            Debug.Assert(entry[i] == (nint)old, "a segment owns the whole range of its prefix");
            Volatile.Write(ref entry[i], (nint)(i < span / 2 ? low : high));
        }

        Discard(old);
    }

    private void MoveLine(ulong* line, Segment* target)
    {
        for (int i = 0; i < Segment.SlotsPerLine; i++)
        {
            Node* node = Segment.NodeAt(line + i);
            if (node is null)
            {
                continue;
            }

            AddTo(target, node);
            if (node->ExpiresAt != 0 && node->ExpiresAt < target->MinExpiry)
            {
                target->MinExpiry = node->ExpiresAt;
            }
        }
    }

    private byte* DoubleDirectory(byte* directory, int depth)
    {
        byte* doubled = NewDirectory(depth + 1);
        for (long i = 0; i < 1L << depth; i++)
        {
            Entries(doubled)[2 * i] = Entries(directory)[i];
            Entries(doubled)[(2 * i) + 1] = Entries(directory)[i];
        }

        Volatile.Write(ref _directory, (nint)doubled);
        _unlinked.Enqueue((nint)directory, DirectoryBytes(depth));
        return doubled;
    }

    private void Discard(Segment* segment)
    {
        for (int bucket = 0; bucket < Segment.Buckets; bucket++)
        {
            ulong* line = Segment.NextLine(Segment.Line(segment, bucket));
            while (line is not null)
            {
                ulong* next = Segment.NextLine(line);
                _unlinked.Enqueue((nint)line, Segment.LineBytes);
                line = next;
            }
        }

        _unlinked.Enqueue((nint)segment, Segment.Bytes);
    }

    /// <summary>A split reads every node for its hash; asking for them early overlaps the cache misses.</summary>
    private static void Prefetch(Segment* segment, int bucket)
    {
        if (Sse.IsSupported && bucket < Segment.Buckets)
        {
            ulong* line = Segment.Line(segment, bucket);
            for (int i = 0; i < Segment.SlotsPerLine; i++)
            {
                Node* node = Segment.NodeAt(line + i);
                if (node is not null)
                {
                    Sse.Prefetch0(&node->Hash);
                }
            }
        }
    }
}
