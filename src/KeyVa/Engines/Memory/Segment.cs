using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace KeyVa.Engines.Memory;

/// <summary>
/// A piece of the hash index: the keys whose hash begins with the segment's prefix, in 64 buckets by the six bits behind
/// it. A bucket is one cache line, with further lines behind it if it overflows.
/// </summary>
/// <remarks>
/// Readers follow slots at any time; the writer changes one word at a time. The header is the writer's, but for
/// <see cref="Depth"/> and <see cref="Prefix"/>, which are constant.
/// <code>
/// segment: | header (64) | 64 × line |
/// line:    | 7 × slot (8) | next line (8) |
/// slot:    | tag: the hash's low 16 bits (63…48) | node (47…0) |      0: free
/// </code>
/// Tag and pointer are one word, so a reader never pairs a tag with another key's node.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct Segment
{
    public const int HeaderBytes = 64;
    public const int Buckets = 64;
    public const int BucketBits = 6;
    public const int LineBytes = 64;
    public const int Bytes = HeaderBytes + (Buckets * LineBytes);
    public const int SlotsPerLine = 7;

    private const int TagShift = 48;
    private const ulong PointerMask = (1UL << TagShift) - 1;
    private const uint SlotMask = (1u << SlotsPerLine) - 1;

    /// <summary>How many top bits of the hash are alike in this segment.</summary>
    public int Depth;

    /// <summary>Slots in use.</summary>
    public int Count;

    /// <summary>No key in here expires before this time (Unix milliseconds).</summary>
    public long MinExpiry;

    /// <summary>The lowest hash that belongs here.</summary>
    public ulong Prefix;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong* LineOf(Segment* segment, ulong hash) => Line(segment, BucketOf(segment, hash));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int BucketOf(Segment* segment, ulong hash) => (int)((hash << segment->Depth) >> (64 - BucketBits));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong* Line(Segment* segment, int bucket) =>
        (ulong*)((byte*)segment + HeaderBytes + ((nint)bucket * LineBytes));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong* NextLine(ulong* line) => (ulong*)Volatile.Read(ref line[SlotsPerLine]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Node* NodeAt(ulong* slot) => (Node*)(Volatile.Read(ref *slot) & PointerMask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Tag(ulong hash) => hash & 0xFFFF;

    public static ulong Word(Node* node)
    {
        Debug.Assert(((ulong)node & ~PointerMask) == 0, "addresses of a process have 48 bits");
        return (ulong)node | (Tag(node->Hash) << TagShift);
    }

    /// <summary>The slots of a line whose tag fits, one bit each. A hint: the slot must be read again.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Match(ulong* line, ulong tag)
    {
        if (Vector256.IsHardwareAccelerated)
        {
            Vector256<ulong> wanted = Vector256.Create(tag);
            uint low = Vector256.Equals(Vector256.Load(line) >>> TagShift, wanted).ExtractMostSignificantBits();
            uint high = Vector256.Equals(Vector256.Load(line + 4) >>> TagShift, wanted).ExtractMostSignificantBits();
            return (low | (high << 4)) & SlotMask;
        }

        uint mask = 0;
        for (int i = 0; i < SlotsPerLine; i++)
        {
            mask |= (line[i] >> TagShift) == tag ? 1u << i : 0;
        }

        return mask;
    }

    /// <summary>The slot in a bucket that holds a key, or null.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong* Find(ulong* line, ulong hash, ReadOnlySpan<byte> key, out Node* head)
    {
        ulong tag = Tag(hash);
        do
        {
            for (uint mask = Match(line, tag); mask != 0; mask &= mask - 1)
            {
                ulong* slot = line + BitOperations.TrailingZeroCount(mask);
                Node* node = NodeAt(slot);
                if (node is not null && node->Hash == hash && Node.KeyOf(node).SequenceEqual(key))
                {
                    head = node;
                    return slot;
                }
            }

            line = NextLine(line);
        }
        while (line is not null);

        head = null;
        return null;
    }
}
