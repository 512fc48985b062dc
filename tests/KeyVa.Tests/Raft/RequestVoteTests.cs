using KeyVa.Raft;
using Xunit;

namespace KeyVa.Tests.Raft;

/// <summary>The receiver's rules of RequestVote, one test each: figure 2, with §5.2 and §5.4.1; and of pre-votes.</summary>
public sealed class RequestVoteTests
{
    // The follower heard its leader at 0.
    private const long Later = 5 * TestNode.ElectionTimeout;

    [Fact] // Figure 2, RequestVote 1; §5.1
    public void AnOlderTermGetsNoVote()
    {
        TestNode node = TestNode.WithLog(1, 4);
        node.Now = Later;
        Message reply = Ask(node, from: 3, term: 3, lastTerm: 4, lastIndex: 9);
        Assert.True(reply.Reject);
        Assert.Equal(4, reply.Term);
    }

    [Fact] // Figure 2, RequestVote 2: votedFor is null or the candidate
    public void AVoteIsGivenOnceInATerm()
    {
        TestNode node = TestNode.WithLog(1, 1);
        node.Now = Later;
        Assert.False(Ask(node, from: 3, term: 5, lastTerm: 1, lastIndex: 2).Reject);
        Assert.True(Ask(node, from: 2, term: 5, lastTerm: 1, lastIndex: 2).Reject);
        Assert.False(Ask(node, from: 3, term: 5, lastTerm: 1, lastIndex: 2).Reject);
        Assert.Equal(3, node.Group.Vote);
    }

    [Theory] // Figure 2, RequestVote 2; §5.4.1: the later last term, then the longer log
    [InlineData(3, 3, true)]
    [InlineData(3, 4, true)]
    [InlineData(3, 2, false)]
    [InlineData(2, 9, false)]
    [InlineData(4, 1, true)]
    public void OnlyALogThatIsAsUpToDateGetsAVote(long lastTerm, long lastIndex, bool granted)
    {
        TestNode node = TestNode.WithLog(1, 3, 3);
        node.Now = Later;
        Assert.Equal(granted, !Ask(node, from: 3, term: 5, lastTerm, lastIndex).Reject);
    }

    [Fact] // Figure 2, persistent state: before responding
    public void AVoteLeavesWhenItIsDurable()
    {
        TestNode node = TestNode.WithLog(1, 1);
        node.Now = Later;
        node.HoldsDisk = true;
        node.Step(Vote(from: 3, term: 5, lastTerm: 1, lastIndex: 2));
        Assert.Empty(node.Sent);
        node.Persist();
        Assert.False(node.TakeOne(MessageKind.VoteReply).Reject);
        Assert.Equal(new HardState(5, 3), node.Disk.Hard);
    }

    [Fact] // §5.2: also behind a restart
    public void AVoteIsRememberedOverARestart()
    {
        TestNode node = TestNode.WithLog(1, 1);
        node.Now = Later;
        Ask(node, from: 3, term: 5, lastTerm: 1, lastIndex: 2);
        TestNode again = new(1, node.Disk, now: Later);
        Assert.True(Ask(again, from: 2, term: 5, lastTerm: 1, lastIndex: 9).Reject);
    }

    [Fact] // Dissertation, §4.2.3: neither a vote nor the term
    public void WhoHearsALeaderIgnoresCandidates()
    {
        TestNode node = TestNode.WithLog(1, 1);
        node.Now = TestNode.ElectionTimeout - 1;
        node.Step(Vote(from: 3, term: 5, lastTerm: 1, lastIndex: 9));
        node.Step(Vote(from: 3, term: 5, lastTerm: 1, lastIndex: 9) with { Kind = MessageKind.PreVote });
        Assert.Empty(node.Sent);
        Assert.Equal(1, node.Group.Term);
    }

    [Fact] // Dissertation, §3.10 and §4.2.3: but for whom the leader sent
    public void WhoTheLeaderSentGetsAVoteAllTheSame()
    {
        TestNode node = TestNode.WithLog(1, 1);
        node.Now = 1;
        node.Step(Vote(from: 3, term: 5, lastTerm: 1, lastIndex: 9) with { Force = true });
        Assert.False(node.TakeOne(MessageKind.VoteReply).Reject);
    }

    [Fact] // Dissertation, §9.6: a pre-vote binds nobody
    public void APreVoteChangesNothing()
    {
        TestNode node = TestNode.WithLog(1, 1);
        node.Now = Later;
        foreach (long candidate in (long[])[2, 3])
        {
            node.Step(Vote(candidate, term: 5, lastTerm: 1, lastIndex: 2) with { Kind = MessageKind.PreVote });
            Message reply = node.TakeOne(MessageKind.PreVoteReply);
            Assert.False(reply.Reject);
            Assert.Equal(5, reply.Term);
        }

        Assert.Equal((1, NodeId.None), (node.Group.Term, node.Group.Vote));
    }

    [Fact] // Dissertation, §9.6, with §5.4.1
    public void APreVoteAsksForTheLogToo()
    {
        TestNode node = TestNode.WithLog(1, 3, 3);
        node.Now = Later;
        node.Step(Vote(from: 3, term: 9, lastTerm: 3, lastIndex: 2) with { Kind = MessageKind.PreVote });
        Assert.True(node.TakeOne(MessageKind.PreVoteReply).Reject);
    }

