using KeyVa.Raft;
using KeyVa.Simulation.Raft;

namespace KeyVa.Simulation.Cluster;

/// <summary>
/// Watches every step of every node, against what all of them did before (the paper's figure 3): election safety, leader append-only, log matching, leader
/// completeness, state machine safety; and that a vote is given once in a term, terms never fall, what was acknowledged is there after a
/// restart, a membership belongs to its index, and an entry comes to the same on every replica. One partition's.
/// </summary>
internal sealed class ClusterChecker(IReadOnlyList<SimulatedNode> nodes, long partition)
{
    private readonly Dictionary<long, long> _leaders = [];
    private readonly Dictionary<(long Index, long Term), (EntryKind Kind, ulong Hash, long TermBefore)> _entries = [];
    private readonly Dictionary<long, (long Term, EntryKind Kind, ulong Hash)> _applied = [];
    private readonly Dictionary<long, (ulong Digest, long Node)> _outcomes = [];
    private readonly Dictionary<(long Node, long Term), long> _votes = [];

    // By index, without a gap: the entry's term, and the lowest term in which some node knew it to be committed.
    private readonly SortedList<long, (long Term, long KnownIn)> _committed = [];

    // Memberships that are committed, by the index of their entries.
    private readonly SortedList<long, Membership> _memberships = [];
    private readonly Dictionary<long, Seen> _seen = [];

    /// <summary>The one property that is looked at; null: all. To see that each finds something by itself.</summary>
    public string? Only { get; init; }

    public int Elections => _leaders.Count;

    public long Applications { get; private set; }

    public int Entries => _applied.Count;

    public int Commits => _committed.Count;

    public int Memberships => _memberships.Count;

    /// <summary>A node has opened its store: what it said before must still be so.</summary>
    public void Started(SimulatedNode node)
    {
        RaftGroup group = node.ReplicaOf(partition).Group;
        Seen seen = _seen.TryGetValue(node.Id, out Seen? before) ? before : _seen[node.Id] = new Seen();
        Check(group.Term >= seen.SaidTerm, "terms rise", node, $"came back in term {group.Term}, and had been in {seen.SaidTerm}");
        Check(group.Term > seen.AcknowledgedIn || group.Last.Index >= seen.Acknowledged, "what was acknowledged is durable", node, $"came back in term {group.Term} with a log up to {group.Last}, and had acknowledged {seen.Acknowledged} in it");
        seen.LeaderOf = 0;
        seen.Commit = group.CommitIndex;
        seen.First = group.Log.FirstIndex;
        seen.Terms.Clear();
        seen.InHand = 0;
        FollowChanges(node, seen);
        Stepped(node);
        CheckMembership(node, group);
    }

    /// <summary>A message leaves.</summary>
    public void Sent(SimulatedNode node, in Message message)
    {
        Seen seen = _seen.TryGetValue(node.Id, out Seen? known) ? known : _seen[node.Id] = new Seen();
        if (message.Kind is MessageKind.PreVote or MessageKind.PreVoteReply)
        {
            return;
        }

        Check(message.Term >= seen.SaidTerm, "terms rise", node, $"sends {message.Kind} in term {message.Term}, after {seen.SaidTerm}");
        seen.SaidTerm = message.Term;
        if (message is { Kind: MessageKind.VoteReply, Reject: false } or { Kind: MessageKind.Vote })
        {
            long vote = message.Kind == MessageKind.Vote ? node.Id : message.To;
            long before = _votes.GetValueOrDefault((node.Id, message.Term), vote);
            _votes[(node.Id, message.Term)] = vote;
            Check(vote == before, "one vote in a term", node, $"votes for {vote} in term {message.Term}, after {before}");
        }
        else if (message is { Kind: MessageKind.AppendReply, Reject: false })
        {
            seen.Acknowledged = seen.AcknowledgedIn == message.Term ? Math.Max(seen.Acknowledged, message.Index) : message.Index;
            seen.AcknowledgedIn = message.Term;
        }
    }

