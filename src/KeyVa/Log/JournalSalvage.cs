using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// Goes through a journal that is damaged and hands over every record whose checksum fits, in the order of the log; says
/// where something is missing. It changes nothing. One thread.
/// </summary>
/// <remarks>
/// A group counts if it is intact, carries its segment's salt and stands at its own offset; where the segment's header is
/// gone, the first group found gives the salt. A group that is not intact gives those of its records that are. Everything
/// between two groups that are not neighbours is damage.
/// </remarks>
internal sealed class JournalSalvage(IFileSystem fileSystem, string directory) : IDisposable
{
    private readonly GroupScanner _scanner = new();
    private JournalBeginning? _beginning;

    /// <summary>The absolute offset behind the last group; -1 while none was found.</summary>
    private long _end = -1;

    /// <summary>Where bytes that should be groups are not.</summary>
    public List<CorruptionException> Damages { get; } = [];

    /// <summary>Places, so far, at which records may have been lost: behind the last of them, nobody knows what there was.</summary>
    public int Holes { get; private set; }

    /// <summary>Hands over what is intact in all segments of the folder.</summary>
    public void Run<TVisitor>(ref TVisitor visitor)
        where TVisitor : IRecordVisitor, allows ref struct
    {
        ReadBeginning();
        long[] sequences = [.. fileSystem.List(directory).Select(JournalFormat.SequenceOf).Where(sequence => sequence > 0).Order()];
        if (_beginning is not null && sequences.Contains(_beginning.Header.Sequence))
        {
            // What stands before the beginning was to be deleted, in whatever order.
            sequences = [.. sequences.SkipWhile(sequence => sequence < _beginning.Header.Sequence)];
        }

        for (int i = 0; i < sequences.Length; i++)
        {
            for (long missing = i == 0 ? sequences[0] : sequences[i - 1] + 1; missing < sequences[i]; missing++)
            {
                Holes++;
                Damages.Add(new CorruptionException(PathOf(missing), 0, "the segment is missing"));
            }

            if (!ReadSegment(PathOf(sequences[i]), isLast: i == sequences.Length - 1, ref visitor) && i == 0 && sequences[0] > 1)
            {
                Holes++;
                Damages.Add(new CorruptionException(PathOf(sequences[0] - 1), 0, $"the segment is missing: {sequences[0]} was never used"));
            }
        }
    }

    public void Dispose() => _scanner.Dispose();

    private void ReadBeginning()
    {
        try
        {
            _beginning = JournalBeginning.Read(fileSystem, directory);
        }
        catch (CorruptionException damage)
        {
            Damages.Add(damage);
        }
    }

    private string PathOf(long sequence) => $"{directory}/{JournalFormat.SegmentName(sequence)}";

    /// <summary>False if the segment was never used.</summary>
    private bool ReadSegment<TVisitor>(string path, bool isLast, ref TVisitor visitor)
        where TVisitor : IRecordVisitor, allows ref struct
    {
        using StorageFile file = fileSystem.Open(path, writable: false);
        Span<byte> head = stackalloc byte[JournalFormat.SegmentHeaderBytes];
        int read = file.Read(0, head);
        bool hasHeader = JournalFormat.TryReadSegmentHeader(head[..read], path, out SegmentHeader header);
        long sequence = JournalFormat.SequenceOf(Path.GetFileName(path));
        bool isFormer = hasHeader && header.Sequence < sequence;
        if (_beginning?.Header.Sequence == sequence && (!hasHeader || isFormer))
        {
            (header, hasHeader, isFormer) = (_beginning.Header, true, false);
        }

        _scanner.Begin(file, header, file.Length);
        if (isLast && (isFormer || (!hasHeader && _scanner.SkipZeros(0) < 0)))
        {
            // Made ready and never used.
            return false;
        }

        if (!hasHeader || isFormer)
        {
            _scanner.Begin(file, default, file.Length);
            Damages.Add(new CorruptionException(path, 0, "the segment's header is unreadable"));
            if (!FindHeader(file, out header))
            {
                Holes++;
                return true;
            }

            _scanner.Begin(file, header, file.Length);
        }

        if (_end >= 0 && header.Base > _end)
        {
            Holes++;
            Damages.Add(new CorruptionException(path, 32, $"the segment begins at {header.Base} of the log, what is intact before it ends at {_end}"));
        }

        ReadGroups(path, header, ref visitor);
        return true;
    }

    /// <summary>What a segment's header must have said, from the first group that is intact.</summary>
    private bool FindHeader(StorageFile file, out SegmentHeader header)
    {
        for (long at = _scanner.SkipZeros(JournalFormat.SegmentHeaderBytes); at >= 0; at = _scanner.SkipZeros(at + JournalFormat.Alignment))
        {
            if (_scanner.TryGroup(at, salt: null, out GroupHeader group) && group.Offset >= _end)
            {
                header = new SegmentHeader
                {
                    Sequence = JournalFormat.SequenceOf(Path.GetFileName(file.Path)),
                    Version = group.Version,
                    Salt = group.Salt,
                    Base = group.Offset - (at - JournalFormat.SegmentHeaderBytes),
                    Synced = 0,
                    Previous = 0,
                };
                return true;
            }
        }

        header = default;
        return false;
    }

    private void ReadGroups<TVisitor>(string path, in SegmentHeader segment, ref TVisitor visitor)
        where TVisitor : IRecordVisitor, allows ref struct
    {
        long expected = JournalFormat.SegmentHeaderBytes;
        bool hasRemains = false;
        for (long at = _scanner.SkipZeros(expected); at >= 0;)
        {
            if (_scanner.TryGroup(at, segment.Salt, out GroupHeader group))
            {
                if (at > expected)
                {
                    Holes++;
                    Damages.Add(new CorruptionException(path, expected, $"{at - expected} bytes hold no intact group"));
                }

                _scanner.ReadRecords(at, group, ref visitor);
                expected = at + group.Length;
                hasRemains = false;
                at = _scanner.SkipZeros(expected);
                continue;
            }

            if (segment.UsedBefore && _scanner.TryGroup(at, salt: null, out GroupHeader former) && former.Offset < segment.Base)
            {
                // What the file held before it was this segment.
                at = _scanner.SkipZeros(at + former.Length);
                continue;
            }

            bool recognized = _scanner.IsRecognizable(at, out _);
            hasRemains |= recognized || !segment.UsedBefore;
            long behind = recognized ? ReadDamagedGroup(at, segment, ref visitor) : at;
            at = _scanner.SkipZeros(Math.Max(behind, at + JournalFormat.Alignment));
        }

        if (hasRemains)
        {
            Holes++;
            Damages.Add(new CorruptionException(path, expected, "what follows holds no intact group"));
        }

        _end = segment.Base + expected - JournalFormat.SegmentHeaderBytes;
    }

    // A group of this segment began here. Returns where its last good record ends.
    private long ReadDamagedGroup<TVisitor>(long at, in SegmentHeader segment, ref TVisitor visitor)
        where TVisitor : IRecordVisitor, allows ref struct
    {
        long behind = at;
        long record = at + GroupScanner.HeaderBytes(segment.Version);
        while (!_scanner.TryGroup(record, segment.Salt, out _))
        {
            bool good = _scanner.TryRecord(record, ref visitor, out int length);
            if (length == 0)
            {
                break;
            }

            record += length;
            behind = good ? record : behind;
        }

        return behind;
    }
}

/// <summary>For a walk that is only after the damage.</summary>
internal struct IgnoredRecords : IRecordVisitor
{
    public readonly void Visit(in JournalRecord record)
    {
    }
}
