namespace KeyVa.Raft;

/// <summary>
/// What all parts of a group share (figure 2, "state"): term, vote, role, log, the time, and the way out for messages. Owned
/// by its group.
/// </summary>
internal sealed class GroupState
{
    private readonly Outbox _outbox;
    private ulong _random;
    private long _stateNumber;
    private long _entriesNumber;

    public GroupState(RaftOptions options, ILogStorage storage, HardState state, long applied, long now)
    {
        options.Check();
        Options = options;
        _outbox = new Outbox(options.MaxHeldMessages);
        _random = options.Seed;
        Log = new ReplicatedLog(storage, applied);
        Now = LastTick = now;

        // Whoever stands on a snapshot or an entry has been in its term.
        long term = Math.Max(Log.Snapshot!.Term, Log.Last.Term);
        Term = Math.Max(state.Term, term);
        Vote = state.Term >= term ? state.Vote : NodeId.None;

        // What was promised before the restart may hold up a leader's lease, and nobody here knows any more.
        StickyUntil = now + Math.Max(options.Promise, options.PromisedBefore);
        ResetElectionDeadline();
    }

    public RaftOptions Options { get; }

    public ReplicatedLog Log { get; }

    public long Id => Options.Id;

    public long Term { get; private set; }

    public long Vote { get; private set; }

    public Role Role { get; set; }

    public long Leader { get; set; }

    /// <summary>The latest time that was told with an input; never falls.</summary>
    public long Now { get; private set; }

    public long LastTick { get; private set; }

    public long ElectionDeadline { get; private set; }

    /// <summary>Until then no vote is given to whom the leader did not send (dissertation, §4.2.3).</summary>
    public long StickyUntil { get; private set; }

    public bool IsQuiescent { get; set; }

    public bool IsSticky => Role == Role.Leader || Now < StickyUntil;

    public Membership Membership => Log.Membership;

    public bool IsVoter => Membership.IsVoter(Id);

    /// <summary>
    /// Whether it may ask for votes. While its removal is not committed it must, though its own vote counts no more: it may be the only one whose log is
    /// long enough to be elected, and to bring the removal to those who stay (dissertation, §4.2.2). Behind a restart it knows less to be committed than it did: so any membership that
    /// may be in force counts, and not that at the commit index alone.
    /// </summary>
    public bool MayCampaign => Log.MayBeVoter(Id);

    public List<ConfirmedRead> Reads { get; } = [];

    /// <summary>The number of the last work that was handed out.</summary>
    public long Taken { get; private set; }

    /// <summary>The number up to which work is durable.</summary>
    public long Persisted { get; private set; }

    /// <summary>Whether the present term and vote are durable.</summary>
    public bool IsStatePersisted => _stateNumber <= Persisted;

    public void Observe(long now, bool isTick = false)
    {
        Now = Math.Max(Now, now);
        LastTick = isTick ? Now : LastTick;
    }

    public void ResetElectionDeadline() => ResetElectionDeadline(Now);

    /// <summary>The leader gave its last sign of life at a time. Whoever may vote for nobody does not stand either: it would vote for itself.</summary>
    public void ResetElectionDeadline(long heardAt) => ElectionDeadline = Math.Max(heardAt + Options.ElectionTimeout + Random(Options.ElectionTimeout), StickyUntil);

    /// <summary>A leader was heard.</summary>
    public void Hear(long leader)
    {
        Leader = leader;
        StayLoyal();
        ResetElectionDeadline();
    }

    public void StayLoyal() => StickyUntil = Math.Max(StickyUntil, Now + Options.ElectionTimeout);

    public void SetTerm(long term, long vote)
    {
        Invariant.Holds(term > Term || (term == Term && (Vote == NodeId.None || Vote == vote)), "terms rise, and a vote is given once in each");
        Term = term;
        Vote = vote;
        _stateNumber = Taken + 1;
    }

    /// <summary>The log has changed: what is said of it from now on waits for the next work.</summary>
    public void NoteEntries() => _entriesNumber = Taken + 1;

    /// <summary>
    /// Sends a message of this term once this term and vote are durable: no message of a term may leave before (figure 2: "updated
    /// on stable storage before responding to RPCs"). Pre-votes tell of no state.
    /// </summary>
    public void Send(in Message message)
    {
        bool isPreVote = message.Kind is MessageKind.PreVote || (message.Kind == MessageKind.PreVoteReply && !message.Reject);
        _outbox.Add(isPreVote ? 0 : _stateNumber, message with { From = Id, Term = isPreVote ? message.Term : Term });
    }

    /// <summary>Sends what says that entries are durable once they are.</summary>
    public void SendAfterEntries(in Message message) =>
        _outbox.Add(Options.Has(RaftDefects.AcknowledgesUnpersisted) ? 0 : Math.Max(_stateNumber, _entriesNumber), message with { From = Id, Term = Term });

    /// <summary>Fills in what is to be persisted and sent.</summary>
    public void TakeInto(Work work)
    {
        bool stateChanged = _stateNumber > Taken;
        if (stateChanged || Log.HasUnoffered)
        {
            work.Number = ++Taken;
            work.State = stateChanged ? new HardState(Term, Options.Has(RaftDefects.ForgetsVote) ? NodeId.None : Vote) : null;
            Log.Offer(work);
        }

        _outbox.Release(Persisted, work.Messages);
        work.Reads.AddRange(Reads);
        Reads.Clear();
    }

    public void MarkPersisted(long number)
    {
        Invariant.Holds(number <= Taken, "nothing is durable that was not handed out");
        if (number > Persisted)
        {
            Persisted = number;
            Log.Persisted(number);
        }
    }

    // SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
    private long Random(long below)
    {
        ulong z = _random += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return (long)((z ^ (z >> 31)) % (ulong)below);
    }
}
