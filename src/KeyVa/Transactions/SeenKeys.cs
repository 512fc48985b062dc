using KeyVa.Partitions;

namespace KeyVa.Transactions;

/// <summary>
/// What a transaction of snapshot isolation has read, as far as its merges need to know: one of a key that was read is a write based on
/// that, and must not pass over the write of another; one that was not read never conflicts. One thread at a time.
/// </summary>
/// <remarks>
/// It errs to one side: two keys of one hash, a range that was opened for a scan and not read to its end, and what is beyond the bounds all
/// count as read.
/// </remarks>
internal sealed class SeenKeys
{
    /// <summary>Keys that are told apart; after more, all keys count as read.</summary>
    public const int MaxKeys = 4096;

    /// <summary>Ranges that are told apart.</summary>
    public const int MaxRanges = 64;

    private readonly HashSet<ulong> _keys = [];
    private readonly List<KeyRange> _ranges = [];
    private bool _isAll;

    public void Add(ReadOnlySpan<byte> key)
    {
        if (!_isAll)
        {
            _keys.Add(XxHash64.Compute(key));
            _isAll = _keys.Count > MaxKeys;
        }
    }

    /// <summary>A range; empty bounds are open.</summary>
    public void Add(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        if (!_isAll)
        {
            _ranges.Add(new KeyRange(from.ToArray(), to.ToArray()));
            _isAll = _ranges.Count > MaxRanges;
        }
    }

    public bool Contains(ReadOnlySpan<byte> key)
    {
        if (_isAll || _keys.Contains(XxHash64.Compute(key)))
        {
            return true;
        }

        foreach (KeyRange range in _ranges)
        {
            if (range.Contains(key))
            {
                return true;
            }
        }

        return false;
    }

    public void Clear()
    {
        _keys.Clear();
        _ranges.Clear();
        _isAll = false;
    }
}
