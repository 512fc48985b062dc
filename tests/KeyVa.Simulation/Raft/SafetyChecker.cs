using KeyVa.Raft;

namespace KeyVa.Simulation.Raft;

/// <summary>A property of figure 3 that does not hold, or one that follows from a rule of figure 2.</summary>
internal sealed class SafetyViolationException(string what) : Exception(what);

/// <summary>
/// Watches every step of every node, against what all of them did before (figure 3): election safety, leader append-only, log
/// matching, leader completeness, state machine safety; and that a vote is given once in a term, terms never fall, and
/// pre-votes are honest. Each costs a look-up per entry, not a walk over logs: log matching, for instance, holds if, wherever index
/// and term are the same, the entry and the term before it are.
/// </summary>
internal sealed class SafetyChecker(Func<IEnumerable<RaftNode>> nodes)
{
    private readonly Dictionary<(long Index, long Term), (ReadOnlyMemory<byte> Data, long TermBefore)> _entries = [];
    private readonly Dictionary<long, long> _leaders = [];
    private readonly Dictionary<(long Node, long Term), long> _votes = [];

    // By index: the entry's term, and the lowest term in which some node knew it to be committed.
    private readonly SortedList<long, (long Term, long KnownIn)> _committed = [];
    private readonly Dictionary<long, Membership> _memberships = [];
    private readonly Dictionary<long, Seen> _seen = [];

    /// <summary>Entries that were committed, and elections that were won: a run without any has shown nothing.</summary>
    public int Commits => _committed.Count;

    public int Elections => _leaders.Count;

    /// <summary>Snapshots that were installed.</summary>
    public int Snapshots { get; private set; }

    /// <summary>Memberships that were in force somewhere.</summary>
    public int Changes { get; private set; }

    public void Started(RaftNode node)
    {
        RaftGroup group = node.Group!;
        if (_seen.TryGetValue(node.Id, out Seen? before) && group.Term < before.DurableTerm)
        {
            throw new SafetyViolationException($"node {node.Id} came back in term {group.Term}, and had been in {before.DurableTerm}");
        }

        _seen[node.Id] = new Seen { DurableTerm = before?.DurableTerm ?? 0, Commit = group.CommitIndex, LastIndex = group.Last.Index };
    }

    public void Stopped(RaftNode node) => _seen[node.Id].LeaderOf = 0;

    /// <summary>A message is about to be taken.</summary>
    public void Received(RaftNode node, in Message message)
    {
        if (message.Kind == MessageKind.PreVote)
        {
            _seen[node.Id].Asked[message.From] = new LogPosition(message.LogTerm, message.Index);
        }
    }

    /// <summary>Work was taken: new entries, and messages that leave.</summary>
    public void Took(RaftNode node, Work work)
    {
        Seen seen = _seen[node.Id];
        RaftGroup group = node.Group!;
        if (work.Snapshot is { } snapshot)
        {
            Check(!_committed.TryGetValue(snapshot.Index, out (long Term, long KnownIn) known) || known.Term == snapshot.Term, "state machine safety", node, $"installs snapshot {snapshot.Position}, and {known.Term} is committed there");
            seen.LastIndex = snapshot.Index;
            Snapshots++;
        }

        NoteEntries(node, seen, work.Entries.Span);
        foreach (Message message in work.Messages)
        {
            Check(message.Term >= seen.DurableTerm || message.Kind == MessageKind.PreVote, "terms rise", node, $"sends {message.Kind} in term {message.Term}, after {seen.DurableTerm}");
            seen.DurableTerm = message.Kind is MessageKind.PreVote or MessageKind.PreVoteReply ? seen.DurableTerm : message.Term;
            if (message is { Kind: MessageKind.VoteReply, Reject: false })
            {
                long vote = _votes.GetValueOrDefault((node.Id, message.Term), message.To);
                _votes[(node.Id, message.Term)] = message.To;
                Check(vote == message.To, "one vote in a term", node, $"votes for {message.To} in term {message.Term}, after {vote}");
            }
            else if (message is { Kind: MessageKind.PreVoteReply, Reject: false })
            {
                LogPosition asked = seen.Asked[message.To];
                Check(asked.IsAtLeastAsUpToDateAs(group.Last), "honest pre-votes", node, $"grants a pre-vote to {message.To}, whose log ends at {asked}, before {group.Last}");
            }
        }
    }