    /// <summary>A node has done something.</summary>
    public void Stepped(SimulatedNode node)
    {
        Seen seen = _seen[node.Id];
        RaftGroup group = node.ReplicaOf(partition).Group;
        EndEntry(node, seen);
        FollowChanges(node, seen);
        NotePassedOver(node, seen, group.AppliedIndex);
        NoteEntries(node, seen, group);
        if (group.Role != Role.Leader)
        {
            seen.LeaderOf = 0;
        }
        else if (seen.LeaderOf != group.Term)
        {
            seen.LeaderOf = group.Term;
            Check(_leaders.TryAdd(group.Term, node.Id) || _leaders[group.Term] == node.Id, "election safety", node, $"leads in term {group.Term}, and so does {_leaders[group.Term]}");
            foreach ((long index, (long term, long knownIn)) in _committed)
            {
                CheckComplete(node, index, term, knownIn);
            }
        }

        if (seen.Commit < group.CommitIndex)
        {
            for (; seen.Commit < group.CommitIndex; seen.Commit++)
            {
                NoteCommit(node, group, seen.Commit + 1);
            }

            CheckMembership(node, group);
        }
    }

    /// <summary>What one node is about to apply at an index, every node does, each life of it anew.</summary>
    public void Applies(SimulatedNode node, in Entry entry)
    {
        Applications++;
        Seen seen = _seen[node.Id];
        EndEntry(node, seen);
        NotePassedOver(node, seen, entry.Index - 1);
        seen.InHand = entry.Index;
        (long, EntryKind, ulong) what = (entry.Term, entry.Kind, Partitions.XxHash64.Compute(entry.Data.Span));
        Check(_applied.TryAdd(entry.Index, what) || _applied[entry.Index] == what, "state machine safety", node, $"applies another entry of term {entry.Term} at index {entry.Index} than was applied there in term {_applied[entry.Index].Term}");
    }

    /// <summary>The replica's state is followed; one that has come with a snapshot, or with a new life, has what was applied before.</summary>
    private void FollowChanges(SimulatedNode node, Seen seen)
    {
        if (seen.Changes.Follow(node.PartitionOf(partition).Writer.State))
        {
            KeyVa.Cluster.Driver.Replica replica = node.ReplicaOf(partition);
            seen.Applied = Math.Max(replica.Writer.Engine.AppliedIndex, replica.Log.FirstIndex - 1);
        }
    }

    /// <summary>What the entry that was in hand came to is known.</summary>
    private void EndEntry(SimulatedNode node, Seen seen)
    {
        if (seen.InHand > 0)
        {
            NoteOutcome(node, seen.InHand, seen.Changes.Take());
            seen.Applied = Math.Max(seen.Applied, seen.InHand);
            seen.InHand = 0;
        }
    }

    /// <summary>The replica counts entries as applied that it never had in hand.</summary>
    private void NotePassedOver(SimulatedNode node, Seen seen, long applied)
    {
        while (seen.Applied < applied)
        {
            NoteOutcome(node, ++seen.Applied, ReplicaChanges.None);
        }
    }

    private void NoteOutcome(SimulatedNode node, long index, ulong digest)
    {
        if (!_outcomes.TryAdd(index, (digest, node.Id)))
        {
            (ulong other, long by) = _outcomes[index];
            Check(digest == other, "agreement", node, $"{(digest == ReplicaChanges.None ? "passed over" : "made something else of")} entry {index}, which node {by} {(other == ReplicaChanges.None ? "passed over" : "applied")}");
        }
    }

    private void Check(bool holds, string property, SimulatedNode node, string what)
    {
        if (!holds && (Only is null || Only == property))
        {
            throw new SafetyViolationException($"{property}: node {node.Id} {what}");
        }
    }

    private void CheckComplete(SimulatedNode leader, long index, long term, long knownIn)
    {
        RaftGroup group = leader.ReplicaOf(partition).Group;
        if (group.Term > knownIn && index >= group.Log.FirstIndex)
        {
            Check(group.Log.TermAt(index) == term, "leader completeness", leader, $"leads in term {group.Term}, and lacks {new LogPosition(term, index)}, committed in term {knownIn}");
        }
    }

