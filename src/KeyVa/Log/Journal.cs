using System.Diagnostics;
using KeyVa.Engines;
using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// The journal of a node, shared by its partitions: an append-only sequence of records in segment files (see
/// <see cref="JournalFormat"/>). Thread-safe.
/// <para>
/// Appends combine. One thread at a time is the <em>flusher</em>: the caller that finds the journal idle, or one that was
/// handed the role. It takes what is queued, writes it with one call, syncs once, and hands the role to a waiting caller,
/// or to the <see cref="JournalSyncThread"/> if only asynchronous entries wait; so one caller alone never leaves its
/// thread, many share a sync, and nobody serves others for ever.
/// </para>
/// Invariants: (1) the queue is empty whenever there is no flusher; (2) entries reach the disk in the order they were
/// queued; (3) an entry is completed exactly once, after the flusher's role was given up; (4) once failed, the journal
/// accepts nothing for ever.
/// </summary>
internal sealed class Journal : IDisposable
{
    /// <summary>Bytes after which a group is closed; one larger entry forms a group of its own.</summary>
    internal const long MaxGroupBytes = 4 << 20;

    // True on a thread that is inside a Completed: what it enqueues is left to the sync thread, or calls would nest
    // without bound.
    [ThreadStatic]
    internal static bool IsCompleting;

    // Immutable.
    private readonly JournalOptions _options;
    private readonly SegmentFiles _files;
    private readonly SegmentList _segments;
    private readonly JournalWriter _writer;
    private readonly JournalSyncThread _syncThread;
    private readonly long _openedEnd;

    // Guarded by the gate. The queue runs from _head to _tail.
    private readonly object _gate = new();
    private JournalEntry? _head;
    private JournalEntry? _tail;

    private Journal(
        JournalOptions options,
        SegmentFiles files,
        List<JournalSegment> segments,
        JournalScan scan,
        JournalRecovery recovery,
        TimeProvider time)
    {
        _options = options;
        _files = files;
        _segments = new SegmentList(files, options, segments);
        long synced = segments.TrueForAll(static segment => segment.Rewriting is null or { IsDone: true }) ? segments[^1].End : scan.Synced;
        _writer = new JournalWriter(options, files, _segments, segments[^1], scan.Previous, scan.EndsInMark, synced);
        if (scan.Synced < scan.End)
        {
            // Where recovery has written and synced again what it found, damage to it is to be seen as such from now on.
            _writer.TryMark();
        }

        _openedEnd = _writer.End;
        Recovery = recovery;
        _syncThread = new JournalSyncThread(this, _gate, options, files, _segments, _writer, time);
        _syncThread.Start();
    }

    /// <summary>What stopped the journal, or null.</summary>
    public StoreException? Failure => _writer.Failure;

    /// <summary>What opening found, and whether a torn tail was cut.</summary>
    public JournalRecovery Recovery { get; }

    /// <summary>Bytes of all segment files.</summary>
    public long Bytes => _segments.Bytes;

    /// <summary>Syncs of segment files so far.</summary>
    public long Syncs => _writer.Syncs;

    /// <summary>Segment files in use.</summary>
    public int Segments => _segments.Count;

    /// <summary>The next segment's file was asked for and is not made yet: a full segment grows instead of waiting for it.</summary>
    public bool IsPreparing => _files.IsPreparing;

    /// <summary>The absolute offset up to which everything is known to be on the disk.</summary>
    public long SyncedOffset => _writer.Synced;

    /// <summary>The absolute offset behind the last group.</summary>
    public long EndOffset => _writer.End;

    /// <summary>Gate held: there is a flusher.</summary>
    internal bool IsBusy { get; set; }

    /// <summary>Whether nothing is under way or left to do, on any thread: for a simulation, whose next step must find everything in its place.</summary>
    internal bool IsAtRest
    {
        get
        {
            lock (_gate)
            {
                return !IsBusy && _syncThread.IsAtRest;
            }
        }
    }

    /// <summary>Opens or creates the journal in a folder: finds its end, cuts a torn tail, refuses earlier damage.</summary>
    public static Journal Open(IFileSystem fileSystem, string directory, JournalOptions options, TimeProvider time)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(
            options.SegmentBytes,
            JournalFormat.SegmentHeaderBytes + JournalFormat.GroupHeaderBytes);
        JournalRecovery.CreateDirectory(fileSystem, directory);
        JournalScan scan = JournalScan.Run(fileSystem, directory, options.ReadAheadFrom / options.SegmentBytes);
        if (scan.Damage is { } damage)
        {
            throw damage;
        }

        var files = new SegmentFiles(fileSystem, directory, options);
        List<JournalSegment> segments = JournalRecovery.Repair(fileSystem, files, scan, options);
        if (segments.Count == 0)
        {
            segments.Add(JournalRecovery.CreateFirst(files, options));
        }
        else
        {
            files.Announce(segments[^1].Header.Sequence + 1);
        }

