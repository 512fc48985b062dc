using KeyVa.Raft;
using Xunit;

namespace KeyVa.Tests.Raft;

/// <summary>Figure 2, "Rules for Servers", one test each.</summary>
public sealed class ServerRuleTests
{
    [Fact] // All servers 1; §5.3
    public void WhatIsCommittedIsAppliedOnceAndInOrder()
    {
        TestNode node = TestNode.WithLog(1, 1, 1, 1);
        node.Append(from: 2, term: 1, [], commit: 3, index: 4, logTerm: 1);
        node.Append(from: 2, term: 1, [], commit: 4, index: 4, logTerm: 1);
        Assert.Equal([2, 3, 4], node.Applied.Select(static entry => entry.Index));
    }

    [Theory] // All servers 2; §5.1
    [InlineData(MessageKind.AppendReply)]
    [InlineData(MessageKind.HeartbeatReply)]
    [InlineData(MessageKind.VoteReply)]
    [InlineData(MessageKind.Append)]
    public void AHigherTermMakesAFollower(MessageKind kind)
    {
        TestNode node = new(1, TestNode.Three);
        node.Elect(2);
        Assert.Equal(Role.Leader, node.Group.Role);
        node.Step(new Message { Kind = kind, To = 1, From = 3, Term = 9, Index = 1, LogTerm = 1 });
        Assert.Equal((Role.Follower, 9), (node.Group.Role, node.Group.Term));
        Assert.Equal(9, node.Disk.Hard.Term);
    }

    [Fact] // Followers 2; §5.2: a follower that hears nothing campaigns; here it asks first (dissertation, §9.6)
    public void AFollowerThatHearsNothingAsksForPreVotes()
    {
        TestNode node = new(1, TestNode.Three);
        node.Tick(2 * TestNode.ElectionTimeout);
        Assert.Equal((Role.PreCandidate, 1), (node.Group.Role, node.Group.Term));
        Assert.Equal([2, 3], node.TakeSent().Select(static message => message.To));
    }

    [Theory] // Followers 2: not if an append came, or a vote was given
    [InlineData(true)]
    [InlineData(false)]
    public void AFollowerWaitsAnewAfterAnAppendOrAVote(bool append)
    {
        TestNode node = new(1, TestNode.Three);
        node.Now = TestNode.ElectionTimeout - 1;
        if (append)
        {
            node.Append(from: 2, term: 1, [], commit: 1);
        }
        else
        {
            node.Step(new Message { Kind = MessageKind.Vote, To = 1, From = 2, Term = 2, LogTerm = 1, Index = 1 });
        }

        Assert.True(node.Group.NextDeadline >= node.Now + TestNode.ElectionTimeout);
        node.Tick(TestNode.ElectionTimeout - 1);
        Assert.Equal(Role.Follower, node.Group.Role);
    }

    [Fact] // Candidates 1; §5.2
    public void ACandidateBeginsATermAndVotesForItself()
    {
        TestNode node = TestNode.WithLog(1, 1, 1);
        node.Tick(2 * TestNode.ElectionTimeout);
        node.Sent.Clear();
        node.Step(new Message { Kind = MessageKind.PreVoteReply, To = 1, From = 2, Term = 2 });
        Assert.Equal((Role.Candidate, 2, 1), (node.Group.Role, node.Group.Term, node.Group.Vote));
        Assert.True(node.Group.NextDeadline >= node.Now + TestNode.ElectionTimeout);
        List<Message> sent = node.TakeSent();
        Assert.All(sent, static message => Assert.Equal((MessageKind.Vote, 2, 1, 3), (message.Kind, message.Term, message.LogTerm, message.Index)));
        Assert.Equal([2, 3], sent.Select(static message => message.To));
    }

    [Fact] // Candidates 1, with the persistent state: nobody hears of a vote, or of a term, that may be forgotten
    public void ACandidateSpeaksWhenItsOwnVoteIsDurable()
    {
        TestNode node = new(1, TestNode.Three);
        node.Tick(2 * TestNode.ElectionTimeout);
        node.Sent.Clear();
        node.HoldsDisk = true;
        node.Step(new Message { Kind = MessageKind.PreVoteReply, To = 1, From = 2, Term = 2 });
        Assert.Empty(node.Sent);
        node.Persist();
        Assert.Equal(2, node.Sent.Count);
        Assert.Equal(new HardState(2, 1), node.Disk.Hard);
    }

    [Fact] // Candidates 2; §5.2
    public void AMajorityOfVotesMakesALeader()
    {
        TestNode node = new(1, new Membership([1, 2, 3, 4, 5]));
        node.Elect(2);
        Assert.Equal(Role.PreCandidate, node.Group.Role);
        node.Step(new Message { Kind = MessageKind.PreVoteReply, To = 1, From = 3, Term = 2 });
        node.Step(new Message { Kind = MessageKind.VoteReply, To = 1, From = 2, Term = 2 });
        Assert.Equal(Role.Candidate, node.Group.Role);
        node.Step(new Message { Kind = MessageKind.VoteReply, To = 1, From = 2, Term = 2 });
        Assert.Equal(Role.Candidate, node.Group.Role);
        node.Step(new Message { Kind = MessageKind.VoteReply, To = 1, From = 5, Term = 2 });
        Assert.Equal(Role.Leader, node.Group.Role);
    }

