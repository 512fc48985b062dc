using System.Diagnostics;
using KeyVa.Engines;
using KeyVa.Io;

namespace KeyVa.Partitions;

/// <summary>
/// A scan request made concrete: its bounds, and the partitions that it goes through, pinned. Used again and again by its
/// <see cref="ScanState"/>.
/// </summary>
internal sealed class ScanPlan : IDisposable
{
    /// <summary>Bytes of a bound that are kept for the next scan.</summary>
    private const int KeptBytes = 16 << 10;

    private readonly NativeBuffer _from = new(64);
    private readonly NativeBuffer _to = new(64);
    private readonly NativeBuffer _after = new(64);
    private bool _fillCache;

    /// <summary>A part of the map's own array, which never changes.</summary>
    public ArraySegment<Partition> Partitions { get; private set; } = ArraySegment<Partition>.Empty;

    /// <summary>Where the scan begins; it goes on upwards, or downwards in reverse.</summary>
    public int FirstPartition { get; private set; }

    public bool Reverse { get; private set; }

    public bool KeysOnly { get; private set; }

    public long Limit { get; private set; }

    /// <summary>The resume token: the scan goes on behind this key; empty: none.</summary>
    public ReadOnlySpan<byte> After => _after.Written;

    /// <summary>The first key that it may return; empty: open.</summary>
    public ReadOnlySpan<byte> From => _from.Written;

    /// <summary>The first key behind what it may return; empty: open.</summary>
    public ReadOnlySpan<byte> To => _to.Written;

    /// <summary>Checks the request and pins the partitions; false with the reason if it is refused, or Ok if nothing is in the range.</summary>
    public bool TryPrepare(ScanOptions options, PartitionMap map, out Status status, out string? detail)
    {
        Debug.Assert(Partitions.Count == 0, "what the plan held was let go");
        SetLowerBound(options);
        SetUpperBound(options, out bool impossible);
        if (!Check(options, impossible, out bool isEmpty, out status, out detail) || isEmpty)
        {
            return false;
        }

        _after.Clear(KeptBytes);
        _after.Append(options.After.Span);
        Reverse = options.Reverse;
        KeysOnly = options.KeysOnly;
        Limit = options.Limit == 0 ? long.MaxValue : options.Limit;
        _fillCache = options.FillCache;
        bool isEverything = _from.Length == 0 && _to.Length == 0;
        ArraySegment<Partition> partitions = map.Cover(_from.Written, _to.Written, out bool complete);
        if (!complete && !isEverything)
        {
            status = Status.BadNode;
            detail = "this node does not own all of the range; 'keyva admin partition list' shows what it owns";
            return false;
        }

        if (!CheckOrder(options, partitions, isEverything, out status, out detail) || !TryPin(partitions, out status, out detail))
        {
            return false;
        }

        Partitions = partitions;
        FirstPartition = Reverse ? partitions.Count - 1 : 0;
        if (_after.Length > 0)
        {
            FirstPartition = PartitionFor(_after.Written, inclusive: false);
        }

        return true;
    }

    /// <summary>Opens a partition's cursor.</summary>
    public EngineCursor Open(Partition partition, long version)
    {
        Engine engine = partition.Engine;
        return engine.IsOrdered
            ? engine.OpenCursor(_from.Written, _to.Written, version, Reverse, _fillCache)
            : engine.OpenCursor(default, default, version, reverse: false, _fillCache);
    }

    /// <summary>
    /// The first partition in the scan's direction that may have keys behind this one or, if <paramref name="inclusive"/>, at
    /// it; -1 or the number of partitions if none has.
    /// </summary>
    public int PartitionFor(ReadOnlySpan<byte> key, bool inclusive)
    {
        int partition = Reverse ? Partitions.Count - 1 : 0;
        while (partition >= 0 && partition < Partitions.Count && IsPassed(Partitions[partition].Range, key, inclusive))
        {
            partition += Reverse ? -1 : 1;
        }

        return partition;
    }

    public void Unpin()
    {
        foreach (Partition partition in Partitions)
        {
            partition.Unpin();
        }

        Partitions = ArraySegment<Partition>.Empty;
    }

    /// <summary>Gives the memory back; for a plan that is not used again.</summary>
    public void Dispose()
    {
        _from.Dispose();
        _to.Dispose();
        _after.Dispose();
    }

    private void SetLowerBound(ScanOptions options)
    {
        _from.Clear(KeptBytes);
        _from.Append(options.Prefix.Span.SequenceCompareTo(options.From.Span) > 0 ? options.Prefix.Span : options.From.Span);
    }

    /// <summary>The smaller of the given bound and the first key behind the prefix.</summary>
    private void SetUpperBound(ScanOptions options, out bool impossible)
    {
        ReadOnlySpan<byte> to = options.To.Span;
        _to.Clear(KeptBytes);
        impossible = false;
        ReadOnlySpan<byte> prefix = options.Prefix.Span.TrimEnd((byte)0xff);
        if (prefix.Length > 0)
        {
            _to.Append(prefix);
            _to.Slice(prefix.Length - 1, 1)[0]++;
        }

        // The prefix and the range may have no key in common: that is an empty scan, not an error.
        if (!options.Prefix.IsEmpty)
        {
            impossible = (to.Length > 0 && to.SequenceCompareTo(options.Prefix.Span) <= 0)
                || (_to.Length > 0 && options.From.Span.SequenceCompareTo(_to.Written) >= 0);
        }

        if (to.Length > 0 && (_to.Length == 0 || to.SequenceCompareTo(_to.Written) < 0))
        {
            _to.Clear();
            _to.Append(to);
        }
    }

    private bool Check(ScanOptions options, bool impossible, out bool isEmpty, out Status status, out string? detail)
    {
        isEmpty = false;
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
        else
        {
            isEmpty = impossible || (_to.Length > 0 && _from.Written.SequenceCompareTo(_to.Written) >= 0);
            status = Status.Ok;
        }

        return status == Status.Ok;
    }

    private bool IsPassed(KeyRange range, ReadOnlySpan<byte> key, bool inclusive)
    {
        if (!Reverse)
        {
            return !range.To.IsEmpty && range.To.Span.SequenceCompareTo(key) <= 0;
        }

        int order = range.From.Span.SequenceCompareTo(key);
        return inclusive ? order > 0 : order >= 0;
    }

    private static bool CheckOrder(ScanOptions options, ArraySegment<Partition> partitions, bool isEverything, out Status status, out string? detail)
    {
        foreach (Partition partition in partitions)
        {
            if (!partition.Engine.IsOrdered && (!options.Unordered || !isEverything || options.Reverse))
            {
                status = Status.Unsupported;
                detail = $"partition {partition.Id} is on the memory engine, which keeps no key order; ask for an unordered scan without bounds, prefix and reverse, or use the lsm engine";
                return false;
            }
        }

        status = Status.Ok;
        detail = null;
        return true;
    }

    private static bool TryPin(ArraySegment<Partition> partitions, out Status status, out string? detail)
    {
        for (int i = 0; i < partitions.Count; i++)
        {
            if (!partitions[i].TryPin())
            {
                while (--i >= 0)
                {
                    partitions[i].Unpin();
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
}
