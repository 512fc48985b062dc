using KeyVa.Raft;
using Xunit;

namespace KeyVa.Tests.Raft;

/// <summary>What a leader does beyond figure 2: flow control, bounds, its watch over the quorum, transfer, silence, snapshots.</summary>
public sealed class LeaderTests
{
    private const long ElectionTimeout = TestNode.ElectionTimeout;

    [Fact]
    public void AFollowerThatIsNotKnownGetsOneMessageAtATime()
    {
        TestNode node = Leader();
        node.Sent.Clear();
        node.Propose("a");
        node.Propose("b");
        Assert.DoesNotContain(node.Sent, static message => message.To == 3);
        node.AnswerHeartbeat(3, 0);
        Assert.Single(node.TakeSent(), static message => message.To == 3);
    }

    [Theory]
    [InlineData(2, 1L << 20, 2)]
    [InlineData(100, 100, 4)]
    public void TheWindowIsBoundedInMessagesAndBytes(int messages, long bytes, int expected)
    {
        TestNode node = Leader(options => options with { MaxInflightMessages = messages, MaxInflightBytes = bytes, MaxAppendBytes = 1 });
        node.Sent.Clear();
        for (int i = 0; i < 10; i++)
        {
            node.Propose("x");
        }

        // An entry has 33 bytes; the last one may go beyond.
        Assert.Equal(expected, node.TakeSent().Count(static message => message.To == 2 && !message.Entries.IsEmpty));
        node.Acknowledge(2, 3);
        Assert.Single(node.TakeSent(), static message => message.To == 2 && !message.Entries.IsEmpty);
    }

    [Fact]
    public void AWindowFullOfLostMessagesOpensAgain()
    {
        TestNode node = Leader(static options => options with { MaxInflightMessages = 2, MaxAppendBytes = 1 });
        for (int i = 0; i < 4; i++)
        {
            node.Propose("x");
        }

        node.Sent.Clear();
        node.AnswerHeartbeat(2, 0);
        Message append = Assert.Single(node.TakeSent(), static message => message.To == 2);
        node.Step(new Message { Kind = MessageKind.AppendReply, To = 1, From = 2, Term = node.Group.Term, Reject = true, Index = append.Index, HintIndex = 2, HintTerm = 2 });
        Assert.Equal(2, node.TakeSent().Single(static message => message.To == 2).Index);
    }

    [Fact]
    public void ProposalsOfOneTakingShareAMessage()
    {
        TestNode node = Leader();
        node.Sent.Clear();
        Proposed proposed = node.Group.Propose([TestNode.Bytes("a"), TestNode.Bytes("b"), TestNode.Bytes("c")], node.Now);
        node.Settle();
        Assert.Equal(3, proposed.Index);
        Assert.Equal(3, Assert.Single(node.Sent, static message => message.To == 2).Entries.Length);
    }

    [Fact]
    public void UncommittedBytesAreBounded()
    {
        TestNode node = Leader(static options => options with { MaxUncommittedBytes = 100 });
        string large = new('x', 500);
        Assert.Equal(Refusal.None, node.Propose(large).Refusal);
        Assert.Equal(Refusal.TooMuchUncommitted, node.Propose("a").Refusal);
        node.Acknowledge(2, 3);
        Assert.Equal(Refusal.None, node.Propose("a").Refusal);
        Assert.Equal(Refusal.None, node.Propose("b").Refusal);
        Assert.Equal(Refusal.None, node.Propose("c").Refusal);
        Assert.Equal(Refusal.TooMuchUncommitted, node.Propose("d").Refusal);
    }

    [Fact]
    public void WhoDoesNotLeadRefuses()
    {
        TestNode node = new(1, TestNode.Three);
        Assert.Equal(Refusal.NotLeader, node.Propose("a").Refusal);
        Assert.Equal(Refusal.NotLeader, node.Group.Transfer(2, 0));
        Assert.Equal(Refusal.NotLeader, node.Group.Change(new Membership([1]), 0).Refusal);
    }

