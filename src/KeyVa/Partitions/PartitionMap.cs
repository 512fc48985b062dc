using System.Diagnostics.CodeAnalysis;

namespace KeyVa.Partitions;

/// <summary>
/// Which partition owns which range: immutable, by rising range, without overlaps. The router reads one and never
/// waits; a change publishes the next, with a higher epoch.
/// </summary>
internal sealed class PartitionMap
{
    private readonly Partition[] _partitions;

    public PartitionMap(long epoch, IEnumerable<Partition> partitions)
    {
        Epoch = epoch;
        _partitions = [.. partitions];
        Array.Sort(_partitions, static (a, b) => a.Range.From.Span.SequenceCompareTo(b.Range.From.Span));
    }

    /// <summary>Rises by one with every change.</summary>
    public long Epoch { get; }

    public ReadOnlySpan<Partition> Partitions => _partitions;

    /// <summary>The partition that owns a key; null: this node owns none.</summary>
    public Partition? Find(ReadOnlySpan<byte> key)
    {
        int i = IndexOfOwner(key);
        return i < 0 ? null : _partitions[i];
    }

    /// <summary>The partition that owns every key of a command; null if there is none.</summary>
    public Partition? OwnerOfAll(CommandBuilder command)
    {
        ReadOnlySpan<byte> bytes = command.Buffer.Written;
        Partition? owner = null;
        while (OperationEncoding.TryRead(ref bytes, out Operation operation))
        {
            owner ??= Find(operation.Key);
            if (owner is null || !owner.Range.Contains(operation.Key) || (operation.SpansRange && EndsBehind(operation.To, owner)))
            {
                return null;
            }
        }

        return owner;
    }

    public bool TryFind(long id, [NotNullWhen(true)] out Partition? partition)
    {
        foreach (Partition each in _partitions)
        {
            if (each.Id == id)
            {
                partition = each;
                return true;
            }
        }

        partition = null;
        return false;
    }

    public bool TryFind(KeyRange range, [NotNullWhen(true)] out Partition? partition)
    {
        partition = Array.Find(_partitions, p => p.Range.From.Span.SequenceEqual(range.From.Span) && p.Range.To.Span.SequenceEqual(range.To.Span));
        return partition is not null;
    }

    public Partition? FindOverlap(KeyRange range) => Array.Find(_partitions, p => p.Range.Overlaps(range));

    /// <summary>
    /// The partitions that a range touches, in order, and whether they own all of it.
    /// </summary>
    public ArraySegment<Partition> Cover(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, out bool complete)
    {
        int first = Math.Max(0, LastAtOrBelow(from));
        while (first < _partitions.Length && EndsBefore(_partitions[first], from))
        {
            first++;
        }

        int end = first;
        complete = first < _partitions.Length && _partitions[first].Range.From.Span.SequenceCompareTo(from) <= 0;
        while (end < _partitions.Length && (to.IsEmpty || _partitions[end].Range.From.Span.SequenceCompareTo(to) < 0))
        {
            complete &= end == first || _partitions[end - 1].Range.To.Span.SequenceEqual(_partitions[end].Range.From.Span);
            end++;
        }

        if (end == first)
        {
            complete = false;
            return ArraySegment<Partition>.Empty;
        }

        ReadOnlySpan<byte> reached = _partitions[end - 1].Range.To.Span;
        complete &= reached.IsEmpty || (!to.IsEmpty && reached.SequenceCompareTo(to) >= 0);
        return new ArraySegment<Partition>(_partitions, first, end - first);
    }

    /// <summary>Whether a range that ends at <paramref name="to"/> (empty: open) goes beyond a partition.</summary>
    internal static bool EndsBehind(ReadOnlySpan<byte> to, Partition partition) =>
        !partition.Range.To.IsEmpty && (to.IsEmpty || to.SequenceCompareTo(partition.Range.To.Span) > 0);

    private static bool EndsBefore(Partition partition, ReadOnlySpan<byte> key) =>
        !partition.Range.To.IsEmpty && partition.Range.To.Span.SequenceCompareTo(key) <= 0;

    private int IndexOfOwner(ReadOnlySpan<byte> key)
    {
        int i = _partitions.Length == 1 ? 0 : LastAtOrBelow(key);
        return i >= 0 && i < _partitions.Length && _partitions[i].Range.Contains(key) ? i : -1;
    }

    /// <summary>Binary search: the last partition that begins at or below a key, or -1.</summary>
    private int LastAtOrBelow(ReadOnlySpan<byte> key)
    {
        int low = 0;
        int high = _partitions.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            if (_partitions[middle].Range.From.Span.SequenceCompareTo(key) <= 0)
            {
                low = middle + 1;
            }
            else
            {
                high = middle - 1;
            }
        }

        return high;
    }
}
