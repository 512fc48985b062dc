namespace KeyVa;

/// <summary>A range of keys: from <see cref="From"/> (inclusive) up to <see cref="To"/> (exclusive); an empty bound is open.</summary>
public readonly struct KeyRange
{
    /// <summary>The range [<paramref name="from"/>, <paramref name="to"/>).</summary>
    public KeyRange(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to)
    {
        From = from;
        To = to;
    }

    /// <summary>All keys.</summary>
    public static KeyRange All => default;

    /// <summary>The keys that begin with a prefix; an empty one: all keys.</summary>
    public static KeyRange WithPrefix(ReadOnlyMemory<byte> prefix)
    {
        // The first key behind them: without trailing 0xff bytes, which nothing goes beyond, and one higher at its end.
        byte[] end = prefix.Span.TrimEnd((byte)0xff).ToArray();
        if (end.Length > 0)
        {
            end[^1]++;
        }

        return new KeyRange(prefix, end);
    }

    /// <summary>The first key; empty: from the first possible key.</summary>
    public ReadOnlyMemory<byte> From { get; }

    /// <summary>The first key behind the range; empty: to the last possible key.</summary>
    public ReadOnlyMemory<byte> To { get; }

    /// <summary>Whether the range ends where or before it begins.</summary>
    public bool IsEmpty => !To.IsEmpty && From.Span.SequenceCompareTo(To.Span) >= 0;

    /// <summary>Whether a key lies in the range.</summary>
    public bool Contains(ReadOnlySpan<byte> key) =>
        key.SequenceCompareTo(From.Span) >= 0 && (To.IsEmpty || key.SequenceCompareTo(To.Span) < 0);

    /// <summary>Whether two ranges share a key.</summary>
    public bool Overlaps(KeyRange other) =>
        (other.To.IsEmpty || From.Span.SequenceCompareTo(other.To.Span) < 0)
        && (To.IsEmpty || other.From.Span.SequenceCompareTo(To.Span) < 0);
}
