namespace KeyVa.Raft;

/// <summary>
/// What a follower does with its leader's messages (figure 2, AppendEntries; figure 13, InstallSnapshot). The caller has seen to
/// terms. Owned by its group.
/// </summary>
internal sealed class Following(GroupState state)
{
    private readonly ReplicatedLog _log = state.Log;

    public void OnAppend(in Message message)
    {
        state.Hear(message.From);
        ReadOnlySpan<Entry> entries = message.Entries.Span;
        long last = message.Index + entries.Length;
        if (message.Index < _log.Commit)
        {
            // What is committed cannot differ (§5.4.3), and may be behind a snapshot by now: it is not looked at.
            entries = entries[(int)Math.Min(_log.Commit - message.Index, entries.Length)..];
        }
        else if (!_log.Matches(message.Index, message.LogTerm))
        {
            Reject(message);
            return;
        }

        LogPosition end = _log.Last;
        _log.Merge(entries);
        if (_log.Last != end)
        {
            state.NoteEntries();
        }

        if (state.Options.Has(RaftDefects.TruncatesOnStaleAppend))
        {
            CutBehind(last);
        }

        // Figure 2, AppendEntries 5: never beyond what was compared just now.
        _log.CommitTo(Math.Min(message.Commit, last));
        Acknowledge(message.From, Math.Max(last, Math.Min(_log.Commit, _log.LastIndex)));
    }

    public void OnHeartbeat(in Message message)
    {
        state.Hear(message.From);
        _log.CommitTo(message.Commit);
        state.IsQuiescent = message.Quiesce && _log.Last == new LogPosition(message.LogTerm, message.Index) && _log.Commit == message.Index;
        state.Send(new Message { Kind = MessageKind.HeartbeatReply, To = message.From, Context = message.Context, HintIndex = state.Options.Promise });
    }

    public void OnSnapshot(in Message message)
    {
        state.Hear(message.From);
        SnapshotMetadata snapshot = message.Snapshot!;
        if (snapshot.Index > _log.Commit && _log.Matches(snapshot.Index, snapshot.Term))
        {
            // Figure 13, 6: the log has all of it and may have more; it stays.
            _log.CommitTo(snapshot.Index);
        }
        else if (snapshot.Index > _log.Commit)
        {
            _log.Install(snapshot, withMembership: !state.Options.Has(RaftDefects.SnapshotWithoutMembership));
            state.NoteEntries();
        }

        Acknowledge(message.From, _log.Commit);
    }

    private void Acknowledge(long leader, long index) =>
        state.SendAfterEntries(new Message { Kind = MessageKind.AppendReply, To = leader, Index = index });

    /// <summary>
    /// The log differs at an index, or ends before it. The leader is told the last index at which the two may agree: a term
    /// above the leader's cannot be in its log there, so whole terms are passed over at once (§5.3, the end).
    /// </summary>
    private void Reject(in Message message)
    {
        long index = Math.Min(message.Index, _log.LastIndex);
        while (index > _log.Commit && _log.TermAt(index) > message.LogTerm)
        {
            index--;
        }

        state.Send(new Message
        {
            Kind = MessageKind.AppendReply,
            To = message.From,
            Index = message.Index,
            Reject = true,
            HintIndex = index,
            HintTerm = _log.TermAt(index),
        });
    }

    private void CutBehind(long last)
    {
        if (last < _log.LastIndex && last >= _log.FirstIndex)
        {
            _log.CutFrom(last + 1);
            state.NoteEntries();
        }
    }
}