    [Fact] // Candidates 3; §5.2
    public void ACandidateFollowsWhoLeadsInItsTerm()
    {
        TestNode node = Candidate();
        node.Append(from: 3, term: 2, [], commit: 1);
        Assert.Equal((Role.Follower, 3), (node.Group.Role, node.Group.Leader));
    }

    [Fact] // Candidates 4; §5.2
    public void ACandidateThatHearsNothingTriesAgain()
    {
        TestNode node = Candidate();
        node.Sent.Clear();
        node.Tick(2 * TestNode.ElectionTimeout);
        Assert.Equal(2, node.Sent.Count(static message => message.Kind == MessageKind.PreVote && message.Term == 3));
    }

    [Fact] // Leaders 1; §5.2
    public void ALeaderSpeaksAtOnceAndThenInIntervals()
    {
        TestNode node = new(1, TestNode.Three);
        node.Elect(2);
        Assert.Equal([2, 3], node.TakeSent().Where(static message => message.Kind == MessageKind.Append).Select(static message => message.To));
        for (int i = 0; i < 3; i++)
        {
            node.Tick(10);
            Assert.Equal([2, 3], node.TakeSent().Where(static message => message.Kind == MessageKind.Heartbeat).Select(static message => message.To));
        }
    }

    [Fact] // Leaders 2; §5.3
    public void ACommandIsAppendedAndAppliedWhenCommitted()
    {
        TestNode node = new(1, TestNode.Three);
        node.Elect(2);
        Proposed proposed = node.Propose("a");
        Assert.Equal(new Proposed(Refusal.None, 2, 3), proposed);
        Assert.Empty(node.Applied);
        node.Acknowledge(2, 3);
        Assert.Equal("a", System.Text.Encoding.UTF8.GetString(node.Applied[^1].Data.Span));
    }

    [Fact] // Leaders 3; §5.3: from the next index on; success moves next and match
    public void AFollowerGetsWhatItLacks()
    {
        TestNode node = new(1, TestNode.Three);
        node.Elect(2);
        node.Acknowledge(2, 2);
        node.Sent.Clear();
        node.Propose("a");
        Message append = node.TakeOne(MessageKind.Append);
        Assert.Equal((2, 2, 2), (append.To, append.Index, append.LogTerm));
        Assert.Equal(3, append.Entries.Span[0].Index);
        node.Acknowledge(2, 3);
        FollowerStatus status = node.Group.Followers.First();
        Assert.Equal((ProgressState.Replicate, 3, 4), (status.State, status.Match, status.Next));
    }

    [Fact] // Leaders 3; §5.3: a refusal moves next back, by whole terms
    public void ARefusalMovesBackByTerms()
    {
        TestNode node = TestNode.WithLog(1, 2, 2, 5, 5, 5);
        node.Elect(2);
        node.Sent.Clear();
        node.Step(new Message { Kind = MessageKind.AppendReply, To = 1, From = 3, Term = 6, Index = 6, Reject = true, HintIndex = 5, HintTerm = 3 });
        Message append = node.TakeOne(MessageKind.Append);
        Assert.Equal((3, 2), (append.Index, append.LogTerm));
        Assert.Equal(4, append.Entries.Length);
    }

    [Fact] // Leaders 4; §5.3, §5.4.2, figure 8: by counting, only what is of the leader's own term
    public void EntriesOfOldTermsAreNotCommittedByCounting()
    {
        TestNode node = TestNode.WithLog(1, 2);
        node.Elect(2);
        node.Acknowledge(2, 2);
        node.Acknowledge(3, 2);
        Assert.Equal(1, node.Group.CommitIndex);
        node.Acknowledge(2, 3);
        Assert.Equal(3, node.Group.CommitIndex);
    }

    [Fact] // §5.3 with the dissertation, §10.2.1: the leader's own disk counts like any other, and is not waited for
    public void ALeaderSendsBeforeItsOwnDiskIsDoneAndCountsItsDiskLikeOthers()
    {
        TestNode node = new(1, TestNode.Three);
        node.Elect(2);
        node.Acknowledge(2, 2);
        node.Acknowledge(3, 2);
        node.HoldsDisk = true;
        node.Sent.Clear();
        node.Propose("a");
        Assert.Equal(2, node.TakeSent().Count(static message => message.Kind == MessageKind.Append));
        node.Acknowledge(2, 3);
        Assert.Equal(2, node.Group.CommitIndex);
        node.Acknowledge(3, 3);
        Assert.Equal(3, node.Group.CommitIndex);
        Assert.Equal(2, node.Applied[^1].Index);
        node.Persist();
        Assert.Equal(3, node.Applied[^1].Index);
    }

    private static TestNode Candidate()
    {
        TestNode node = new(1, TestNode.Three);
        node.Tick(2 * TestNode.ElectionTimeout);
        node.Step(new Message { Kind = MessageKind.PreVoteReply, To = 1, From = 2, Term = 2 });
        Assert.Equal(Role.Candidate, node.Group.Role);
        return node;
    }
}
