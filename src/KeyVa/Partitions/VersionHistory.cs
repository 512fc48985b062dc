using KeyVa.Engines;
using KeyVa.Io;

namespace KeyVa.Partitions;

/// <summary>
/// What one store knows of its past besides the entries: which version was the newest when, and which versions rolling back
/// needs until it is in the engines' files. Keeps both in <see cref="HistoryFile"/>.
/// </summary>
/// <remarks>
/// <para>Thread-safe: a lock each for what is known and for the file.</para>
/// <para>A command that rolls back reads the past when it is applied, and once more when it is replayed. So its version is
/// pinned, in memory and in the file, before it is logged; and the pins go when the engines' files contain what it did.
/// While opening, pins are in force before any engine is opened.</para>
/// </remarks>
internal sealed class VersionHistory(IFileSystem files, string directory, VersionOracle oracle, VersionClock clock, SnapshotList snapshots, IBackgroundWork background)
    : BackgroundJob(JobPriority.Checkpoint)
{
    /// <summary>Pins at most: rolling back is refused beyond them.</summary>
    public const int MaxPins = 4096;

    /// <summary>New samples after which the file is written. Fewer are lost with a crash: what they would let go stays that much longer.</summary>
    private const int WriteEvery = 32;

    private readonly Lock _lock = new();
    private readonly Lock _file = new();

    // Guarded by the lock.
    private readonly List<RollBackPin> _pins = [];
    private int _newSamples;
    private volatile bool _closing;

    /// <summary>Where a partition's files are: its durable index; null: it is gone, or has none. Set before use.</summary>
    public Func<long, long?> DurableIndexOf { get; set; } = static _ => null;

    public VersionClock Clock => clock;

    /// <summary>While opening, before the engines are. False: the file is damaged, and nothing is known.</summary>
    public bool Load()
    {
        bool read = HistoryFile.TryRead(files, directory, out VersionSample[] samples, out HistoryPin[] pins);
        clock.Load(samples);
        foreach (IGrouping<long, HistoryPin> group in pins.GroupBy(pin => pin.Version))
        {
            _pins.Add(new RollBackPin(snapshots.Pin(group.Key, 0), group.Key, [.. group.Select(pin => pin.Partition)]));
        }

        return read;
    }

    /// <summary>While opening: the first version that a partition still has for sake of a pin; MaxValue: none.</summary>
    public long PinnedIn(long partition)
    {
        lock (_lock)
        {
            return _pins.Where(pin => pin.Partitions.Contains(partition)).Select(pin => pin.Version).DefaultIfEmpty(long.MaxValue).Min();
        }
    }

    /// <summary>While opening: the log is replayed. What was pinned goes when all of it is in the engines' files.</summary>
    public void Opened(Func<long, long> appliedIndexOf)
    {
        clock.DropBeyond(oracle.LastVersion, oracle.LastStamp);
        if (snapshots.Retention.IsOn)
        {
            oracle.Now();
            clock.Note(oracle.LastVersion);
        }

        lock (_lock)
        {
            foreach (RollBackPin pin in _pins)
            {
                pin.Indexes = [.. pin.Partitions.Select(appliedIndexOf)];
            }
        }

        Advance();
    }

    /// <summary>A group ends.</summary>
    public void Note(long version)
    {
        if (clock.Note(version) && Interlocked.Increment(ref _newSamples) == WriteEvery)
        {
            background.Schedule(this);
        }
    }

    /// <summary>
    /// Keeps a snapshot's version for a command that is about to be logged: when it returns, a restart keeps it too. Null if
    /// there are too many. Throws <see cref="StorageException"/> if the file cannot be written; the snapshot is closed then.
    /// </summary>
    public RollBackPin? Pin(Snapshot snapshot, long[] partitions)
    {
        var pin = new RollBackPin(snapshot, snapshot.Version, partitions);
        lock (_lock)
        {
            if (_pins.Sum(other => other.Partitions.Length) + partitions.Length > MaxPins)
            {
                snapshot.Dispose();
                return null;
            }

            _pins.Add(pin);
        }

        try
        {
            Write();
            return pin;
        }
        catch
        {
            Drop(pin);
            throw;
        }
    }

    /// <summary>The command is applied, up to these indexes of its partitions, or was not logged (0).</summary>
    public void Applied(RollBackPin pin, long[] indexes)
    {
        lock (_lock)
        {
            pin.Indexes = indexes;
        }

        Advance();
    }

    /// <summary>A partition's files contain more than before.</summary>
    public void Advance()
    {
        lock (_lock)
        {
            if (!_pins.Exists(IsContained))
            {
                return;
            }
        }

        background.Schedule(this);
    }

    /// <summary>
    /// Writes the file, and lets go of pins that are not needed any more: after the file has stopped naming them. A pin that it
    /// names would else be taken, at the next opening, for a promise that what it kept is still there.
    /// </summary>
    public override void Run()
    {
        Volatile.Write(ref _newSamples, 0);
        List<RollBackPin> done;
        lock (_lock)
        {
            done = _pins.FindAll(IsContained);
            _pins.RemoveAll(done.Contains);
        }

        try
        {
            Write();
        }
        catch (StorageException)
        {
            // The file before this one stands: it pins more and knows less, which costs room and nothing else. The next sample tries again.
            lock (_lock)
            {
                _pins.AddRange(done);
            }

            return;
        }

        done.ForEach(static pin => pin.Snapshot.Dispose());
    }

    /// <summary>The store is about to close: from here on nobody can tell what the engines' files contain, and pins stay.</summary>
    public void BeginClose() => _closing = true;

    /// <summary>The store is closed: nothing is noted any more.</summary>
    public void Close()
    {
        background.Cancel(this);
        if (snapshots.Retention.IsOn)
        {
            Run();
        }
    }

    private bool IsContained(RollBackPin pin)
    {
        if (_closing || pin.Indexes is not { } indexes)
        {
            return false;
        }

        for (int i = 0; i < indexes.Length; i++)
        {
            if (DurableIndexOf(pin.Partitions[i]) is { } durable && durable < indexes[i])
            {
                return false;
            }
        }

        return true;
    }

    private void Drop(RollBackPin pin)
    {
        lock (_lock)
        {
            _pins.Remove(pin);
        }

        pin.Snapshot.Dispose();
    }

    private void Write()
    {
        lock (_file)
        {
            HistoryPin[] pins;
            lock (_lock)
            {
                pins = [.. _pins.SelectMany(pin => pin.Partitions.Select(partition => new HistoryPin(partition, pin.Version)))];
            }

            HistoryFile.Write(files, directory, clock.Samples, pins);
        }
    }
}

/// <summary>A version that must not be forgotten in some partitions until their files contain the log up to their indexes.</summary>
internal sealed class RollBackPin(Snapshot snapshot, long version, long[] partitions)
{
    public Snapshot Snapshot => snapshot;

    public long Version => version;

    public long[] Partitions => partitions;

    /// <summary>In the order of the partitions; null while the command is under way.</summary>
    public long[]? Indexes { get; set; }
}
