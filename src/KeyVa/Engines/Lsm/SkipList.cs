using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace KeyVa.Engines.Lsm;

/// <summary>The fixed part of a skip-list node; the links follow it, then the key, then the value.</summary>
/// <remarks>
/// <code>
///  0 head u64 | 8 version i64 | 16 stamp i64 | 24 expiresAt i64 | 32 valueLength i32 | 36 keyLength u16 | 38 kind | 39 height
/// 40 links: height x pointer | key | value
/// </code>
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SkipNode
{
    public const int FixedBytes = 40;

    public ulong Head;
    public long Version;
    public long Stamp;
    public long ExpiresAt;
    public int ValueLength;
    public ushort KeyLength;
    public EntryKind Kind;
    public byte Height;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static SkipNode** Links(SkipNode* node) => (SkipNode**)((byte*)node + FixedBytes);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Key(SkipNode* node) => (byte*)node + FixedBytes + (node->Height * sizeof(nint));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Value(SkipNode* node) => Key(node) + node->KeyLength;
}

/// <summary>
/// The memtable's structure: a skip list (Pugh 1990) of entries in <see cref="KeyOrder"/>, in native memory.
/// </summary>
/// <remarks>
/// <para>Thread-safety. One thread inserts; any number read meanwhile, without locks. The owner keeps the list alive
/// while anyone reads (epochs, or a pin on the superversion).</para>
/// <para>Invariants.
/// 1. Nodes are never removed or changed, but for their links.
/// 2. A node is complete before a link to it is written (with release), so who sees a link (with acquire) sees the node.
/// 3. The list at a level is a sublist of the one below.
/// 4. The splice holds, per level, the neighbours of the last insert. Levels are nested: where the new entry fits between
///    the neighbours of level 0, it fits on all levels; so a run of rising keys costs one comparison or two each.
/// 5. While links are deferred, nodes that are not linked yet are found by nobody; the owner has them linked before anyone looks.
/// </para>
/// </remarks>
internal sealed unsafe class SkipList : IDisposable
{
    /// <summary>Enough for 4^12 entries at a branching of four.</summary>
    public const int MaxHeight = 12;

    /// <summary>So few nodes without links are searched for one by one: a sort begins a new splice, which a run of rising keys would miss.</summary>
    private const int FewUnlinked = 8;

    /// <summary>How many nodes ahead the memory of the one that will be linked is asked for.</summary>
    private const int LinkAhead = 8;

    // Immutable after construction.
    private readonly MemoryBudget? _budget;
    private readonly Arena _arena;
    private readonly SkipNode* _first;

    // Writer-owned.
    private readonly SkipNode*[] _before = new SkipNode*[MaxHeight];
    private readonly SkipNode*[] _behind = new SkipNode*[MaxHeight];
    private ulong _random = 0x9E3779B97F4A7C15;

    // Null: each node is linked as it comes.
    private UnlinkedNodes? _unlinked;

    // Written by the writer, read by all.
    private int _height = 1;

    public SkipList(MemoryBudget? budget = null)
    {
        _budget = budget;
        _arena = new Arena(budget);
        _first = (SkipNode*)_arena.Allocate(SkipNode.FixedBytes + (MaxHeight * sizeof(nint)));
        *_first = default;
        _first->Height = MaxHeight;
        for (int i = 0; i < MaxHeight; i++)
        {
            SkipNode.Links(_first)[i] = null;
            _before[i] = _first;
        }
    }

    public long AllocatedBytes => _arena.AllocatedBytes;

    /// <summary>Writer only.</summary>
    public long UsedBytes => _arena.UsedBytes;

    /// <summary>See <see cref="Arena.MoveTo"/>.</summary>
    public void MoveTo(MemoryKind kind) => _arena.MoveTo(kind);

    /// <summary>Adds an entry that is not there yet. Writer only.</summary>
    public void Insert(byte* key, int keyLength, long version, EntryKind kind, long stamp, long expiresAt, ReadOnlySpan<byte> value)
    {
        ulong head = KeyOrder.Head(key, keyLength);
        if (_unlinked is not null)
        {
            Defer(Create(head, key, keyLength, version, kind, stamp, expiresAt, value));
            return;
        }

        if (!FitsSplice(key, keyLength, head, version))
        {
            FindSplice(key, keyLength, head, version);
        }

        Link(Create(head, key, keyLength, version, kind, stamp, expiresAt, value));
    }