    /// <summary>
    /// Finds where a node's log is what it was, from the end, and looks at what is new. By induction that is enough for log matching: wherever index and term are
    /// the same, so are the entry and the term before it.
    /// </summary>
    private void NoteEntries(SimulatedNode node, Seen seen, RaftGroup group)
    {
        ReplicatedLog log = group.Log;
        long last = log.LastIndex;
        long same = Math.Min(seen.Last, last);
        while (same >= Math.Max(seen.First, log.FirstIndex) && seen.Terms[(int)(same - seen.First)] != log.TermAt(same))
        {
            same--;
        }

        if (group.Role == Role.Leader && seen.LeaderOf == group.Term)
        {
            Check(same == seen.Last, "leader append-only", node, $"leads in term {group.Term}, and rewrites its log from {same + 1}, before its end {seen.Last}");
        }

        if (same < log.FirstIndex - 1 || same < seen.First)
        {
            seen.First = log.FirstIndex;
            seen.Terms.Clear();
            same = log.FirstIndex - 1;
        }

        seen.Terms.RemoveRange((int)(same + 1 - seen.First), (int)(seen.Last - same));
        long before = log.TermAt(same);
        while (same < last)
        {
            foreach (ref readonly Entry entry in log.Read(same + 1, long.MaxValue).Span)
            {
                NoteEntry(node, entry, before);
                before = entry.Term;
                seen.Terms.Add(before);
                same++;
            }
        }
    }

    private void NoteEntry(SimulatedNode node, in Entry entry, long before)
    {
        (EntryKind, ulong) what = (entry.Kind, Partitions.XxHash64.Compute(entry.Data.Span));
        if (_entries.TryAdd((entry.Index, entry.Term), (what.Item1, what.Item2, before)))
        {
            return;
        }

        (EntryKind kind, ulong hash, long termBefore) = _entries[(entry.Index, entry.Term)];
        Check((kind, hash) == what, "log matching", node, $"has another entry than another node at {entry.Position}");
        Check(termBefore == before || before == ReplicatedLog.Unknown || termBefore == ReplicatedLog.Unknown, "log matching", node, $"has term {before} before {entry.Position}, where another has {termBefore}");
    }

    private void NoteCommit(SimulatedNode node, RaftGroup group, long index)
    {
        long term = group.Log.TermAt(index);
        if (term == ReplicatedLog.Unknown)
        {
            // It came with a snapshot.
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
            if (index >= group.Log.FirstIndex && group.Log.Read(index, 1).Span[0] is { Kind: EntryKind.Membership } entry)
            {
                _memberships[index] = group.MembershipAt(index);
            }
        }

        _committed[index] = known;
        foreach (SimulatedNode other in nodes)
        {
            if (other.IsLeadingOf(partition))
            {
                CheckComplete(other, index, known.Term, known.KnownIn);
            }
        }
    }

    private void CheckMembership(SimulatedNode node, RaftGroup group)
    {
        long commit = group.CommitIndex;
        if (commit <= SnapshotMetadata.InitialIndex || _committed.Count == 0 || commit > _committed.Keys[^1])
        {
            return;
        }

        Membership? expected = null;
        foreach ((long index, Membership membership) in _memberships)
        {
            expected = index <= commit ? membership : expected;
        }

        expected ??= node.FirstMembership;
        Check(group.MembershipAt(commit).Equals(expected), "a membership belongs to its index", node, $"has {group.MembershipAt(commit)} at commit index {commit}, where {expected} is committed");
    }

    /// <summary>What was seen of a node.</summary>
    private sealed class Seen
    {
        /// <summary>The highest term in which it sent something, so that it must have been durable.</summary>
        public long SaidTerm { get; set; }

        /// <summary>Up to where it said that its log was durable, and in which term.</summary>
        public long Acknowledged { get; set; }

        public long AcknowledgedIn { get; set; }

        public long Commit { get; set; }

        /// <summary>The term that it leads, 0 if none.</summary>
        public long LeaderOf { get; set; }

        /// <summary>Its log as it was: the first index, and each entry's term.</summary>
        public long First { get; set; } = 1;

        public List<long> Terms { get; } = [];

        /// <summary>What is applied to its state.</summary>
        public ReplicaChanges Changes { get; } = new();

        /// <summary>The entry that is being applied, 0 if none, and the last of which it is known what it came to.</summary>
        public long InHand { get; set; }

        public long Applied { get; set; }

        public long Last => First + Terms.Count - 1;
    }
}
