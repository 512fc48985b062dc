namespace KeyVa.Log;

/// <summary>
/// A record with which a segment begins: the last index in the log of each partition, of all that is in the segments
/// before. When those are gone, the engines' files must contain everything up to there: so a segment that was needed and is
/// missing shows, though nothing behind it is for the partitions that it was for. Immutable.
/// </summary>
internal sealed class ReachedEntry : JournalEntry
{
    private readonly LogPosition[] _positions;

    private ReachedEntry(LogPosition[] positions, JournalEntry? next)
    {
        _positions = positions;
        Kind = RecordKind.Reached;
        Next = next;
    }

    public override ReadOnlySpan<LogPosition> Positions => _positions;

    /// <summary>The records for so many partitions, each with as many as one can have, linked; null if there are none.</summary>
    public static JournalEntry? Chain(Dictionary<long, long> reached)
    {
        JournalEntry? first = null;
        foreach (long[] partitions in reached.Keys.Order().Chunk(JournalFormat.MaxPositions))
        {
            first = new ReachedEntry([.. partitions.Select(partition => new LogPosition(partition, 0, reached[partition]))], first);
        }

        return first;
    }

    /// <summary>What a record says, noted.</summary>
    public static void Note(Dictionary<long, long> reached, ReadOnlySpan<LogPosition> positions)
    {
        foreach (LogPosition position in positions)
        {
            Note(reached, position.Partition, position.Index);
        }
    }

    public static void Note(Dictionary<long, long> reached, long partition, long index) =>
        reached[partition] = Math.Max(index, reached.GetValueOrDefault(partition));

    public override void Completed()
    {
    }
}
