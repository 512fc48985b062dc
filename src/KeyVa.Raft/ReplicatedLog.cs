namespace KeyVa.Raft;

/// <summary>
/// A group's log: durable entries in the driver's storage, then the tail that is not durable yet, then nothing; or, while a
/// snapshot is being installed, that snapshot and the tail. Invariants: (1) applied ≤ handed out ≤ min(commit, stable);
/// (2) nothing up to the commit index is ever cut; (3) <see cref="Stable"/> never counts an entry that the work under way is
/// going to supersede. Owned by its group.
/// </summary>
internal sealed class ReplicatedLog
{
    /// <summary>The term of what is not in the log: cut off by a snapshot, or not there yet.</summary>
    public const long Unknown = -1;

    private readonly ILogStorage _storage;
    private readonly UnstableTail _tail;
    private readonly MembershipHistory _memberships;

    // Work that is under way to the disk, oldest first: what it will make durable, unless that was cut meanwhile.
    private readonly List<(long Number, long StableTo, SnapshotMetadata? Snapshot)> _underWay = [];

    private SnapshotMetadata? _installing;
    private bool _installingOffered;
    private long _offered;
    private long _handedOut;

    public ReplicatedLog(ILogStorage storage, long applied)
    {
        _storage = storage;
        SnapshotMetadata snapshot = storage.Snapshot ?? throw new ArgumentException("a log opens with a snapshot, if only an empty one", nameof(storage));
        if (storage.FirstIndex > snapshot.Index + 1 || storage.LastIndex < snapshot.Index || applied > storage.LastIndex)
        {
            throw new ArgumentException($"the log from {storage.FirstIndex} to {storage.LastIndex} does not reach from snapshot {snapshot.Index} to what is applied, {applied}", nameof(storage));
        }

        _tail = new UnstableTail(storage.LastIndex + 1);
        _offered = storage.LastIndex;
        Commit = Math.Max(snapshot.Index, applied);
        Applied = _handedOut = Commit;
        _memberships = new MembershipHistory(snapshot);
        foreach (Entry entry in storage.MembershipEntries())
        {
            // Those below the snapshot are in it.
            if (entry.Index > snapshot.Index)
            {
                _memberships.Note(entry);
            }
        }
    }

    public long FirstIndex => _installing is { } snapshot ? snapshot.Index + 1 : _storage.FirstIndex;

    public long LastIndex => _tail.Last;

    public LogPosition Last => new(TermAt(LastIndex), LastIndex);

    /// <summary>Everything up to here is durable.</summary>
    public long Stable => _installing is null ? _tail.First - 1 : 0;

    public long Commit { get; private set; }

    public long Applied { get; private set; }

    public Membership Membership => _memberships.Newest;

    public long MembershipIndex => _memberships.NewestIndex;

    public SnapshotMetadata? Snapshot => _installing ?? _storage.Snapshot;

    public bool HasUnoffered => _offered < LastIndex || (_installing is not null && !_installingOffered);

    public Membership MembershipAt(long index) => _memberships.At(index);

    /// <summary>Whether a node is a voter in any membership that may be in force, by what is known to be committed.</summary>
    public bool MayBeVoter(long node) => _memberships.IsVoterSince(Commit, node);

    public long TermAt(long index)
    {
        if (index > LastIndex || index < 0)
        {
            return Unknown;
        }

        if (index >= _tail.First)
        {
            return _tail[index].Term;
        }

        if (_installing is { } snapshot)
        {
            return index == snapshot.Index ? snapshot.Term : Unknown;
        }

        return index >= _storage.FirstIndex - 1 ? _storage.TermAt(index) : Unknown;
    }

    public bool Matches(long index, long term) => TermAt(index) == term;

    /// <summary>Entries from an index on; the caller knows that it is there. One place's at a time: durable ones, or the tail's.</summary>
    public ReadOnlyMemory<Entry> Read(long first, long maxBytes) => first >= _tail.First
        ? _tail.Slice(first, LastIndex, maxBytes)
        : _storage.Read(first, _tail.First - 1, maxBytes);