    [Fact] // A node that was ahead in terms brings the others there, else it could never come back
    public void APreVoteFromBehindIsToldTheTerm()
    {
        TestNode node = TestNode.WithLog(1, 7);
        node.Now = Later;
        node.Step(Vote(from: 3, term: 4, lastTerm: 3, lastIndex: 2) with { Kind = MessageKind.PreVote });
        Message reply = node.TakeOne(MessageKind.PreVoteReply);
        Assert.True(reply.Reject);
        Assert.Equal(7, reply.Term);
    }

    [Fact] // A lease stands on what this node acknowledged before it restarted
    public void WithLeasesARestartedNodeVotesForNobodyAtFirst()
    {
        TestNode node = TestNode.WithLog(1, 1);
        TestNode again = new(1, node.Disk, static options => options with { LeaseReads = true }, now: Later);
        again.Now = Later + TestNode.ElectionTimeout - 1;
        again.Step(Vote(from: 3, term: 5, lastTerm: 1, lastIndex: 2));
        Assert.Empty(again.Sent);
        again.Now++;
        Assert.False(Ask(again, from: 3, term: 5, lastTerm: 1, lastIndex: 2).Reject);
    }

    [Theory] // What was promised holds, whatever the node's settings are now; and it does not stand itself
    [InlineData(false)]
    [InlineData(true)]
    public void ARestartedNodeKeepsWhatItPromised(bool leases)
    {
        const long promised = 5 * TestNode.ElectionTimeout;
        TestNode node = TestNode.WithLog(1, 1);
        TestNode again = new(1, node.Disk, options => options with { LeaseReads = leases, PromisedBefore = promised }, now: Later);
        again.Now = Later + promised - 1;
        again.Group.Tick(again.Now);
        again.Step(new Message { Kind = MessageKind.Heartbeat, To = 1, From = 2, Term = 5 });
        again.Persist();
        again.Sent.Clear();
        again.Step(Vote(from: 3, term: 6, lastTerm: 1, lastIndex: 2));
        Assert.Empty(again.Sent);
        again.Now += TestNode.ElectionTimeout;
        Assert.False(Ask(again, from: 3, term: 6, lastTerm: 1, lastIndex: 2).Reject);
    }

    [Fact] // A term that this node came to otherwise ends no promise to the leader of a former one, which may read by its lease still
    public void APromiseHoldsInATermThatCameWithoutALeader()
    {
        TestNode node = new(1, new Membership([1, 2, 3, 4, 5]), static options => options with { LeaseReads = true });
        node.Step(new Message { Kind = MessageKind.Heartbeat, To = 1, From = 2, Term = 2 });
        Assert.Equal(TestNode.ElectionTimeout, node.TakeOne(MessageKind.HeartbeatReply).HintIndex);

        // It had asked before it heard of that leader; the answer overtakes the candidate's own request.
        node.Step(new Message { Kind = MessageKind.PreVoteReply, To = 1, From = 4, Term = 5, Reject = true });
        node.Now = TestNode.ElectionTimeout - 1;
        Assert.True(Ask(node, from: 3, term: 5, lastTerm: 1, lastIndex: 1).Reject);
        Assert.Equal((5, NodeId.None), (node.Group.Term, node.Group.Vote));

        // But whom the leader itself has sent.
        node.Step(Vote(from: 3, term: 5, lastTerm: 1, lastIndex: 1) with { Force = true });
        Assert.False(node.TakeOne(MessageKind.VoteReply).Reject);

        TestNode other = new(1, new Membership([1, 2, 3, 4, 5]), static options => options with { PromisedBefore = TestNode.ElectionTimeout });
        other.Step(new Message { Kind = MessageKind.PreVoteReply, To = 1, From = 4, Term = 5, Reject = true });
        Assert.True(Ask(other, from: 3, term: 5, lastTerm: 1, lastIndex: 1).Reject);
        other.Now = TestNode.ElectionTimeout;
        Assert.False(Ask(other, from: 3, term: 5, lastTerm: 1, lastIndex: 1).Reject);
    }

    [Fact]
    public void ANodeThatPromisedDoesNotStandBeforeThat()
    {
        const long promised = 5 * TestNode.ElectionTimeout;
        TestNode node = TestNode.WithLog(1, 1);
        TestNode again = new(1, node.Disk, static options => options with { PromisedBefore = promised }, now: Later);
        Assert.InRange(again.Group.NextDeadline, Later + promised, Later + promised + (2 * TestNode.ElectionTimeout));
        again.Now = Later + promised - 1;
        again.Group.Tick(again.Now);
        Assert.Equal(Role.Follower, again.Group.Role);
    }

    private static Message Vote(long from, long term, long lastTerm, long lastIndex) =>
        new() { Kind = MessageKind.Vote, To = 1, From = from, Term = term, LogTerm = lastTerm, Index = lastIndex };

    private static Message Ask(TestNode node, long from, long term, long lastTerm, long lastIndex)
    {
        node.Step(Vote(from, term, lastTerm, lastIndex));
        return node.TakeOne(MessageKind.VoteReply);
    }
}
