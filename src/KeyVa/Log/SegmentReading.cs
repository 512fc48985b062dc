namespace KeyVa.Log;

/// <summary>Reads committed records back out of segments that are in use.</summary>
internal static class SegmentReading
{
    /// <summary>
    /// Hands all records of a segment below an absolute offset to a visitor. They were intact when they were written or
    /// the journal was opened: a group that is not any more is damage.
    /// </summary>
    public static void Read<TVisitor>(JournalSegment segment, long committed, GroupScanner scanner, ref TVisitor visitor)
        where TVisitor : IRecordVisitor, allows ref struct
    {
        long end = Begin(segment, committed, scanner);
        while (scanner.TryNext())
        {
            scanner.ReadRecords(ref visitor);
        }

        CheckEnd(segment, end, scanner);
    }

    /// <summary>Begins with a segment's groups below an absolute offset; returns where they end.</summary>
    public static long Begin(JournalSegment segment, long committed, GroupScanner scanner)
    {
        long end = Math.Min(segment.End, committed);
        scanner.Begin(segment.File, segment.Header, segment.FileOffset(end));
        return end;
    }

    /// <summary>No group begins where the scanner stands: it must be the end.</summary>
    public static void CheckEnd(JournalSegment segment, long end, GroupScanner scanner)
    {
        if (scanner.Offset < end)
        {
            throw new CorruptionException(segment.Path, scanner.Position, "a group that was intact when written is not any more");
        }
    }

    /// <summary>See <see cref="Journal.Read"/>.</summary>
    public static JournalReadResult Read(
        SegmentList segments,
        long partition,
        long fromIndex,
        IJournalReader reader,
        long maxBytes)
    {
        var pinned = new List<JournalSegment>();
        long oldest = segments.Pin(partition, fromIndex, pinned, out long committed);
        try
        {
            if (oldest > fromIndex)
            {
                return new JournalReadResult { Gone = true, OldestIndex = oldest, NextIndex = fromIndex };
            }

            using var scanner = new GroupScanner();
            var visitor = new PartitionVisitor { Reader = reader, Partition = partition, Next = fromIndex, From = fromIndex };
            int done = 0;
            while (done < pinned.Count && visitor.Bytes < maxBytes)
            {
                Read(pinned[done++], committed, scanner, ref visitor);
            }

            return new JournalReadResult { OldestIndex = oldest, NextIndex = visitor.Next, AtEnd = done == pinned.Count };
        }
        finally
        {
            segments.Unpin(pinned);
        }
    }

    private struct PartitionVisitor : IRecordVisitor
    {
        public required IJournalReader Reader;
        public required long Partition;
        public required long From;
        public required long Next;
        public long Bytes;

        public void Visit(in JournalRecord record)
        {
            if (record.Kind == RecordKind.Reached)
            {
                return;
            }

            foreach (LogPosition position in record.Positions)
            {
                if (position.Partition == Partition && position.Index >= From)
                {
                    Reader.Read(record);
                    Next = position.Index + 1;
                    Bytes += record.Payload.Length;
                    return;
                }
            }
        }
    }
}
