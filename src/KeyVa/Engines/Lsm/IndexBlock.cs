using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// An index block: which data block (or index partition) holds a key. Columns instead of entries: the search runs over
/// an array of eight-byte heads and looks at whole keys only where heads tie.
/// </summary>
/// <remarks>
/// <code>
///  0 count u32 | 4 firstOrdinal u32 | 8 commonLength u32 | 12 flags u32 (1: versions, 2: ordinals)
/// 16 heads u64 x count          the eight bytes of the separator behind the common prefix, as a big-endian number
///    offsets u64 x (count + 1)  where each block begins; the last: where the last one ends (trailers included)
///    [versions i64 x count]     separators that end inside the versions of one key; else 0: behind all its versions
///    [ordinals u32 x (count + 1)]  top index: ordinal of the first data block of each partition, and of the end
///    keyEnds u32 x count        ends of the separators' rests in the bytes that follow
///    common prefix | rests of the separators behind it
/// </code>
/// A separator is at or behind every entry of its block and before every entry of the next. A struct over memory that
/// its table (or a pinned block) holds.
/// </remarks>
internal readonly unsafe struct IndexBlock
{
    public const int HeadBytes = 16;
    public const uint HasVersions = 1;
    public const uint HasOrdinals = 2;

    /// <summary>Below, a binary search meets few lines of memory.</summary>
    private const int InterpolateFrom = 512;

    /// <summary>
    /// How far from its guess an interpolation looks: heads that are drawn evenly at random are that near for all but one in twenty
    /// searches of 16,384 of them.
    /// </summary>
    private const int Near = 128;

    private readonly ulong* _heads;
    private readonly ulong* _offsets;
    private readonly long* _versions;
    private readonly uint* _ordinals;
    private readonly uint* _keyEnds;
    private readonly byte* _common;
    private readonly byte* _rests;
    private readonly int _commonLength;

    public readonly int Count;
    public readonly int FirstOrdinal;

    private IndexBlock(byte* data, int count, uint flags, int commonLength)
    {
        Count = count;
        FirstOrdinal = (int)Unsafe.ReadUnaligned<uint>(data + 4);
        _commonLength = commonLength;
        byte* p = data + HeadBytes;
        _heads = (ulong*)p;
        p += 8L * count;
        _offsets = (ulong*)p;
        p += 8L * (count + 1);
        if ((flags & HasVersions) != 0)
        {
            _versions = (long*)p;
            p += 8L * count;
        }

        if ((flags & HasOrdinals) != 0)
        {
            _ordinals = (uint*)p;
            p += 4L * (count + 1);
        }

        _keyEnds = (uint*)p;
        p += 4L * count;
        _common = p;
        _rests = p + commonLength;
    }

    public bool IsTop => _ordinals != null;

    /// <summary>Lays the columns over a block; false if they do not fit.</summary>
    public static bool TryParse(byte* data, int length, out IndexBlock index)
    {
        index = default;
        if (length < HeadBytes)
        {
            return false;
        }

        uint count = Unsafe.ReadUnaligned<uint>(data);
        uint commonLength = Unsafe.ReadUnaligned<uint>(data + 8);
        uint flags = Unsafe.ReadUnaligned<uint>(data + 12);
        long fixedBytes = HeadBytes + (20L * count) + 8
            + ((flags & HasVersions) != 0 ? 8L * count : 0)
            + ((flags & HasOrdinals) != 0 ? 4L * (count + 1L) : 0);

        // A table with range tombstones alone has an index of nothing; a top index has partitions.
        if ((count == 0 && (flags & HasOrdinals) != 0) || fixedBytes + commonLength > length)
        {
            return false;
        }

        index = new IndexBlock(data, (int)count, flags, (int)commonLength);
        return fixedBytes + commonLength + (count == 0 ? 0 : index._keyEnds[count - 1]) == length;
    }

    /// <summary>
    /// Whether the columns make sense: blocks that follow one another between two places of the file, ends, heads and
    /// ordinals that rise, heads that are those of their separators. Looked at once, when the block comes from the disk:
    /// lookups rely on it, whatever the bytes are.
    /// </summary>
    public bool IsSound(long start, long end)
    {
        bool sound = Offset(0) >= start && Offset(Count) <= end;
        uint restStart = 0;
        for (int i = 0; sound && i < Count; i++)
        {
            long bytes = Offset(i + 1) - Offset(i);
            sound = bytes is > BlockFormat.TrailerBytes and <= int.MaxValue / 2
                && _keyEnds[i] >= restStart && _keyEnds[i] <= _keyEnds[Count - 1]
                && (i == 0 || _heads[i] >= _heads[i - 1])
                && (_ordinals == null || _ordinals[i] < _ordinals[i + 1])
                && _heads[i] == KeyOrder.Head(_rests + restStart, (int)(_keyEnds[i] - restStart));
            restStart = _keyEnds[i];
        }

        return sound && (_ordinals == null || (_ordinals[0] == 0 && _ordinals[Count] <= int.MaxValue));
    }

    /// <summary>
    /// Whether the last separator is the i-th of the index above: then what that one leads here is not behind all blocks.
    /// </summary>
    public bool EndsWith(in IndexBlock above, int i)
    {
        int last = Count - 1;
        ReadOnlySpan<byte> rest = Rest(last);
        ReadOnlySpan<byte> otherRest = above.Rest(i);
        ReadOnlySpan<byte> common = new(_common, _commonLength);
        ReadOnlySpan<byte> otherCommon = new(above._common, above._commonLength);
        return VersionOf(last) == above.VersionOf(i)
            && common.Length + rest.Length == otherCommon.Length + otherRest.Length
            && (common.Length >= otherCommon.Length
                ? common.StartsWith(otherCommon) && otherRest.StartsWith(common[otherCommon.Length..]) && otherRest.EndsWith(rest)
                : otherCommon.StartsWith(common) && rest.StartsWith(otherCommon[common.Length..]) && rest.EndsWith(otherRest));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long Offset(int i) => (long)_offsets[i];

    /// <summary>Bytes of the i-th block without its trailer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public int Length(int i) => (int)(_offsets[i + 1] - _offsets[i]) - BlockFormat.TrailerBytes;

    /// <summary>The i-th separator's key.</summary>
    public byte[] Separator(int i)
    {
        uint start = i == 0 ? 0 : _keyEnds[i - 1];
        return [.. new ReadOnlySpan<byte>(_common, _commonLength), .. new ReadOnlySpan<byte>(_rests + start, (int)(_keyEnds[i] - start))];
    }

    /// <summary>Top index: the ordinal of the first data block of the i-th partition.</summary>
    public int Ordinal(int i) => (int)_ordinals[i];

    /// <summary>Top index: the partition with this data block.</summary>
    public int FindOrdinal(int ordinal)
    {
        int low = 0;
        int high = Count - 1;
        while (low < high)
        {
            int middle = (low + high + 1) >> 1;
            if (_ordinals[middle] <= (uint)ordinal)
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

    /// <summary>The first block whose separator is at or behind (key, version); Count if there is none.</summary>
    public int Find(byte* key, int keyLength, long version)
    {
        int common = _commonLength;
        if (common > 0)
        {
            int limit = Math.Min(common, keyLength);
            int same = KeyOrder.CommonLength(_common, key, limit);
            if (same < limit)
            {
                return key[same] < _common[same] ? 0 : Count;
            }

            if (keyLength < common)
            {
                return 0;
            }
        }

        byte* rest = key + common;
        int restLength = keyLength - common;
        ulong head = KeyOrder.Head(rest, restLength);

        // An index of nothing (a table with range tombstones alone) has no heads to compare with.
        int low = Count == 0 ? 0 : LowerBound(head);
        if (low == Count || _heads[low] != head)
        {
            return low;
        }

        int high = head == ulong.MaxValue ? Count : LowerBound(head + 1);
        while (low < high)
        {
            int middle = (low + high) >> 1;
            if (SeparatorIsBefore(middle, rest, restLength, version))
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    /// <summary>
    /// The first position whose head is at least this. Where a large index ends in few levels of a cache, each step of a binary search waits
    /// for memory: so the search begins where the head would be if heads lay evenly (interpolation search, Perl, Itai and Avni 1978),
    /// and takes the whole index only if it is not near there.
    /// </summary>
    private int LowerBound(ulong head)
    {
        if (Count < InterpolateFrom)
        {
            return LowerBound(head, 0, Count);
        }

        ulong first = _heads[0];
        ulong last = _heads[Count - 1];
        if (head <= first || head > last)
        {
            return head <= first ? 0 : Count;
        }

        // The quotient may be rounded up to one, and is never above it.
        int guess = (int)((double)(head - first) / (last - first) * (Count - 1));
        int from = Math.Max(0, guess - Near);
        int to = Math.Min(Count, guess + Near);
        return (from == 0 || _heads[from - 1] < head) && _heads[to - 1] >= head
            ? LowerBound(head, from, to - from)
            : LowerBound(head, 0, Count);
    }

    /// <summary>The first position whose head is at least this, among some (one at least); the one behind them if there is none. No branch depends on the heads.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private int LowerBound(ulong head, int from, int count)
    {
        ulong* at = _heads + from;
        int left = count;
        while (left > 1)
        {
            int half = left >> 1;
            at = at[half - 1] < head ? at + half : at;
            left -= half;
        }

        return (int)(at - _heads) + (*at < head ? 1 : 0);
    }

    private long VersionOf(int i) => _versions == null ? 0 : _versions[i];

    private ReadOnlySpan<byte> Rest(int i)
    {
        uint start = i == 0 ? 0 : _keyEnds[i - 1];
        return new ReadOnlySpan<byte>(_rests + start, (int)(_keyEnds[i] - start));
    }

    private bool SeparatorIsBefore(int i, byte* rest, int restLength, long version)
    {
        uint start = i == 0 ? 0 : _keyEnds[i - 1];
        Debug.Assert(_keyEnds[i] >= start, "ends rise");
        int order = KeyOrder.Compare(_rests + start, (int)(_keyEnds[i] - start), rest, restLength);
        return order != 0 ? order < 0 : _versions != null && _versions[i] > version;
    }
}
