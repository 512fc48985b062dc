namespace KeyVa.Watches;

/// <summary>Of which keys somebody wants to know what a change replaces. Immutable.</summary>
internal sealed class PreviousFilter
{
    /// <summary>Of more watchers than this the ranges are not told apart: every change is read for.</summary>
    private const int MaxRanges = 1024;

    private static readonly PreviousFilter Everything = new([KeyRange.All]);

    // By rising beginning, none overlaps or touches the next.
    private readonly KeyRange[] _ranges;

    private PreviousFilter(KeyRange[] ranges) => _ranges = ranges;

    /// <summary>Null: of none.</summary>
    public static PreviousFilter? Of(IReadOnlyCollection<KeyRange> wanted)
    {
        if (wanted.Count is 0 or > MaxRanges)
        {
            return wanted.Count == 0 ? null : Everything;
        }

        KeyRange[] sorted = [.. wanted];
        Array.Sort(sorted, static (a, b) => a.From.Span.SequenceCompareTo(b.From.Span));
        var merged = new List<KeyRange>();
        foreach (KeyRange range in sorted)
        {
            if (merged.Count > 0 && Reaches(merged[^1].To.Span, range.From.Span))
            {
                merged[^1] = new KeyRange(merged[^1].From, Later(merged[^1].To, range.To));
            }
            else
            {
                merged.Add(range);
            }
        }

        return new PreviousFilter([.. merged]);
    }

    public bool Contains(ReadOnlySpan<byte> key)
    {
        int low = 0;
        int high = _ranges.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            if (_ranges[middle].From.Span.SequenceCompareTo(key) <= 0)
            {
                low = middle + 1;
            }
            else
            {
                high = middle - 1;
            }
        }

        return high >= 0 && _ranges[high].Contains(key);
    }

    private static bool Reaches(ReadOnlySpan<byte> to, ReadOnlySpan<byte> from) => to.IsEmpty || to.SequenceCompareTo(from) >= 0;

    private static ReadOnlyMemory<byte> Later(ReadOnlyMemory<byte> a, ReadOnlyMemory<byte> b) =>
        a.IsEmpty || b.IsEmpty ? default : a.Span.SequenceCompareTo(b.Span) >= 0 ? a : b;
}
