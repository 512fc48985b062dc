using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>Bytes behind the last good group that were never known to be synced: what a crash leaves.</summary>
/// <param name="File">Where the tail begins.</param>
/// <param name="Offset">At which byte of the file.</param>
/// <param name="Bytes">How many bytes it has, in this segment and later ones, zeros at their ends left out.</param>
internal sealed record TornTail(string File, long Offset, long Bytes)
{
    public string Message =>
        $"'{File}' ends in {Bytes} bytes from offset {Offset} on that no sync had confirmed (a crash interrupted a write)";
}

/// <summary>A good segment, as found.</summary>
/// <param name="Path">Its file.</param>
/// <param name="Header">Its header.</param>
/// <param name="End">The absolute offset behind its last good group.</param>
/// <param name="Ranges">The index ranges of its partitions.</param>
/// <param name="Reached">What it says of the segments before: the last index of each partition.</param>
internal sealed record ScannedSegment(
    string Path, SegmentHeader Header, long End, Dictionary<long, IndexRange> Ranges, Dictionary<long, long> Reached)
{
    /// <summary>The first segment's header is not in its file; it was noted elsewhere (<see cref="JournalBeginning"/>).</summary>
    public bool HeaderLost { get; init; }
}

/// <summary>
/// Reads a journal folder without changing it: which segments and groups are good, where they end, and whether what
/// follows is a torn tail or damage.
/// <para>
/// The rule. The journal ends at the first place X where no group begins that is intact, carries its segment's salt and
/// its own offset, and is chained to the one before. Whatever follows X was never acknowledged as synced, unless something
/// intact behind X (a group, a mark, a segment's header) records a synced offset above X: then bytes that were on the disk
/// have changed, which is damage. Intact groups behind X without such a record are what a power loss leaves when it writes
/// later pages and loses earlier ones: tail too.
/// </para>
/// <para>
/// A file that was another segment before holds remains of it behind the end, or, where nothing was written to it yet, from its
/// first byte on. They are neither: what is whole there stands below the end of the log, and what is cut off is not looked at
/// unless two of magic, salt and offset are those of the group that is expected.
/// </para>
/// </summary>
internal sealed class JournalScan : IDisposable
{
    private readonly IFileSystem _fileSystem;
    private readonly string _directory;
    private readonly GroupScanner _scanner = new();
    private JournalBeginning? _beginning;

    // What the tail looks like, to name the right file: nothing but zeros behind the last group, no header after it.
    private bool _endsInZeros;
    private bool _headerUnreadable;

    private JournalScan(IFileSystem fileSystem, string directory)
    {
        _fileSystem = fileSystem;
        _directory = directory;
    }

    public List<ScannedSegment> Segments { get; } = [];

    /// <summary>The first damage found, or null; nothing behind it was looked at.</summary>
    public CorruptionException? Damage { get; private set; }

    public TornTail? Tail { get; private set; }

    /// <summary>Segment files behind the last good one, by rising sequence: an unused one, or remains.</summary>
    public List<string> Remains { get; } = [];

    /// <summary>Segments in front of the journal's beginning: they were to be deleted.</summary>
    public List<string> Leftovers { get; } = [];

    /// <summary>The absolute offset behind the last good group.</summary>
    public long End { get; private set; }

    /// <summary>The checksum of the last good group.</summary>
    public uint Previous { get; private set; }

    /// <summary>The highest offset recorded as synced.</summary>
    public long Synced { get; private set; }

    /// <summary>The last good group is a mark: all before it is known to be synced.</summary>
    public bool EndsInMark { get; private set; }

    public long Groups { get; private set; }

    public long Records { get; private set; }

    /// <param name="fileSystem">Where it is.</param>
    /// <param name="directory">Its folder.</param>
    /// <param name="aheadFrom">So many segments or more are read by two threads.</param>
    public static JournalScan Run(IFileSystem fileSystem, string directory, long aheadFrom = long.MaxValue)
    {
        var scan = new JournalScan(fileSystem, directory);
        using (scan)
        {
            scan.ReadAll(aheadFrom);
        }

        return scan;
    }

    public void Dispose() => _scanner.Dispose();

