namespace KeyVa;

/// <summary>How an lsm partition keeps its tables together. A store may be opened with another style than before.</summary>
public enum CompactionStyle
{
    /// <summary>
    /// Levels that grow by ten; a table goes down into the part of the next level that it overlaps. Least space and fastest
    /// reads: about a tenth more space than the data takes.
    /// </summary>
    Leveled,

    /// <summary>
    /// Sorted runs of similar size are merged together (universal compaction). Least writing; the data may take up to three
    /// times its space for a while, and reads look into more tables.
    /// </summary>
    Tiered,
}