    [Fact] // Dissertation, §6.2
    public void ALeaderWithoutAQuorumStepsDown()
    {
        TestNode node = new(1, new Membership([1, 2, 3, 4, 5]));
        node.Elect(2, 3);
        node.Tick(ElectionTimeout);
        node.AnswerHeartbeat(2, 1);
        node.Tick(ElectionTimeout);
        Assert.Equal(Role.Follower, node.Group.Role);
    }

    [Fact]
    public void ALeaderWithAQuorumStays()
    {
        TestNode node = new(1, new Membership([1, 2, 3, 4, 5]));
        node.Elect(2, 3);
        for (int i = 0; i < 5; i++)
        {
            node.Tick(ElectionTimeout);
            node.AnswerHeartbeat(2 + (i % 2), 1);
            node.AnswerHeartbeat(4, 1);
        }

        Assert.Equal(Role.Leader, node.Group.Role);
    }

    [Fact] // Proposals would wait for nothing, and the term's leases end
    public void LeadershipIsNotOfferedToWhoDoesNotAnswer()
    {
        TestNode node = Leader(static options => options with { LeaseReads = true });
        for (int i = 0; i <= ElectionTimeout / 10; i++)
        {
            node.Tick(10);
            node.AnswerHeartbeat(2, node.TakeSent().First(static message => message.Kind == MessageKind.Heartbeat).Context);
        }

        Assert.Equal(Refusal.NotAnswering, node.Group.Transfer(3, node.Now));
        Assert.Equal(Refusal.None, node.Propose("a").Refusal);
        Assert.True(node.Group.HasLease(node.Now));
        node.AnswerHeartbeat(3, 0);
        Assert.Equal(Refusal.None, node.Group.Transfer(3, node.Now));
    }

    [Fact] // Dissertation, §3.10
    public void ATransferRefusesProposalsUntilItIsGivenUp()
    {
        TestNode node = Leader();
        Assert.Equal(Refusal.NotVoter, node.Group.Transfer(9, node.Now));
        Assert.Equal(Refusal.None, node.Group.Transfer(3, node.Now));
        Assert.Equal(Refusal.Transferring, node.Propose("a").Refusal);
        Assert.Equal(Refusal.Transferring, node.Group.Transfer(2, node.Now));
        Assert.Equal(Refusal.Transferring, node.Group.Change(new Membership([1]), node.Now).Refusal);
        node.Settle();
        Assert.DoesNotContain(node.Sent, static message => message.Kind == MessageKind.TimeoutNow);
        node.Acknowledge(3, 2);
        Assert.Equal(3, Assert.Single(node.Sent, static message => message.Kind == MessageKind.TimeoutNow).To);
        node.Tick(ElectionTimeout);
        Assert.Equal(Refusal.None, node.Propose("a").Refusal);
    }

    [Fact] // §7: the log is not kept for whoever is slow
    public void AFollowerBehindTheLogGetsTheSnapshotAndThenTheRest()
    {
        TestNode node = Leader();
        node.Propose("a");
        node.Acknowledge(2, 3);
        node.Disk.SaveSnapshot(new SnapshotMetadata(3, 2, TestNode.Three), [], 0);
        node.Propose("b");
        node.Sent.Clear();
        node.Step(new Message { Kind = MessageKind.AppendReply, To = 1, From = 3, Term = 2, Reject = true, Index = 1, HintIndex = 1, HintTerm = 0 });
        SnapshotMetadata snapshot = node.TakeOne(MessageKind.InstallSnapshot).Snapshot!;
        Assert.Equal((3, TestNode.Three), (snapshot.Index, snapshot.Membership));
        node.AnswerHeartbeat(3, 0);
        Assert.Empty(node.TakeSent());
        node.Group.SnapshotSent(3, snapshot, arrived: true);
        node.Settle();
        Assert.Equal(3, node.TakeOne(MessageKind.Append).Index);
    }