    private void ReadAll(long aheadFrom)
    {
        var sequences = new List<long>();
        foreach (string name in _fileSystem.List(_directory))
        {
            if (JournalFormat.SequenceOf(name) is > 0 and long sequence)
            {
                sequences.Add(sequence);
            }
        }

        sequences.Sort();
        if (!Begin(sequences))
        {
            return;
        }

        int good = 0;
        using (SegmentScans scans = new(_fileSystem, sequences.Select(sequence => (sequence, PathOf(sequence))), _beginning, _scanner, ahead: sequences.Count >= aheadFrom))
        {
            while (good < sequences.Count && Damage is null && ReadSegment(sequences, good, scans))
            {
                good++;
            }
        }

        if (Damage is null)
        {
            foreach (long sequence in sequences.Skip(good))
            {
                Remains.Add(PathOf(sequence));
            }

            ReadTail();
            if (Damage is null && Segments.Count == 0 && sequences.Count > 0 && sequences[0] > 1)
            {
                // Only the very first segment may be without a header: a later one had one before it that was in use.
                Damage = Tail is { } remains
                    ? new CorruptionException(remains.File, 0, "the header of the first segment is unreadable")
                    : new CorruptionException(PathOf(sequences[0] - 1), 0, $"the segment is missing: {sequences[0]} was never used");
                Tail = null;
            }
        }
    }

    // What is noted of the beginning counts while that segment is there: with its own header, nobody has to note it again.
    private bool Begin(List<long> sequences)
    {
        try
        {
            _beginning = JournalBeginning.Read(_fileSystem, _directory);
        }
        catch (CorruptionException damage)
        {
            Damage = damage;
            return false;
        }

        if (_beginning is null)
        {
            return true;
        }

        long first = _beginning.Header.Sequence;
        if (sequences.Contains(first))
        {
            Leftovers.AddRange(sequences.Where(sequence => sequence < first).Select(PathOf));
            sequences.RemoveAll(sequence => sequence < first);
        }
        else if (sequences.Count == 0 || sequences[^1] < first)
        {
            Damage = new CorruptionException(PathOf(first), 0, $"the segment is missing, but {JournalBeginning.FileName} says that the journal begins with it");
        }

        return Damage is null;
    }

    private string PathOf(long sequence) => $"{_directory}/{JournalFormat.SegmentName(sequence)}";

    // False where the journal ends before this segment.
    private bool ReadSegment(List<long> sequences, int index, SegmentScans scans)
    {
        long sequence = sequences[index];
        string path = PathOf(sequence);
        if (index > 0 && sequence != sequences[index - 1] + 1)
        {
            string missing = PathOf(sequences[index - 1] + 1);
            Damage = new CorruptionException(missing, 0, $"the segment is missing, but {sequence} is there");
            return false;
        }

        SegmentScan scan = scans.Take(index);
        if (scan.HeaderLost && _beginning?.Header.Sequence != sequence)
        {
            return false;
        }

        if (scan.Header.Sequence != sequence)
        {
            Damage = new CorruptionException(path, 16, $"the header says segment {scan.Header.Sequence}: the file was renamed or copied");
            return false;
        }

        if (index > 0 && !Follows(path, scan.Header))
        {
            return false;
        }

        Add(path, scan);
        return true;
    }

    // A segment that begins above the end found so far stands behind a hole: whether that is tail, the tail decides.
    private bool Follows(string path, in SegmentHeader header)
    {
        if (header.Base < End)
        {
            Damage = new CorruptionException(path, 32, $"the segment begins at {header.Base}, but the one before ends at {End}");
        }
        else if (header.Base == End && header.Previous != Previous)
        {
            Damage = new CorruptionException(path, 48, "the segment is not the continuation of the one before");
        }

        return header.Base == End && Damage is null;
    }

    private void Add(string path, SegmentScan scan)
    {
        Groups += scan.Groups;
        Records += scan.Records;
        EndsInMark = scan.Groups > 0 ? scan.EndsInMark : EndsInMark;
        Synced = Math.Max(Synced, scan.Synced);
        End = scan.End;
        Previous = scan.Previous;
        Segments.Add(new ScannedSegment(path, scan.Header, End, scan.Ranges, scan.Reached) { HeaderLost = scan.HeaderLost });
    }

