namespace KeyVa.Log;

/// <summary>Takes groups that were found intact apart into their records. One thread at a time.</summary>
internal sealed class RecordReader
{
    private LogPosition[] _positions = new LogPosition[1];

    /// <summary>Hands the records of one group to a visitor; nothing is checked again.</summary>
    public void ReadGroup<TVisitor>(ReadOnlySpan<byte> group, uint version, ref TVisitor visitor)
        where TVisitor : IRecordVisitor, allows ref struct
    {
        for (int at = GroupScanner.HeaderBytes(version); at < group.Length;)
        {
            TryReadHead(group[at..], version, out RecordHead head);
            Visit(group.Slice(at, head.Length), version, head, ref visitor);
            at += head.Length;
        }
    }

    public static bool TryReadHead(ReadOnlySpan<byte> from, uint version, out RecordHead head) =>
        version == JournalFormat1.Version ? JournalFormat1.TryReadRecordHead(from, out head) : JournalFormat.TryReadRecordHead(from, out head);

    public void Visit<TVisitor>(ReadOnlySpan<byte> record, uint version, in RecordHead head, ref TVisitor visitor)
        where TVisitor : IRecordVisitor, allows ref struct
    {
        if (_positions.Length < head.Positions)
        {
            _positions = new LogPosition[head.Positions];
        }

        if (version == JournalFormat1.Version)
        {
            JournalFormat1.ReadPositions(record, head, _positions);
        }
        else
        {
            JournalFormat.ReadPositions(record, head, _positions);
        }

        visitor.Visit(new JournalRecord
        {
            Kind = head.Kind,
            Positions = _positions.AsSpan(0, head.Positions),
            Payload = record.Slice(head.PayloadAt, head.PayloadLength),
        });
    }
}