    [Fact]
    public void ASnapshotThatDidNotArriveIsSentAgainWhileThereIsSomebody()
    {
        TestNode node = Leader();
        node.Propose("a");
        node.Acknowledge(2, 3);
        node.Disk.SaveSnapshot(new SnapshotMetadata(3, 2, TestNode.Three), [], 0);
        node.Step(new Message { Kind = MessageKind.AppendReply, To = 1, From = 3, Term = 2, Reject = true, Index = 1, HintIndex = 1, HintTerm = 0 });
        node.Sent.Clear();
        node.Group.SnapshotSent(3, node.Disk.Snapshot!, arrived: false);
        node.Settle();
        Assert.Single(node.TakeSent(), static message => message.Kind == MessageKind.InstallSnapshot);
        node.Tick(ElectionTimeout);
        node.AnswerHeartbeat(2, 1);
        node.Group.SnapshotSent(3, node.Disk.Snapshot!, arrived: false);
        node.Tick(10);
        Assert.DoesNotContain(node.TakeSent(), static message => message.Kind == MessageKind.InstallSnapshot);
    }

    [Fact] // Figure 13
    public void ASnapshotTakesThePlaceOfTheLogAndItsMembershipCounts()
    {
        TestNode node = TestNode.WithLog(3, 1, 1);
        Membership members = new([1, 2], [3]);
        node.HoldsDisk = true;
        node.Step(new Message { Kind = MessageKind.InstallSnapshot, To = 3, From = 2, Term = 4, Snapshot = new SnapshotMetadata(9, 3, members) });
        Assert.Empty(node.Sent);
        Assert.Equal(new LogPosition(3, 9), node.Group.Last);
        Assert.Equal(members, node.Group.Membership);
        node.Persist();
        Assert.Equal(9, node.TakeOne(MessageKind.AppendReply).Index);
        Assert.Equal(9, node.Group.AppliedIndex);
        Assert.Equal(10, node.Disk.FirstIndex);
    }

    [Fact] // Figure 13, 6
    public void ASnapshotOfWhatIsThereKeepsTheRest()
    {
        TestNode node = TestNode.WithLog(3, 1, 1, 1);
        node.Step(new Message { Kind = MessageKind.InstallSnapshot, To = 3, From = 2, Term = 1, Snapshot = new SnapshotMetadata(3, 1, TestNode.Three) });
        Assert.Equal(3, node.TakeOne(MessageKind.AppendReply).Index);
        Assert.Equal(4, node.Group.Last.Index);
        Assert.Equal(2, node.Applied.Count);
    }

    [Fact]
    public void ASilentGroupSaysNothingAndWakes()
    {
        TestNode node = Leader();
        Assert.False(node.Group.TryQuiesce(node.Now));
        node.Acknowledge(3, 2);
        node.Sent.Clear();
        Assert.True(node.Group.TryQuiesce(node.Now));
        node.Settle();
        Assert.All(node.TakeSent(), static message => Assert.True(message.Quiesce));
        Assert.Equal(long.MaxValue, node.Group.NextDeadline);
        node.AnswerHeartbeat(2, 1);
        node.Tick(50 * ElectionTimeout);
        Assert.Empty(node.Sent);
        Assert.Equal(Refusal.None, node.Propose("a").Refusal);
        node.Tick(1);
        Assert.Equal(Role.Leader, node.Group.Role);
        Assert.Equal(2, node.TakeSent().Count(static message => message.Kind == MessageKind.Heartbeat));
    }

    [Fact]
    public void WhoLosesItsLeaderInASilenceHasThePatienceOfTheLastSign()
    {
        TestNode node = TestNode.WithLog(3, 1);
        node.Append(from: 2, term: 1, [], commit: 2, index: 2);
        node.Step(new Message { Kind = MessageKind.Heartbeat, To = 3, From = 2, Term = 1, Commit = 2, Context = 1, Quiesce = true, Index = 2, LogTerm = 1 });
        Assert.True(node.Group.IsQuiescent);
        node.Tick(50 * ElectionTimeout);
        Assert.Equal(Role.Follower, node.Group.Role);
        node.Sent.Clear();

        // The leader's node was heard of an election timeout ago.
        long heardAt = node.Now - ElectionTimeout;
        node.Group.Wake(node.Now, heardAt);
        node.Settle();
        Assert.Equal(2, node.TakeOne(MessageKind.Read).To);
        Assert.InRange(node.Group.NextDeadline, heardAt + ElectionTimeout, heardAt + (2 * ElectionTimeout));
        node.Tick(ElectionTimeout);
        Assert.Equal(Role.PreCandidate, node.Group.Role);
    }