    private void ReadTail()
    {
        TornTail? tail = null;
        if (Segments.Count > 0)
        {
            ScannedSegment last = Segments[^1];
            using StorageFile file = _fileSystem.Open(last.Path, writable: false);
            long from = End - last.Header.Base + JournalFormat.SegmentHeaderBytes;
            tail = Look(last.Path, file, last.Header, last.Header.UsedBefore, from, tail);
            _endsInZeros = tail is null && Damage is null;
        }

        foreach (string path in Remains)
        {
            using StorageFile file = _fileSystem.Open(path, writable: false);
            if (SegmentScan.TryReadHeader(file, out SegmentHeader header) && header.Sequence == JournalFormat.SequenceOf(Path.GetFileName(path)))
            {
                if (Segments.Count == 0 || header.Synced > End)
                {
                    SetDamage($"the header of '{path}' shows that it was on the disk");
                    return;
                }

                tail = Look(path, file, header, header.UsedBefore, JournalFormat.SegmentHeaderBytes, tail ?? new TornTail(path, 0, JournalFormat.SegmentHeaderBytes));
            }
            else
            {
                _headerUnreadable |= path == Remains[0];
                tail = Look(path, file, header: null, reused: header.Sequence > 0, 0, tail);
            }

            if (Damage is not null)
            {
                return;
            }
        }

        Tail = Damage is null ? tail : null;
    }

    // Looks through the bytes behind the end for what proves that the end is not the end. Without a header, the salt is not known;
    // reused: what the file held in its former life is no tail.
    private TornTail? Look(string path, StorageFile file, SegmentHeader? header, bool reused, long from, TornTail? tail)
    {
        long limit = file.Length;
        _scanner.Begin(file, header ?? default, limit);
        long first = -1;
        long last = -1;
        for (long at = _scanner.SkipZeros(from); at >= 0;)
        {
            long length = JournalFormat.Alignment;
            long seen = length;
            bool counts = !reused;
            if (_scanner.TryGroup(at, header?.Salt, out GroupHeader group) && !IsFormer(header, group))
            {
                if (Segments.Count == 0 || group.Synced > End)
                {
                    SetDamage($"'{path}' records at offset {at} that it was on the disk");
                    return null;
                }

                length = seen = group.Length;
                counts = true;
            }
            else if ((reused || header is null) && _scanner.TryGroup(at, salt: null, out group) && IsFormer(header: null, group))
            {
                length = group.Length;
                counts = false;
            }
            else if (reused && at == from && header is not null && _scanner.IsRecognizable(at, out group))
            {
                // Its length may be what is wrong: it is reported, not relied on.
                seen = Math.Clamp(group.Length, JournalFormat.Alignment, limit - at);
                counts = true;
            }

            if (counts)
            {
                first = first < 0 ? at : first;
                last = at + seen;
            }

            at = _scanner.SkipZeros(at + length);
        }

        if (first < 0)
        {
            return tail;
        }

        long bytes = Math.Min(last, limit) - Math.Min(first, from);
        return tail is null ? new TornTail(path, from, bytes) : tail with { Bytes = tail.Bytes + bytes };
    }

    // A whole group of what the file was before: all of that stood below the end that the log has now. Of a segment whose salt is known,
    // only its own groups are looked at.
    private bool IsFormer(SegmentHeader? header, in GroupHeader group) => header is null && Segments.Count > 0 && group.Offset < End;

    private void SetDamage(string evidence)
    {
        if (Segments.Count == 0)
        {
            Damage = new CorruptionException(Remains[0], 0, $"the header of the first segment is unreadable, and {evidence}");
            return;
        }

        ScannedSegment last = Segments[^1];
        long offset = End - last.Header.Base + JournalFormat.SegmentHeaderBytes;
        Damage = _endsInZeros && _headerUnreadable
            ? new CorruptionException(Remains[0], 0, $"the segment's header is unreadable, but {evidence}")
            : new CorruptionException(last.Path, offset, $"no intact group begins here, but {evidence}");
    }
}
