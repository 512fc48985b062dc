using KeyVa.Indexes;
using KeyVa.Partitions;

namespace KeyVa.Transactions;

/// <summary>
/// What a transaction has read and must find unchanged when it commits: keys with the version they had (0: absent), and ranges
/// with a digest of what was in them. One thread at a time.
/// </summary>
internal sealed class ReadSet
{
    /// <summary>Taken off for each key or range, beside its bytes.</summary>
    public const int EntryOverhead = 48;

    private const int FirstKeys = 16;
    private const int KeptKeys = 1 << 12;

    private readonly ByteArena _bytes = new();
    private readonly List<Range> _ranges = [];
    private readonly List<IndexRead> _indexes = [];
    private long[] _versions = new long[FirstKeys];

    public ReadSet() => Keys = new KeyTable(_bytes);

    public KeyTable Keys { get; }

    public int RangeCount => _ranges.Count;

    /// <summary>Stretches of indexes.</summary>
    public int IndexCount => _indexes.Count;

    public bool IsEmpty => Keys.Count == 0 && _ranges.Count == 0 && _indexes.Count == 0;

    /// <summary>What it holds, for its bound.</summary>
    public long Bytes { get; private set; }

    /// <summary>A key was read at a version, or found absent (0); what was noted first stays.</summary>
    public void Note(ReadOnlySpan<byte> key, long version)
    {
        int number = Keys.FindOrAdd(key, out bool added);
        if (!added)
        {
            return;
        }

        if (number == _versions.Length)
        {
            Array.Resize(ref _versions, number * 2);
        }

        _versions[number] = version;
        Bytes += key.Length + EntryOverhead;
    }

    /// <summary>The version a key was read at; false if it was not.</summary>
    public bool TryGetVersion(ReadOnlySpan<byte> key, out long version)
    {
        int number = Keys.Count == 0 ? -1 : Keys.Find(key);
        version = number < 0 ? 0 : _versions[number];
        return number >= 0;
    }

    public long VersionOf(int key) => _versions[key];

    /// <summary>A range of one partition was read.</summary>
    public void Note(in RangeCheck range)
    {
        _ranges.Add(new Range(
            _bytes.Append(range.From), range.From.Length,
            _bytes.Append(range.To), range.To.Length,
            range.Digest, range.IsByHash,
            _bytes.Append(range.First), range.First.Length,
            _bytes.Append(range.Last), range.Last.Length));
        Bytes += range.From.Length + range.To.Length + range.First.Length + range.Last.Length + EntryOverhead;
    }

    public RangeCheck RangeAt(int number)
    {
        Range range = _ranges[number];
        return new RangeCheck
        {
            From = _bytes.At(range.From, range.FromLength),
            To = _bytes.At(range.To, range.ToLength),
            Digest = range.Digest,
            IsByHash = range.IsByHash,
            First = _bytes.At(range.First, range.FirstLength),
            Last = _bytes.At(range.Last, range.LastLength),
        };
    }

    /// <summary>A stretch of an index of one partition was read.</summary>
    public void Note(in IndexCheck check)
    {
        _indexes.Add(new IndexRead(
            _bytes.Append(check.PartitionFrom), check.PartitionFrom.Length,
            _bytes.Append(check.PartitionTo), check.PartitionTo.Length,
            check.Index, check.Digest,
            _bytes.Append(check.From), check.From.Length,
            _bytes.Append(check.To), check.To.Length));
        Bytes += check.PartitionFrom.Length + check.PartitionTo.Length + check.From.Length + check.To.Length + EntryOverhead;
    }

    public IndexCheck IndexAt(int number)
    {
        IndexRead read = _indexes[number];
        return new IndexCheck
        {
            PartitionFrom = _bytes.At(read.PartitionFrom, read.PartitionFromLength),
            PartitionTo = _bytes.At(read.PartitionTo, read.PartitionToLength),
            Index = read.Index,
            Digest = read.Digest,
            From = _bytes.At(read.From, read.FromLength),
            To = _bytes.At(read.To, read.ToLength),
        };
    }

    public void Clear()
    {
        if (IsEmpty)
        {
            return;
        }

        Keys.Clear();
        _ranges.Clear();
        _indexes.Clear();
        _bytes.Clear();
        Bytes = 0;
        if (_versions.Length > KeptKeys)
        {
            _versions = new long[FirstKeys];
        }
    }

    private readonly record struct Range(
        long From, int FromLength, long To, int ToLength, RangeDigest Digest, bool IsByHash, long First, int FirstLength, long Last, int LastLength);

    private readonly record struct IndexRead(
        long PartitionFrom, int PartitionFromLength, long PartitionTo, int PartitionToLength, long Index, RangeDigest Digest, long From, int FromLength, long To, int ToLength);
}