    /// <summary>
    /// From here on nodes are linked by <see cref="LinkDeferred"/> alone; until then nobody may look for what was inserted. The versions of a
    /// key rise. Writer only.
    /// </summary>
    public void DeferLinks() => _unlinked ??= new UnlinkedNodes(_budget);

    /// <summary>Links what was inserted since links are deferred. Writer only.</summary>
    public void LinkDeferred()
    {
        if (_unlinked is not { Count: > 0 } unlinked)
        {
            return;
        }

        if (unlinked.Count <= FewUnlinked)
        {
            foreach (ref readonly UnlinkedNode each in unlinked.Nodes)
            {
                SkipNode* node = each.Node;
                if (!FitsSplice(SkipNode.Key(node), node->KeyLength, node->Head, node->Version))
                {
                    FindSplice(SkipNode.Key(node), node->KeyLength, node->Head, node->Version);
                }

                Link(node);
            }
        }
        else
        {
            unlinked.Sort();
            LinkSorted(unlinked.Nodes);
        }

        unlinked.Clear();
    }

    /// <summary>Links what is left, and from here on each node as it comes. Writer only.</summary>
    public void EndDeferring()
    {
        LinkDeferred();
        _unlinked?.Dispose();
        _unlinked = null;
    }

    /// <summary>The first entry at or behind (key, version), or null.</summary>
    public SkipNode* FindAtOrBehind(byte* key, int keyLength, ulong head, long version)
    {
        SkipNode* at = _first;
        SkipNode* known = null;
        int level = Volatile.Read(ref _height) - 1;
        while (true)
        {
            SkipNode* next = Next(at, level);
            if (next != known && IsBefore(next, key, keyLength, head, version))
            {
                at = next;
                continue;
            }

            if (level == 0)
            {
                return next;
            }

            known = next;
            level--;
        }
    }

    /// <summary>The last entry before (key, version), or null.</summary>
    public SkipNode* FindBefore(byte* key, int keyLength, ulong head, long version)
    {
        SkipNode* at = _first;
        SkipNode* known = null;
        int level = Volatile.Read(ref _height) - 1;
        while (true)
        {
            SkipNode* next = Next(at, level);
            if (next != known && next != null && IsBefore(next, key, keyLength, head, version))
            {
                at = next;
                continue;
            }

            if (level == 0)
            {
                return at == _first ? null : at;
            }

            known = next;
            level--;
        }
    }

    /// <summary>The first node that reaches the level.</summary>
    public SkipNode* First(int level = 0) => Next(_first, level);

