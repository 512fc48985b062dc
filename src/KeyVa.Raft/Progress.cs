namespace KeyVa.Raft;

/// <summary>How a leader sends to a follower.</summary>
public enum ProgressState : byte
{
    /// <summary>It is not known where the logs agree: one message at a time.</summary>
    Probe = 0,

    /// <summary>The logs agree up to the match index: messages follow each other without waiting, within the window.</summary>
    Replicate,

    /// <summary>The log no longer has what the follower lacks: nothing but the snapshot that is under way.</summary>
    Snapshot,
}

/// <summary>How far a follower is, as its leader knows it; for those who watch, and to choose whom to hand leadership to.</summary>
public readonly record struct FollowerStatus(long Node, ProgressState State, long Match, long Next, long LastReply);

/// <summary>
/// A leader's view of one follower (figure 2: nextIndex, matchIndex). Invariant: match &lt; next, and the follower has durably
/// what is up to match. Owned by the leader's replication.
/// </summary>
internal sealed class Progress(long id, long next, long now, RaftOptions options)
{
    public long Id { get; } = id;

    public ProgressState State { get; private set; } = ProgressState.Probe;

    public long Match { get; private set; }

    public long Next { get; private set; } = next;

    public InflightWindow Inflight { get; } = new(options.MaxInflightMessages, options.MaxInflightBytes);

    /// <summary>A probe is under way; the next one goes when it is answered, or a heartbeat is.</summary>
    public bool IsProbeSent { get; private set; }

    /// <summary>A heartbeat was answered and the follower lacks something: an empty append will find out what.</summary>
    public bool IsNudged { get; private set; }

    /// <summary>The highest commit index that an append has told.</summary>
    public long ToldCommit { get; private set; }

    /// <summary>Up to where it is waited for, on its side, that it learns what is committed.</summary>
    public long AwaitedIndex { get; private set; }

    /// <summary>When it is to be told what is committed, whatever else goes to it; the end of time while it knows.</summary>
    public long CommitDue { get; private set; } = long.MaxValue;

    /// <summary>When it last answered anything.</summary>
    public long LastReply { get; set; } = now;

    /// <summary>The newest round of heartbeats that it answered.</summary>
    public long Round { get; set; }

    /// <summary>The newest that it answered with a promise on which a lease may rest.</summary>
    public long PromisedRound { get; set; }

    public FollowerStatus Status => new(Id, State, Match, Next, LastReply);

    /// <summary>It has everything up to an index. Whether that is news.</summary>
    public bool Acknowledge(long index, long firstIndex)
    {
        bool news = index > Match;
        Match = Math.Max(Match, index);
        Inflight.FreeThrough(index);
        if (State == ProgressState.Replicate)
        {
            Next = Math.Max(Next, index + 1);
        }
        else if (index >= Match && (State == ProgressState.Probe || Match + 1 >= firstIndex))
        {
            State = ProgressState.Replicate;
            Next = Match + 1;
            Inflight.Clear();
        }

        return news;
    }

    /// <summary>It does not have the entry before those that were sent; the logs may agree at <paramref name="guess"/>.</summary>
    public void Refused(long index, long guess)
    {
        if (State == ProgressState.Replicate && index > Match)
        {
            Probe();
        }
        else if (State == ProgressState.Probe && index == Next - 1)
        {
            Next = Math.Max(Math.Min(index, guess + 1), Match + 1);
            IsProbeSent = false;
        }
    }

    /// <summary>Somebody waits on its side for everything up to an index.</summary>
    public void Await(long index) => AwaitedIndex = Math.Max(AwaitedIndex, index);

    /// <summary>More is committed than it was told: whether that is to be said now, though there is nothing else to say.</summary>
    public bool OwesCommit(long commit, long time)
    {
        if (ToldCommit >= commit)
        {
            return false;
        }

        CommitDue = Math.Min(CommitDue, ToldCommit < AwaitedIndex ? time : time + options.CommitDelay);
        return time >= CommitDue;
    }

    public void Sent(ReadOnlySpan<Entry> entries, long commit)
    {
        ToldCommit = Math.Max(ToldCommit, commit);
        CommitDue = long.MaxValue;
        IsNudged = false;
        if (State == ProgressState.Probe)
        {
            IsProbeSent = true;
        }
        else if (!entries.IsEmpty)
        {
            int bytes = 0;
            foreach (ref readonly Entry entry in entries)
            {
                bytes += entry.Size;
            }

            Next = entries[^1].Index + 1;
            Inflight.Add(Next - 1, bytes);
        }
    }

    /// <summary>
    /// It lives, and lacks something. If the window is full of messages that were lost, nothing would ever open it: one place
    /// is freed for a message that will tell.
    /// </summary>
    public void Nudge()
    {
        IsProbeSent = false;
        IsNudged = true;
        if (State == ProgressState.Replicate && Inflight.IsFull)
        {
            Inflight.FreeOldest();
        }
    }

    public void BeginSnapshot()
    {
        State = ProgressState.Snapshot;
        Inflight.Clear();
    }

    /// <summary>Back to one message at a time; <paramref name="next"/> is where a snapshot that arrived would leave it.</summary>
    public void Probe(long next = 0)
    {
        State = ProgressState.Probe;
        Next = Math.Max(Match + 1, next);
        IsProbeSent = false;
        Inflight.Clear();
    }
}
