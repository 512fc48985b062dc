namespace KeyVa.Raft;

/// <summary>
/// Which membership is in force at which index. The newest one in the log counts, committed or not (§6), so truncating
/// the log may bring an older one back, and a snapshot needs the one of its own index. Owned by the log.
/// </summary>
internal sealed class MembershipHistory
{
    // Rising by index. The first is that of the snapshot the log stands on, or an older one.
    private readonly List<(long Index, Membership Membership)> _changes = [];

    public MembershipHistory(SnapshotMetadata snapshot) => _changes.Add((snapshot.Index, snapshot.Membership));

    public Membership Newest => _changes[^1].Membership;

    /// <summary>The index of the entry that brought <see cref="Newest"/>.</summary>
    public long NewestIndex => _changes[^1].Index;

    public Membership At(long index)
    {
        for (int i = _changes.Count - 1; i > 0; i--)
        {
            if (_changes[i].Index <= index)
            {
                return _changes[i].Membership;
            }
        }

        return _changes[0].Membership;
    }

    /// <summary>Whether a node is a voter in the membership in force at an index, or in any that came later.</summary>
    public bool IsVoterSince(long index, long node)
    {
        for (int i = _changes.Count - 1; i >= 0; i--)
        {
            if (_changes[i].Membership.IsVoter(node))
            {
                return true;
            }

            if (_changes[i].Index <= index)
            {
                return false;
            }
        }

        return false;
    }

    public void Note(in Entry entry)
    {
        if (entry.Kind == EntryKind.Membership)
        {
            Invariant.Holds(MembershipEncoding.TryDecode(entry.Data.Span, out Membership membership), "a membership in the log can be read");
            _changes.Add((entry.Index, membership));
        }
    }

    /// <summary>Forgets what stands at an index or behind it.</summary>
    public void TruncateFrom(long index) => _changes.RemoveAll(change => change.Index >= index);

    /// <summary>Forgets what no snapshot will ask for any more: all before the one in force at an index.</summary>
    public void ForgetBefore(long index)
    {
        while (_changes.Count > 1 && _changes[1].Index <= index)
        {
            _changes.RemoveAt(0);
        }
    }

    public void Reset(SnapshotMetadata snapshot)
    {
        _changes.Clear();
        _changes.Add((snapshot.Index, snapshot.Membership));
    }
}
