using System.Text;
using KeyVa.Raft;
using KeyVa.Simulation.Raft;

namespace KeyVa.Tests.Raft;

/// <summary>
/// One real group over a disk in memory, driven by hand: what it sends and applies is kept; what it wants on disk gets there at once, unless a
/// test holds it back.
/// </summary>
internal sealed class TestNode
{
    public const long ElectionTimeout = 100;

    private readonly Work _work = new();

    public TestNode(long id, Membership members, Func<RaftOptions, RaftOptions>? options = null)
        : this(id, new RaftDisk(SnapshotMetadata.Initial(members), []), options)
    {
    }

    public TestNode(long id, RaftDisk disk, Func<RaftOptions, RaftOptions>? options = null, long now = 0)
    {
        Disk = disk;
        Now = now;
        RaftOptions usual = new() { Id = id, Seed = (ulong)id, ElectionTimeout = ElectionTimeout, HeartbeatInterval = 10 };
        Group = new RaftGroup(options?.Invoke(usual) ?? usual, disk, disk.Hard, disk.Snapshot!.Index, now);
    }

    public RaftGroup Group { get; }

    public RaftDisk Disk { get; }

    public long Now { get; set; }

    /// <summary>Whether works stay unsynced until <see cref="Persist"/>.</summary>
    public bool HoldsDisk { get; set; }

    public List<Message> Sent { get; } = [];

    public List<Entry> Applied { get; } = [];

    public List<ConfirmedRead> Reads { get; } = [];

    public long LastWork { get; private set; }

    /// <summary>The log as terms, from index 2 on: index 1 is the initial snapshot.</summary>
    public string Terms => string.Join(' ', Enumerable.Range(2, (int)Group.Last.Index - 1).Select(index => Group.Log.TermAt(index)));

    public static Membership Three { get; } = new([1, 2, 3]);

    public static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    /// <summary>A follower of three whose log has these terms, in the last one's term.</summary>
    public static TestNode WithLog(long id, params long[] terms)
    {
        TestNode node = new(id, Three);
        node.Append(from: 2, term: terms.Length == 0 ? 1 : terms[^1], Entries(2, terms), commit: 1);
        node.Sent.Clear();
        return node;
    }

    public static Entry[] Entries(long first, params long[] terms) =>
        [.. terms.Select((term, i) => new Entry(term, first + i, EntryKind.Command, Bytes($"{first + i}@{term}")))];

    /// <summary>Entries behind an index and term.</summary>
    public void Append(long from, long term, Entry[] entries, long commit, long index = 1, long logTerm = 1) =>
        Step(new Message { Kind = MessageKind.Append, To = Group.Id, From = from, Term = term, Index = index, LogTerm = logTerm, Entries = entries, Commit = commit });

    public void Step(Message message)
    {
        Group.Step(message with { To = Group.Id }, Now);
        Settle();
    }

    public void Tick(long later)
    {
        Now += later;
        Group.Tick(Now);
        Settle();
    }

    public Proposed Propose(string text)
    {
        Proposed proposed = Group.Propose(Bytes(text), Now);
        Settle();
        return proposed;
    }

    public Refusal Read(long context)
    {
        Refusal refusal = Group.Read(context, Now);
        Settle();
        return refusal;
    }

    /// <summary>Makes it the leader of the next term, by the votes of others.</summary>
    public void Elect(params long[] voters)
    {
        Tick(2 * ElectionTimeout);
        foreach (long voter in voters)
        {
            Step(new Message { Kind = MessageKind.PreVoteReply, To = Group.Id, From = voter, Term = Group.Term + 1 });
        }

        foreach (long voter in voters)
        {
            Step(new Message { Kind = MessageKind.VoteReply, To = Group.Id, From = voter, Term = Group.Term });
        }
    }

    /// <summary>A follower has everything up to an index.</summary>
    public void Acknowledge(long from, long index) =>
        Step(new Message { Kind = MessageKind.AppendReply, To = Group.Id, From = from, Term = Group.Term, Index = index });

    public void AnswerHeartbeat(long from, long round, long promise = ElectionTimeout) =>
        Step(new Message { Kind = MessageKind.HeartbeatReply, To = Group.Id, From = from, Term = Group.Term, Context = round, HintIndex = promise });

    public void Persist()
    {
        Disk.Sync(LastWork);
        Group.Persisted(LastWork);
        Settle();
    }

    /// <summary>What it sent since it was asked last.</summary>
    public List<Message> TakeSent()
    {
        List<Message> sent = [.. Sent];
        Sent.Clear();
        return sent;
    }

    public Message TakeOne(MessageKind kind)
    {
        Message one = Xunit.Assert.Single(Sent, message => message.Kind == kind);
        Sent.Clear();
        return one;
    }

    public void Settle()
    {
        while (Group.TryTakeWork(_work))
        {
            Sent.AddRange(_work.Messages);
            Reads.AddRange(_work.Reads);
            Applied.AddRange(_work.Committed.Span);
            if (_work.Number > 0)
            {
                Disk.Write(_work, []);
                LastWork = _work.Number;
                if (!HoldsDisk)
                {
                    Disk.Sync(LastWork);
                    Group.Persisted(LastWork);
                }
            }

            if (!_work.Committed.IsEmpty)
            {
                Group.Applied(_work.Committed.Span[^1].Index);
            }
        }
    }
}
