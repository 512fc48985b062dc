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
    private long[] _versions = new long[FirstKeys];

    public ReadSet() => Keys = new KeyTable(_bytes);

    public KeyTable Keys { get; }

    public int RangeCount => _ranges.Count;

    public bool IsEmpty => Keys.Count == 0 && _ranges.Count == 0;

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

    public void Clear()
    {
        if (IsEmpty)
        {
            return;
        }

        Keys.Clear();
        _ranges.Clear();
        _bytes.Clear();
        Bytes = 0;
        if (_versions.Length > KeptKeys)
        {
            _versions = new long[FirstKeys];
        }
    }

    private readonly record struct Range(
        long From, int FromLength, long To, int ToLength, RangeDigest Digest, bool IsByHash, long First, int FirstLength, long Last, int LastLength);
}