    [Fact]
    public void ALeaderThatAsksForVotesIsNoReasonToStayLoyal()
    {
        foreach (long asks in new long[] { 1, 2 })
        {
            TestNode node = TestNode.WithLog(3, 1);
            node.Append(from: 2, term: 1, [], commit: 2, index: 2);
            node.Step(new Message { Kind = MessageKind.Heartbeat, To = 3, From = 2, Term = 1, Commit = 2, Context = 1, Quiesce = true, Index = 2, LogTerm = 1 });
            node.Tick(50 * ElectionTimeout);
            node.Sent.Clear();
            node.Step(new Message { Kind = MessageKind.PreVote, To = 3, From = asks, Term = 2, Index = 2, LogTerm = 1 });
            Assert.False(node.Group.IsQuiescent);
            Assert.Equal(asks == 2 ? MessageKind.PreVoteReply : MessageKind.Read, Assert.Single(node.Sent).Kind);
        }
    }

    [Fact]
    public void WordOfWhatIsCommittedWaitsForTheNextMessageUnlessSomebodyWaits()
    {
        const long delay = 5;
        TestNode node = Leader(static options => options with { CommitDelay = delay });
        node.Tick(delay);
        node.Acknowledge(3, 2);
        node.Sent.Clear();

        // It goes with the next entry.
        node.Propose("a");
        node.Acknowledge(2, 3);
        node.TakeSent();
        node.Propose("b");
        Assert.All(node.TakeSent(), static message => Assert.Equal((3L, 1), (message.Commit, message.Entries.Length)));

        // Alone it goes after a while.
        node.Acknowledge(2, 4);
        Assert.Empty(node.TakeSent());
        Assert.Equal(node.Now + delay, node.Group.NextDeadline);
        node.Tick(delay);
        Assert.Equal([2, 3], node.TakeSent().Where(static message => message is { Kind: MessageKind.Append, Commit: 4, Entries.IsEmpty: true }).Select(static message => message.To));

        // Where somebody waits it goes at once.
        long index = node.Propose("c").Index;
        node.Group.Await(3, index);
        node.TakeSent();
        node.Acknowledge(2, index);
        Message told = Assert.Single(node.TakeSent());
        Assert.Equal((3L, index), (told.To, told.Commit));
    }

    [Fact]
    public void HeldMessagesAreBounded()
    {
        TestNode node = new(1, TestNode.Three, static options => options with { MaxHeldMessages = 16 }) { HoldsDisk = true };
        node.Append(from: 2, term: 1, TestNode.Entries(2, 1), commit: 1);
        for (int i = 0; i < 100; i++)
        {
            node.Append(from: 2, term: 1, TestNode.Entries(2, 1), commit: 1);
        }

        node.Persist();
        Assert.Equal(16, node.Sent.Count);
    }

    [Fact] // A single voter commits what its own disk has
    public void ASingleVoterNeedsNobody()
    {
        TestNode node = new(1, new Membership([1]));
        node.Tick(2 * ElectionTimeout);
        Assert.Equal(Role.Leader, node.Group.Role);
        node.Propose("a");
        node.Read(7);
        Assert.Equal(2, node.Applied.Count);
        Assert.Equal([new ConfirmedRead(7, 3, Refusal.None)], node.Reads);
        Assert.Empty(node.Sent);
    }

    private static TestNode Leader(Func<RaftOptions, RaftOptions>? options = null)
    {
        TestNode node = new(1, TestNode.Three, options);
        node.Elect(2);
        node.Acknowledge(2, 2);
        return node;
    }
}