        var recovery = new JournalRecovery
        {
            Segments = scan.Segments.Count,
            Groups = scan.Groups,
            Records = scan.Records,
            FirstSequence = segments[0].Header.Sequence,
            Cut = scan.Tail,
        };
        return new Journal(options, files, segments, scan, recovery, time);
    }

    /// <summary>Begins to read all segments from the disk, while appends go on.</summary>
    public ScrubPass BeginScrub() => new JournalScrub(_segments);

    /// <summary>Reads all records from the beginning; once, after opening and before the first append.</summary>
    public void Replay(IJournalReader reader)
    {
        Debug.Assert(_writer.End == _openedEnd, "replay comes before the first append");
        var pinned = new List<JournalSegment>();
        long end = _segments.Pin(0, pinned);
        try
        {
            var visitor = new ReplayVisitor { Reader = reader };
            if (pinned[0].Reached.Count > 0)
            {
                // The record that says it may be lost, with the rest of the segment, where nobody had asked for a sync.
                reader.Reach([.. pinned[0].Reached.Select(static reached => new LogPosition(reached.Key, 0, reached.Value))]);
            }

            if (end - pinned[0].Header.Base >= _options.ReadAheadFrom)
            {
                using var ahead = new GroupsAhead(pinned, end, reader.PrepareAhead);
                ahead.Read(ref visitor);
            }
            else
            {
                using var scanner = new GroupScanner();
                foreach (JournalSegment segment in pinned)
                {
                    SegmentReading.Read(segment, end, scanner, ref visitor);
                }
            }
        }
        finally
        {
            _segments.Unpin(pinned);
        }
    }

    /// <summary>
    /// Reads a partition's records from an index on, while appends go on, up to what is committed. A record whose index
    /// follows a higher one supersedes it, as in the log. Stops at the end of the segment in which
    /// <paramref name="maxBytes"/> of payload are passed.
    /// </summary>
    public JournalReadResult Read(long partition, long fromIndex, IJournalReader reader, long maxBytes = long.MaxValue) =>
        SegmentReading.Read(_segments, partition, fromIndex, reader, maxBytes);

    /// <summary>Appends an entry and waits until it is as durable as asked for. Concurrent calls share a write and a sync.</summary>
    public AppendOutcome Append(JournalEntry entry)
    {
        Check(entry);
        JournalWaiter waiter = JournalWaiter.Current;
        waiter.Begin();
        entry.Waiter = waiter;
        bool lead;
        lock (_gate)
        {
            Push(entry);

            // The sync thread may have been chosen and not be awake yet: whoever is running goes first.
            lead = !IsBusy || _syncThread.Leads;
            IsBusy = true;
            if (lead)
            {
                _syncThread.Leads = false;
            }
        }

        if (lead || waiter.Wait(spin: _options.Durability != Durability.Always) == JournalWaiter.Lead)
        {
            Lead(entry);
        }

        return entry.Outcome;
    }

    /// <summary>Appends an entry without waiting; <see cref="JournalEntry.Completed"/> is called when the outcome is known.</summary>
    public void Enqueue(JournalEntry entry)
    {
        Check(entry);
        entry.Waiter = null;
        bool lead = false;
        lock (_gate)
        {
            Push(entry);
            if (!IsBusy)
            {
                IsBusy = true;
                lead = _options.Durability != Durability.Always && !IsCompleting;
                if (!lead)
                {
                    _syncThread.WakeToLead();
                }
            }
        }

        if (lead)
        {
            Lead(entry);
            IsCompleting = true;
            entry.Completed();
            IsCompleting = false;
        }
    }

    /// <summary>A partition's engine has everything up to an index: segments that nobody needs any more may go.</summary>
    public void Release(long partition, long durableIndex)
    {
        try
        {
            _segments.Release(partition, durableIndex);
        }
        catch (Exception error) when (error is StorageException or CorruptionException)
        {
            _writer.Fail((StoreException)error);
        }

        if (_files.Retired.Any)
        {
            lock (_gate)
            {
                _syncThread.NoteRetired();
            }
        }
    }

    /// <summary>
    /// Makes durable everything appended before the call, whatever the durability; on any thread, beside appends. Throws
    /// what stopped the journal if it has stopped.
    /// </summary>
    public void Sync()
    {
        if (_writer.Synced < _writer.End)
        {
            _writer.SyncWritten();
        }

        if (Failure is { } failure)
        {
            throw failure;
        }
    }

    /// <summary>A partition is gone: it holds no segment any more.</summary>
    public void Forget(long partition) => Release(partition, long.MaxValue);

    /// <summary>Forgets the partitions that the journal knows and the store does not: what was removed in an earlier run.</summary>
    public void ForgetAllBut(Func<long, bool> isKnown)
    {
        foreach (long partition in _segments.Reached().Keys.Where(partition => !isKnown(partition)))
        {
            Forget(partition);
        }
    }

    /// <summary>
    /// Completes what is queued, syncs whatever the durability, notes that all is synced, and closes. Nobody may append
    /// once this was called.
    /// </summary>
    public void Dispose()
    {
        Debug.Assert(!_syncThread.IsCurrent, "the sync thread cannot wait for itself");
        lock (_gate)
        {
            if (_syncThread.IsClosing)
            {
                return;
            }

            _syncThread.BeginClose();
        }

        _syncThread.Stop();
        if (_writer.Synced < _writer.End)
        {
            _writer.SyncWritten();
        }

        _writer.TryMark();
        _writer.Dispose();
        _files.Dispose();
        _segments.Close();
    }

    /// <summary>The flusher's: flushes round after round until the own entry, if there is one, is written; then gives the role up.</summary>
    internal void Lead(JournalEntry? own)
    {
        while (true)
        {
            JournalEntry? round = Take(own, out bool ownTaken);
            if (round is not null)
            {
                _writer.Flush(round);
            }

            if (Finish(round, own, keep: own is not null && !ownTaken))
            {
                return;
            }
        }
    }

    /// <summary>The flusher's: notes behind the last group that all is synced, and gives the role up.</summary>
    internal void LeadMark()
    {
        _writer.TryMark();
        Finish(round: null, own: null, keep: false);
    }

    private static void Check(JournalEntry entry)
    {
        int positions = entry.Positions.Length;
        ArgumentOutOfRangeException.ThrowIfZero(positions, nameof(entry));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(positions, JournalFormat.MaxPositions, nameof(entry));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(entry.ContentLength, JournalFormat.MaxPayloadBytes, nameof(entry));
    }

    // The caller holds the gate.
    private void Push(JournalEntry entry)
    {
        ObjectDisposedException.ThrowIf(_syncThread.HasEnded, this);
        entry.Next = null;
        if (_tail is null)
        {
            _head = entry;
        }
        else
        {
            _tail.Next = entry;
        }

        _tail = entry;
    }

    private JournalEntry? Take(JournalEntry? own, out bool ownTaken)
    {
        ownTaken = false;
        lock (_gate)
        {
            JournalEntry? first = _head;
            JournalEntry? last = null;
            long bytes = 0;
            for (JournalEntry? entry = first; entry is not null; entry = entry.Next)
            {
                bytes += GroupBuilder.Size(entry);
                if (last is not null && bytes > MaxGroupBytes)
                {
                    break;
                }

                last = entry;
                ownTaken |= entry == own;
            }

            if (last is not null)
            {
                _head = last.Next;
                _tail = _head is null ? null : _tail;
                last.Next = null;
            }

            return first;
        }
    }

    // Hands the role over, then completes the round's callers. True if the role was given up.
    private bool Finish(JournalEntry? round, JournalEntry? own, bool keep)
    {
        JournalWaiter? next = null;
        lock (_gate)
        {
            // What is left in the round after this are callers to be signalled.
            round = SplitOffAsynchronous(round, own);
            _syncThread.NoteNeeds();
            if (!keep)
            {
                next = PassRoleOn();
            }
        }

        next?.Signal(JournalWaiter.Lead);
        while (round is not null)
        {
            // Once signalled, the entry is its owner's again.
            JournalEntry? following = round.Next;
            JournalWaiter waiter = round.Waiter!;
            if (round != own)
            {
                waiter.Signal(JournalWaiter.Done);
            }

            round = following;
        }

        return !keep;
    }

    private JournalEntry? SplitOffAsynchronous(JournalEntry? round, JournalEntry? own)
    {
        JournalEntry? first = null;
        JournalEntry? last = null;
        while (round is not null)
        {
            JournalEntry entry = round;
            round = entry.Next;
            entry.Next = null;
            if (entry.Waiter is not null)
            {
                first ??= entry;
                if (last is not null)
                {
                    last.Next = entry;
                }

                last = entry;
            }
            else if (entry != own)
            {
                _syncThread.AddDone(entry);
            }
        }

        return first;
    }

    // Chooses the next flusher: the first waiting caller, else the sync thread, else nobody.
    private JournalWaiter? PassRoleOn()
    {
        for (JournalEntry? entry = _head; entry is not null; entry = entry.Next)
        {
            if (entry.Waiter is not null)
            {
                return entry.Waiter;
            }
        }

        if (_head is not null)
        {
            _syncThread.WakeToLead();
            return null;
        }

        IsBusy = false;
        if (_syncThread.IsClosing)
        {
            Monitor.PulseAll(_gate);
        }

        return null;
    }

    private struct ReplayVisitor : IRecordVisitor
    {
        public required IJournalReader Reader;

        public readonly void Visit(in JournalRecord record)
        {
            if (record.Kind == RecordKind.Reached)
            {
                Reader.Reach(record.Positions);
            }
            else
            {
                Reader.Read(record);
            }
        }
    }
}