    public void Append(in Entry entry)
    {
        Invariant.Holds(entry.Index == LastIndex + 1, "a log has no holes");
        Invariant.Holds(entry.Term >= TermAt(LastIndex), "terms never fall along a log");
        _tail.Append(new ReadOnlySpan<Entry>(in entry));
        _memberships.Note(entry);
    }

    /// <summary>
    /// Takes a leader's entries (§5.3): those that are there already stay, and with them what follows; the first that differs
    /// cuts the log.
    /// </summary>
    public void Merge(ReadOnlySpan<Entry> entries)
    {
        for (int i = 0; i < entries.Length; i++)
        {
            if (Matches(entries[i].Index, entries[i].Term))
            {
                continue;
            }

            if (entries[i].Index <= LastIndex)
            {
                Invariant.Holds(entries[i].Index > Commit, "what is committed is never cut");
                CutFrom(entries[i].Index);
            }

            foreach (ref readonly Entry entry in entries[i..])
            {
                Append(entry);
            }

            return;
        }
    }

    public void CutFrom(long index)
    {
        _tail.TruncateFrom(index);
        _memberships.TruncateFrom(index);
        _offered = Math.Min(_offered, index - 1);
        for (int i = 0; i < _underWay.Count; i++)
        {
            _underWay[i] = _underWay[i] with { StableTo = Math.Min(_underWay[i].StableTo, index - 1) };
        }
    }

    public bool CommitTo(long index)
    {
        if (index <= Commit)
        {
            return false;
        }

        Invariant.Holds(index <= LastIndex, "what is committed is in the log");
        Commit = index;
        return true;
    }

    /// <summary>Begins anew behind a snapshot.</summary>
    public void Install(SnapshotMetadata snapshot, bool withMembership)
    {
        Invariant.Holds(snapshot.Index > Commit, "a snapshot takes nobody back");
        _installing = snapshot;
        _installingOffered = false;
        _tail.Reset(snapshot.Index + 1);
        _offered = snapshot.Index;
        for (int i = 0; i < _underWay.Count; i++)
        {
            _underWay[i] = _underWay[i] with { StableTo = 0, Snapshot = null };
        }

        _memberships.Reset(withMembership ? snapshot : snapshot with { Membership = _memberships.Newest });
        Commit = snapshot.Index;
    }

    /// <summary>Puts what has to become durable into a numbered work.</summary>
    public void Offer(Work work)
    {
        if (_installing is not null && !_installingOffered)
        {
            work.Snapshot = _installing;
            _installingOffered = true;
        }

        if (_offered < LastIndex)
        {
            work.Entries = _tail.Slice(_offered + 1, LastIndex, long.MaxValue);
            _offered = LastIndex;
        }

        _underWay.Add((work.Number, _offered, work.Snapshot));
    }

    /// <summary>What was offered up to a number is durable.</summary>
    public void Persisted(long number)
    {
        int done = 0;
        while (done < _underWay.Count && _underWay[done].Number <= number)
        {
            (_, long stableTo, SnapshotMetadata? snapshot) = _underWay[done++];
            if (snapshot is not null && snapshot == _installing)
            {
                _installing = null;
                Applied = Math.Max(Applied, snapshot.Index);
                _handedOut = Math.Max(_handedOut, snapshot.Index);
            }

            _tail.DropThrough(stableTo);
        }

        _underWay.RemoveRange(0, done);
    }

    /// <summary>The next entries to apply, unless some are being applied, or a snapshot is about to take their place.</summary>
    public ReadOnlyMemory<Entry> NextToApply(long maxBytes)
    {
        long last = Math.Min(Commit, Stable);
        if (_installing is not null || _handedOut > Applied || last <= Applied)
        {
            return default;
        }

        ReadOnlyMemory<Entry> entries = _storage.Read(Applied + 1, last, maxBytes);
        _handedOut = Applied + entries.Length;
        return entries;
    }

    public void AppliedTo(long index)
    {
        Invariant.Holds(index <= Math.Max(_handedOut, Applied), "nothing is applied that was not handed out");
        Applied = Math.Max(Applied, index);
        _memberships.ForgetBefore(Math.Min(Applied, FirstIndex - 1));
    }
}
