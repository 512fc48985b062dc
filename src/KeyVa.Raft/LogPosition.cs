namespace KeyVa.Raft;

/// <summary>
/// Where a log ends: the term and index of its last entry. Ordered as Raft compares logs when votes are given: by term,
/// then by index (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", extended version, §5.4.1).
/// </summary>
public readonly record struct LogPosition(long Term, long Index) : IComparable<LogPosition>
{
    /// <summary>The end of an empty log.</summary>
    public static LogPosition Empty => default;

    /// <summary>Whether a log that ends here is at least as up-to-date as one that ends at <paramref name="other"/>.</summary>
    public bool IsAtLeastAsUpToDateAs(LogPosition other) => CompareTo(other) >= 0;

    /// <inheritdoc/>
    public int CompareTo(LogPosition other) => Term != other.Term ? Term.CompareTo(other.Term) : Index.CompareTo(other.Index);

    /// <summary>Whether the left log is less up-to-date.</summary>
    public static bool operator <(LogPosition left, LogPosition right) => left.CompareTo(right) < 0;

    /// <summary>Whether the left log is more up-to-date.</summary>
    public static bool operator >(LogPosition left, LogPosition right) => left.CompareTo(right) > 0;

    /// <summary>Whether the left log is at most as up-to-date.</summary>
    public static bool operator <=(LogPosition left, LogPosition right) => left.CompareTo(right) <= 0;

    /// <summary>Whether the left log is at least as up-to-date.</summary>
    public static bool operator >=(LogPosition left, LogPosition right) => left.CompareTo(right) >= 0;
}
