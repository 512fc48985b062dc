using System.Diagnostics;
using System.Numerics;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Sorts nodes into <see cref="KeyOrder"/>: a radix sort from the most significant digit on (McIlroy, Bostic and McIlroy 1993) over eight
/// bytes of the keys at a time, which lie beside the pointers, so that a node is looked at only where these eight bytes do not decide.
/// </summary>
/// <remarks>
/// <para>It is stable, and begins with the newest: of one key, whatever came later stands before what came earlier, without a look at versions.</para>
/// <para>The largest part of a split is gone on with, and the others are called for: so calls nest as deep as the logarithm of the count,
/// whatever the keys are like.</para>
/// </remarks>
internal static unsafe class SkipNodeSort
{
    /// <summary>Up to here insertion costs less than counting.</summary>
    private const int Few = 24;

    private const int MostDigitBits = 11;

    /// <summary>Of eight bytes: keys that end behind one, behind two, ..., behind all eight, and those that go on.</summary>
    private const int GoesOn = 9;

    /// <param name="nodes">With the heads of their keys, by rising version of each key.</param>
    /// <param name="scratch">Room for as many.</param>
    /// <param name="count">How many.</param>
    public static void Sort(UnlinkedNode* nodes, UnlinkedNode* scratch, int count)
    {
        new Span<UnlinkedNode>(nodes, count).Reverse();
        Sort(nodes, scratch, count, depth: 0);
    }

    // All keys have the first bytes in common, up to the depth, and are longer; the heads are what follows there.
    private static void Sort(UnlinkedNode* nodes, UnlinkedNode* scratch, int count, int depth)
    {
        while (count > Few)
        {
            ulong differing = Differing(nodes, count);
            int largest = differing != 0 ? Split(nodes, scratch, count, depth, differing, out int at) : SplitByEnd(nodes, scratch, count, ref depth, out at);
            nodes += at;
            count = largest;
        }

        InsertionSort(nodes, count, depth);
    }

    private static ulong Differing(UnlinkedNode* nodes, int count)
    {
        ulong first = nodes->Head;
        ulong differing = 0;
        for (int i = 1; i < count; i++)
        {
            differing |= nodes[i].Head ^ first;
        }

        return differing;
    }

    /// <summary>Splits by the digit that begins with the highest bit that is not the same in all; returns the count of the largest part, which is not sorted.</summary>
    private static int Split(UnlinkedNode* nodes, UnlinkedNode* scratch, int count, int depth, ulong differing, out int largestAt)
    {
        int bits = Math.Min(MostDigitBits, BitOperations.Log2((uint)count) - 2);
        int shift = Math.Max(0, 64 - BitOperations.LeadingZeroCount(differing) - bits);
        int parts = 1 << bits;
        uint mask = (uint)parts - 1;
        int* ends = stackalloc int[parts];
        new Span<int>(ends, parts).Clear();
        for (int i = 0; i < count; i++)
        {
            ends[(uint)(nodes[i].Head >> shift) & mask]++;
        }

        ToStarts(ends, parts);
        for (int i = 0; i < count; i++)
        {
            scratch[ends[(uint)(nodes[i].Head >> shift) & mask]++] = nodes[i];
        }

        CopyBack(nodes, scratch, count);
        return SortButLargest(nodes, scratch, ends, parts, depth, out largestAt);
    }

    private static int SortButLargest(UnlinkedNode* nodes, UnlinkedNode* scratch, int* ends, int parts, int depth, out int largestAt)
    {
        int largest = 0;
        largestAt = 0;
        int start = 0;
        for (int part = 0; part < parts; part++)
        {
            int length = ends[part] - start;
            if (length > largest)
            {
                Sort(nodes + largestAt, scratch, largest, depth);
                largest = length;
                largestAt = start;
            }
            else if (length > 1)
            {
                Sort(nodes + start, scratch, length, depth);
            }

            start = ends[part];
        }

        return largest;
    }

    /// <summary>
    /// All eight bytes are the same, as far as the keys have them: those that end sooner come sooner, and are the same key where they end
    /// together. Those that go on are what is left, with their next eight bytes.
    /// </summary>
    private static int SplitByEnd(UnlinkedNode* nodes, UnlinkedNode* scratch, int count, ref int depth, out int at)
    {
        const int parts = GoesOn + 1;
        int* ends = stackalloc int[parts];
        new Span<int>(ends, parts).Clear();
        for (int i = 0; i < count; i++)
        {
            ends[EndOf(nodes[i].Node, depth)]++;
        }

        int goingOn = ends[GoesOn];
        ToStarts(ends, parts);
        if (goingOn < count)
        {
            for (int i = 0; i < count; i++)
            {
                scratch[ends[EndOf(nodes[i].Node, depth)]++] = nodes[i];
            }

            CopyBack(nodes, scratch, count);
        }

        at = count - goingOn;
        depth += sizeof(ulong);
        for (UnlinkedNode* each = nodes + at; each < nodes + count; each++)
        {
            each->Head = KeyOrder.Head(SkipNode.Key(each->Node) + depth, each->Node->KeyLength - depth);
        }

        return goingOn;
    }

    private static int EndOf(SkipNode* node, int depth) => Math.Min(GoesOn, node->KeyLength - depth);

    private static void ToStarts(int* counts, int parts)
    {
        int start = 0;
        for (int i = 0; i < parts; i++)
        {
            int count = counts[i];
            counts[i] = start;
            start += count;
        }
    }

    private static void CopyBack(UnlinkedNode* nodes, UnlinkedNode* scratch, int count) =>
        new ReadOnlySpan<UnlinkedNode>(scratch, count).CopyTo(new Span<UnlinkedNode>(nodes, count));

    private static void InsertionSort(UnlinkedNode* nodes, int count, int depth)
    {
        for (int i = 1; i < count; i++)
        {
            UnlinkedNode node = nodes[i];
            int at = i;
            while (at > 0 && IsBefore(node, nodes[at - 1], depth))
            {
                nodes[at] = nodes[at - 1];
                at--;
            }

            nodes[at] = node;
        }
    }

    private static bool IsBefore(in UnlinkedNode a, in UnlinkedNode b, int depth)
    {
        if (a.Head != b.Head)
        {
            return a.Head < b.Head;
        }

        int aLength = a.Node->KeyLength - depth;
        int bLength = b.Node->KeyLength - depth;
        Debug.Assert(aLength > 0 && bLength > 0, "no key has ended yet");
        return KeyOrder.CompareTails(SkipNode.Key(a.Node) + depth, aLength, SkipNode.Key(b.Node) + depth, bLength) < 0;
    }
}
