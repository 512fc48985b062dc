using KeyVa.Engines;

namespace KeyVa.Partitions;

/// <summary>A scan request made concrete: its bounds, and the partitions that it goes through, pinned.</summary>
internal sealed class ScanPlan
{
    private readonly byte[] _from;
    private readonly byte[] _to;
    private readonly byte[] _seek;

    private ScanPlan(ScanOptions options, byte[] from, byte[] to, byte[] seek, Partition[] partitions, int first)
    {
        _from = from;
        _to = to;
        _seek = seek;
        Partitions = partitions;
        FirstPartition = first;
        Reverse = options.Reverse;
        KeysOnly = options.KeysOnly;
        Limit = options.Limit == 0 ? long.MaxValue : options.Limit;
    }

    public IReadOnlyList<Partition> Partitions { get; }

    /// <summary>Where the scan begins; it goes on upwards, or downwards in reverse.</summary>
    public int FirstPartition { get; }

    public bool Reverse { get; }

    public bool KeysOnly { get; }

    public long Limit { get; }

    /// <summary>Checks the request and pins the partitions; null with the reason if it is refused.</summary>
    public static ScanPlan? Create(ScanOptions options, PartitionMap map, out Status status, out string? detail)
    {
        byte[] from = LowerBound(options);
        byte[] to = UpperBound(options, out bool impossible);
        if (!Check(options, from, to, impossible, out status, out detail))
        {
            return null;
        }

        bool isEverything = from.Length == 0 && to.Length == 0;
        byte[] seek = options.After.ToArray();
        Partition[] partitions = [.. map.Cover(from, to, out bool complete)];
        if (!complete && !isEverything)
        {
            status = Status.BadNode;
            detail = "this node does not own all of the range; 'keyva admin partition list' shows what it owns";
            return null;
        }

        int first = options.Reverse ? partitions.Length - 1 : 0;
        if (seek.Length > 0)
        {
            first = StartAfter(partitions, seek, options.Reverse);
        }

        if (!CheckOrder(options, partitions, isEverything, out status, out detail))
        {
            return null;
        }

        var plan = new ScanPlan(options, from, to, seek, partitions, first);
        return plan.Pin(out status, out detail) ? plan : null;
    }

    /// <summary>Opens a partition's cursor, behind the resume token in the first one.</summary>
    public EngineCursor Open(Partition partition, long version, bool isFirst)
    {
        bool after = isFirst && _seek.Length > 0;
        if (!partition.Engine.IsOrdered)
        {
            EngineCursor unordered = partition.Engine.OpenCursor(default, default, version, reverse: false);
            return after && partition.Range.Contains(_seek) ? new CursorAfter(unordered, _seek) : unordered;
        }

        EngineCursor cursor = partition.Engine.OpenCursor(_from, _to, version, Reverse);
        return after ? new CursorAfter(cursor, _seek) : cursor;
    }

    public void Unpin()
    {
        foreach (Partition partition in Partitions)
        {
            partition.Unpin();
        }
    }

    private static byte[] LowerBound(ScanOptions options) =>
        options.Prefix.Span.SequenceCompareTo(options.From.Span) > 0 ? options.Prefix.ToArray() : options.From.ToArray();

    /// <summary>The smaller of the given bound and the first key behind the prefix.</summary>
    private static byte[] UpperBound(ScanOptions options, out bool impossible)
    {
        byte[] to = options.To.ToArray();
        impossible = false;
        if (options.Prefix.IsEmpty)
        {
            return to;
        }

        ReadOnlySpan<byte> prefix = options.Prefix.Span.TrimEnd((byte)0xff);
        byte[] end = prefix.ToArray();
        if (end.Length > 0)
        {
            end[^1]++;
        }

        // The prefix and the range may have no key in common: that is an empty scan, not an error.
        impossible = (to.Length > 0 && to.AsSpan().SequenceCompareTo(options.Prefix.Span) <= 0)
            || (end.Length > 0 && options.From.Span.SequenceCompareTo(end) >= 0);
        return to.Length == 0 || (end.Length > 0 && end.AsSpan().SequenceCompareTo(to) < 0) ? end : to;
    }

    private static bool Check(ScanOptions options, byte[] from, byte[] to, bool impossible, out Status status, out string? detail)
    {
        status = Status.Invalid;
        detail = null;
        if (options.Limit < 0)
        {
            detail = "the limit is negative";
        }
        else if (!options.From.IsEmpty && !options.To.IsEmpty && options.From.Span.SequenceCompareTo(options.To.Span) > 0)
        {
            detail = "the range ends before it begins: 'from' is above 'to'";
        }
        else if (impossible || (to.Length > 0 && from.AsSpan().SequenceCompareTo(to) >= 0))
        {
            status = Status.NotFound;
        }
        else
        {
            status = Status.Ok;
        }

        return status == Status.Ok;
    }

    private static int StartAfter(Partition[] partitions, byte[] key, bool reverse)
    {
        int first = reverse ? partitions.Length - 1 : 0;
        while (first >= 0 && first < partitions.Length && Passed(partitions[first].Range, key, reverse))
        {
            first += reverse ? -1 : 1;
        }

        return first;
    }

    private static bool Passed(KeyRange range, byte[] key, bool reverse) =>
        reverse
            ? range.From.Span.SequenceCompareTo(key) >= 0
            : !range.To.IsEmpty && range.To.Span.SequenceCompareTo(key) <= 0;

    private static bool CheckOrder(ScanOptions options, Partition[] partitions, bool isEverything, out Status status, out string? detail)
    {
        Partition? unordered = Array.Find(partitions, p => !p.Engine.IsOrdered);
        if (unordered is not null && (!options.Unordered || !isEverything || options.Reverse))
        {
            status = Status.Unsupported;
            detail = $"partition {unordered.Id} is on the memory engine, which keeps no key order; ask for an unordered scan without bounds, prefix and reverse, or use the lsm engine";
            return false;
        }

        status = Status.Ok;
        detail = null;
        return true;
    }

    private bool Pin(out Status status, out string? detail)
    {
        for (int i = 0; i < Partitions.Count; i++)
        {
            if (!Partitions[i].TryPin())
            {
                while (--i >= 0)
                {
                    Partitions[i].Unpin();
                }

                status = Status.BadNode;
                detail = "a partition of the range is being removed from this node";
                return false;
            }
        }

        status = Status.Ok;
        detail = null;
        return true;
    }

    /// <summary>Begins behind a key: seeks to it and leaves it out if it is still there.</summary>
    private sealed class CursorAfter : EngineCursor
    {
        private readonly EngineCursor _cursor;
        private readonly byte[] _after;
        private bool _begun;

        public CursorAfter(EngineCursor cursor, byte[] after)
        {
            _cursor = cursor;
            _after = after;
            cursor.Seek(after);
        }

        public override ReadOnlySpan<byte> Key => _cursor.Key;

        public override ReadOnlySpan<byte> Value => _cursor.Value;

        public override long Version => _cursor.Version;

        public override long Stamp => _cursor.Stamp;

        public override long ExpiresAt => _cursor.ExpiresAt;

        public override bool MoveNext()
        {
            if (_begun)
            {
                return _cursor.MoveNext();
            }

            _begun = true;
            return _cursor.MoveNext() && (!_cursor.Key.SequenceEqual(_after) || _cursor.MoveNext());
        }

        public override void Seek(ReadOnlySpan<byte> key)
        {
            _begun = true;
            _cursor.Seek(key);
        }

        public override void Dispose() => _cursor.Dispose();
    }
}
