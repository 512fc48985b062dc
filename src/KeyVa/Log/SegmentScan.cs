using System.Runtime.ExceptionServices;
using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>What one segment's file holds, as far as it can be told without the segments before it.</summary>
internal sealed class SegmentScan
{
    /// <summary>The header that counts: the file's own, or the one that was noted elsewhere.</summary>
    public SegmentHeader Header { get; private set; }

    /// <summary>The file has no header of its own: none yet, or that of the segment that it was before.</summary>
    public bool HeaderLost { get; private set; }

    /// <summary>The index ranges of its partitions.</summary>
    public Dictionary<long, IndexRange> Ranges { get; } = [];

    /// <summary>What it says of the segments before: the last index of each partition.</summary>
    public Dictionary<long, long> Reached { get; private set; } = [];

    public long Groups { get; private set; }

    public long Records { get; private set; }

    /// <summary>The absolute offset behind the last good group, and that one's checksum.</summary>
    public long End { get; private set; }

    public uint Previous { get; private set; }

    /// <summary>The highest offset that header and groups record as synced.</summary>
    public long Synced { get; private set; }

    /// <summary>Its last good group is a mark.</summary>
    public bool EndsInMark { get; private set; }

    /// <summary>Reads a segment; its groups too, if a header says that it is the one that it should be.</summary>
    /// <param name="fileSystem">Where it is.</param>
    /// <param name="path">Its file.</param>
    /// <param name="sequence">What its name says.</param>
    /// <param name="beginning">What is noted of it, if it is the journal's first one and something is.</param>
    /// <param name="scanner">The thread's.</param>
    public static SegmentScan Read(IFileSystem fileSystem, string path, long sequence, JournalBeginning? beginning, GroupScanner scanner)
    {
        var scan = new SegmentScan();
        using StorageFile file = fileSystem.Open(path, writable: false);
        scan.HeaderLost = !TryReadHeader(file, out SegmentHeader header) || header.Sequence < sequence;
        if (scan.HeaderLost && beginning is not null)
        {
            header = beginning.Header;
        }

        scan.Header = header;
        if (header.Sequence == sequence)
        {
            scan.Reached = beginning is null ? [] : new Dictionary<long, long>(beginning.Reached);
            scan.ReadGroups(file, scanner);
        }

        return scan;
    }

    public static bool TryReadHeader(StorageFile file, out SegmentHeader header)
    {
        Span<byte> bytes = stackalloc byte[JournalFormat.SegmentHeaderBytes];
        int read = file.Read(0, bytes);
        return JournalFormat.TryReadSegmentHeader(bytes[..read], file.Path, out header);
    }

    private void ReadGroups(StorageFile file, GroupScanner scanner)
    {
        var visitor = new RangeVisitor { Segment = Ranges, Reached = Reached };
        scanner.Begin(file, Header, file.Length);
        Synced = Header.Synced;
        while (scanner.TryNext())
        {
            Groups++;
            EndsInMark = scanner.Group.Records == 0;
            Synced = Math.Max(Synced, scanner.Group.Synced);
            scanner.ReadRecords(ref visitor);
        }

        Records = visitor.Records;
        End = scanner.Offset;
        Previous = scanner.Previous;
    }

    private struct RangeVisitor : IRecordVisitor
    {
        public required Dictionary<long, IndexRange> Segment;
        public required Dictionary<long, long> Reached;
        public long Records;

        public void Visit(in JournalRecord record)
        {
            if (record.Kind == RecordKind.Reached)
            {
                ReachedEntry.Note(Reached, record.Positions);
                return;
            }

            Records++;
            JournalSegment.Note(Segment, record.Positions);
        }
    }
}

/// <summary>
/// Scans the segments of a journal for one taker, who asks for them in their order; if wanted, with a second thread that reads what will be
/// asked for. What is read ahead and never asked for has no effect, whatever is wrong with it.
/// </summary>
/// <remarks>One taker at a time.</remarks>
internal sealed class SegmentScans : IDisposable
{
    // Immutable.
    private readonly IFileSystem _fileSystem;
    private readonly JournalBeginning? _beginning;
    private readonly (long Sequence, string Path)[] _segments;
    private readonly Thread? _helper;

    // The taker's.
    private readonly GroupScanner _scanner;

    // Guarded by the lock on the results: how each scan ended, and the first that nobody has begun.
    private readonly (SegmentScan? Scan, ExceptionDispatchInfo? Failure)[] _results;
    private int _next;

    public SegmentScans(IFileSystem fileSystem, IEnumerable<(long Sequence, string Path)> segments, JournalBeginning? beginning, GroupScanner scanner, bool ahead)
    {
        _fileSystem = fileSystem;
        _beginning = beginning;
        _segments = [.. segments];
        _scanner = scanner;
        _results = new (SegmentScan?, ExceptionDispatchInfo?)[_segments.Length];
        if (ahead)
        {
            _helper = new Thread(RunAhead) { IsBackground = true, Name = "KeyVa scan" };
            _helper.Start();
        }
    }

    /// <summary>The scan of a segment; throws what reading it threw.</summary>
    public SegmentScan Take(int index)
    {
        while (true)
        {
            int mine;
            lock (_results)
            {
                (SegmentScan? scan, ExceptionDispatchInfo? failure) = _results[index];
                failure?.Throw();
                if (scan is not null)
                {
                    return scan;
                }

                if (_next == _segments.Length)
                {
                    // It is being read, as are all behind it.
                    Monitor.Wait(_results);
                    continue;
                }

                mine = _next++;
            }

            Read(mine, _scanner);
        }
    }

    public void Dispose()
    {
        lock (_results)
        {
            _next = _segments.Length;
        }

        _helper?.Join();
    }

    private void RunAhead()
    {
        using var scanner = new GroupScanner();
        while (true)
        {
            int mine;
            lock (_results)
            {
                if (_next == _segments.Length)
                {
                    return;
                }

                mine = _next++;
            }

            Read(mine, scanner);
        }
    }

    private void Read(int index, GroupScanner scanner)
    {
        SegmentScan? scan = null;
        ExceptionDispatchInfo? failure = null;
        try
        {
            (long sequence, string path) = _segments[index];
            scan = SegmentScan.Read(_fileSystem, path, sequence, _beginning?.Header.Sequence == sequence ? _beginning : null, scanner);
        }
        catch (Exception error)
        {
            // Thrown to the taker, when it comes to this segment.
            failure = ExceptionDispatchInfo.Capture(error);
        }

        lock (_results)
        {
            _results[index] = (scan, failure);
            Monitor.PulseAll(_results);
        }
    }
}