    /// <summary>All work is taken.</summary>
    public void Settled(RaftNode node)
    {
        Seen seen = _seen[node.Id];
        RaftGroup group = node.Group!;
        if (group.Role == Role.Leader && seen.LeaderOf != group.Term)
        {
            seen.LeaderOf = group.Term;
            Check(_leaders.TryAdd(group.Term, node.Id) || _leaders[group.Term] == node.Id, "election safety", node, $"leads in term {group.Term}, and so does {_leaders[group.Term]}");
            foreach ((long index, (long term, long knownIn)) in _committed)
            {
                CheckComplete(node, index, term, knownIn);
            }
        }
        else if (group.Role != Role.Leader)
        {
            seen.LeaderOf = 0;
        }

        if (seen.Commit < group.CommitIndex)
        {
            Membership membership = group.MembershipAt(group.CommitIndex);
            Membership known = _memberships.TryAdd(group.CommitIndex, membership) ? membership : _memberships[group.CommitIndex];
            Check(known.Equals(membership), "state machine safety", node, $"has {membership} at commit index {group.CommitIndex}, where another has {known}");
        }

        for (; seen.Commit < group.CommitIndex; seen.Commit++)
        {
            NoteCommit(node, seen.Commit + 1);
        }
    }

    public void Applied(RaftNode node, in Entry entry)
    {
        Check(_committed.TryGetValue(entry.Index, out (long Term, long KnownIn) known) && known.Term == entry.Term, "state machine safety", node, $"applies {entry.Position}, and term {known.Term} is committed there");
        Check(_entries[(entry.Index, entry.Term)].Data.Span.SequenceEqual(entry.Data.Span), "state machine safety", node, $"applies other bytes at {entry.Position}");
    }

    private void NoteEntries(RaftNode node, Seen seen, ReadOnlySpan<Entry> entries)
    {
        if (entries.IsEmpty)
        {
            return;
        }

        ReplicatedLog log = node.Group!.Log;
        if (seen.LeaderOf == node.Group.Term)
        {
            Check(entries[0].Index == seen.LastIndex + 1, "leader append-only", node, $"leads, and rewrites its log at {entries[0].Index}, before its end {seen.LastIndex}");
        }

        seen.LastIndex = entries[^1].Index;
        long before = log.TermAt(entries[0].Index - 1);
        foreach (Entry entry in entries)
        {
            if (_entries.TryAdd((entry.Index, entry.Term), (entry.Data, before)))
            {
                Changes += entry.Kind == EntryKind.Membership ? 1 : 0;
            }
            else
            {
                (ReadOnlyMemory<byte> data, long termBefore) = _entries[(entry.Index, entry.Term)];
                Check(data.Span.SequenceEqual(entry.Data.Span), "log matching", node, $"has other bytes at {entry.Position}");
                Check(termBefore == before || before == ReplicatedLog.Unknown, "log matching", node, $"has term {before} before {entry.Position}, where another has {termBefore}");
            }

            before = entry.Term;
        }
    }

    private void NoteCommit(RaftNode node, long index)
    {
        RaftGroup group = node.Group!;
        long term = group.Log.TermAt(index);
        if (term == ReplicatedLog.Unknown)
        {
            // It came with a snapshot, whose own index is looked at.
            return;
        }

        if (_committed.TryGetValue(index, out (long Term, long KnownIn) known))
        {
            Check(known.Term == term, "state machine safety", node, $"commits {new LogPosition(term, index)}, where term {known.Term} is committed");
            known.KnownIn = Math.Min(known.KnownIn, group.Term);
        }
        else
        {
            known = (term, group.Term);
        }

        _committed[index] = known;
        foreach (RaftNode other in nodes())
        {
            if (other.Group is { Role: Role.Leader })
            {
                CheckComplete(other, index, known.Term, known.KnownIn);
            }
        }
    }

    private static void CheckComplete(RaftNode leader, long index, long term, long knownIn)
    {
        RaftGroup group = leader.Group!;
        if (group.Term > knownIn && index >= group.Log.FirstIndex)
        {
            Check(group.Log.TermAt(index) == term, "leader completeness", leader, $"leads in term {group.Term}, and lacks {new LogPosition(term, index)}, committed in term {knownIn}");
        }
    }

    private static void Check(bool holds, string property, RaftNode node, string what)
    {
        if (!holds)
        {
            throw new SafetyViolationException($"{property}: node {node.Id} {what}");
        }
    }

    /// <summary>What was seen of a node.</summary>
    private sealed class Seen
    {
        /// <summary>The highest term in which it sent something, so that it must have been durable.</summary>
        public long DurableTerm { get; set; }

        public long Commit { get; set; }

        public long LastIndex { get; set; }

        /// <summary>The term that it leads, 0 if none.</summary>
        public long LeaderOf { get; set; }

        /// <summary>The last pre-vote of each: where its log ended.</summary>
        public Dictionary<long, LogPosition> Asked { get; } = [];
    }
}