    public SkipNode* Last()
    {
        SkipNode* at = _first;
        for (int level = Volatile.Read(ref _height) - 1; level >= 0; level--)
        {
            SkipNode* next;
            while ((next = Next(at, level)) != null)
            {
                at = next;
            }
        }

        return at == _first ? null : at;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static SkipNode* Next(SkipNode* node, int level = 0) =>
        (SkipNode*)Volatile.Read(ref *(nint*)(SkipNode.Links(node) + level));

    public void Dispose()
    {
        _unlinked?.Dispose();
        _unlinked = null;
        _arena.Dispose();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private SkipNode* Create(
        ulong head, byte* key, int keyLength, long version, EntryKind kind, long stamp, long expiresAt, ReadOnlySpan<byte> value)
    {
        int height = RandomHeight();
        long bytes = SkipNode.FixedBytes + (height * sizeof(nint)) + keyLength + (long)value.Length;
        SkipNode* node = (SkipNode*)_arena.Allocate(bytes);
        node->Head = head;
        node->Version = version;
        node->Stamp = stamp;
        node->ExpiresAt = expiresAt;
        node->ValueLength = value.Length;
        node->KeyLength = (ushort)keyLength;
        node->Kind = kind;
        node->Height = (byte)height;
        byte* copy = SkipNode.Key(node);
        new ReadOnlySpan<byte>(key, keyLength).CopyTo(new Span<byte>(copy, keyLength));
        value.CopyTo(new Span<byte>(copy + keyLength, value.Length));
        return node;
    }

    /// <summary>Whether a node stands strictly before (key, version); false for null.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsBefore(SkipNode* node, byte* key, int keyLength, ulong head, long version)
    {
        if (node == null)
        {
            return false;
        }

        ulong nodeHead = node->Head;
        return nodeHead != head ? nodeHead < head : TailIsBefore(node, key, keyLength, version);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TailIsBefore(SkipNode* node, byte* key, int keyLength, long version)
    {
        int order = KeyOrder.CompareTails(SkipNode.Key(node), node->KeyLength, key, keyLength);
        return order != 0 ? order < 0 : node->Version > version;
    }

    private bool FitsSplice(byte* key, int keyLength, ulong head, long version)
    {
        SkipNode* before = _before[0];
        SkipNode* behind = _behind[0];
        return (before == _first || IsBefore(before, key, keyLength, head, version))
            && (behind == null || !IsBefore(behind, key, keyLength, head, version));
    }

    private void FindSplice(byte* key, int keyLength, ulong head, long version)
    {
        SkipNode* at = _first;
        SkipNode* known = null;
        for (int level = _height - 1; level >= 0; level--)
        {
            SkipNode* next;
            while ((next = SkipNode.Links(at)[level]) != known && IsBefore(next, key, keyLength, head, version))
            {
                at = next;
            }

            known = next;
            _before[level] = at;
            _behind[level] = next;
        }
    }

    private void Defer(SkipNode* node)
    {
        if (_unlinked!.Count == UnlinkedNodes.Most)
        {
            LinkDeferred();
        }

        _unlinked.Add(node);
    }

    private void LinkSorted(ReadOnlySpan<UnlinkedNode> nodes)
    {
        for (int level = 0; level < MaxHeight; level++)
        {
            _before[level] = _first;
            _behind[level] = SkipNode.Links(_first)[level];
        }

        for (int i = 0; i < nodes.Length; i++)
        {
            if (i + LinkAhead < nodes.Length)
            {
                Prefetch(nodes[i + LinkAhead].Node);
            }

            AdvanceSplice(nodes[i].Node);
            Link(nodes[i].Node);
        }
    }

    private static void Prefetch(SkipNode* node)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(node);
        }
    }

    /// <summary>
    /// Moves the splice on to a node at or behind the last one that was linked: up to where the node fits, and down from there. So what is
    /// near costs little, however long the list is.
    /// </summary>
    private void AdvanceSplice(SkipNode* node)
    {
        byte* key = SkipNode.Key(node);
        int keyLength = node->KeyLength;
        Debug.Assert(_before[0] == _first || IsBefore(_before[0], key, keyLength, node->Head, node->Version), "nodes are linked in their order");
        int level = 0;
        while (level < _height && IsBefore(_behind[level], key, keyLength, node->Head, node->Version))
        {
            level++;
        }

        if (level == 0)
        {
            return;
        }

        SkipNode* at = _behind[level - 1];
        SkipNode* known = null;
        while (--level >= 0)
        {
            SkipNode* next;
            while ((next = SkipNode.Links(at)[level]) != known && IsBefore(next, key, keyLength, node->Head, node->Version))
            {
                at = next;
            }

            known = next;
            _before[level] = at;
            _behind[level] = next;
        }
    }

    private void Link(SkipNode* node)
    {
        int height = node->Height;
        if (height > _height)
        {
            Volatile.Write(ref _height, height);
        }

        SkipNode** links = SkipNode.Links(node);
        for (int level = 0; level < height; level++)
        {
            links[level] = _behind[level];
        }

        for (int level = 0; level < height; level++)
        {
            Debug.Assert(SkipNode.Links(_before[level])[level] == _behind[level], "the splice is tight");
            Volatile.Write(ref *(nint*)(SkipNode.Links(_before[level]) + level), (nint)node);
            _before[level] = node;
        }
    }

    private int RandomHeight()
    {
        // xorshift64*; two bits per level make one node in four one higher.
        _random ^= _random >> 12;
        _random ^= _random << 25;
        _random ^= _random >> 27;
        ulong bits = (_random * 0x2545F4914F6CDD1D) >> 32;
        return Math.Min(MaxHeight, 1 + (BitOperations.TrailingZeroCount(bits | (1UL << 40)) / 2));
    }
}
