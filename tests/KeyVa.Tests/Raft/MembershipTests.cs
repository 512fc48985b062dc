using KeyVa.Raft;
using Xunit;

namespace KeyVa.Tests.Raft;

/// <summary>Memberships and their changes (§6; dissertation, chapter 4).</summary>
public sealed class MembershipTests
{
    [Fact]
    public void AJointMembershipNeedsBothMajorities()
    {
        Membership joint = new Membership([1, 2, 3]).JointTo(new Membership([3, 4, 5]));
        Assert.True(joint.IsJoint);
        Assert.Equal(5, joint.HighestAgreed(static node => node switch { 1 => 9, 2 => 7, 3 => 5, 4 => 5, _ => 0 }));
        Assert.Null(joint.Tally(static node => node is 1 or 2 or 3 ? true : null));
        Assert.True(joint.Tally(static node => node is 1 or 2 or 4 or 5 ? true : null));
        Assert.False(joint.Tally(static node => node is 4 or 5 ? false : true));
        Assert.Equal(new Membership([3, 4, 5]), joint.Left());
    }

    [Fact]
    public void ALearnerGetsTheLogAndDecidesNothing()
    {
        TestNode node = new(1, new Membership([1, 2, 3], [4]));
        node.Elect(2);
        Assert.Contains(node.TakeSent(), static message => message is { Kind: MessageKind.Append, To: 4 });
        node.Acknowledge(4, 2);
        Assert.Equal(1, node.Group.CommitIndex);
        Assert.Equal(Refusal.NotVoter, node.Group.Transfer(4, node.Now));

        TestNode learner = new(4, new Membership([1, 2, 3], [4]));
        learner.Tick(1000);
        Assert.Equal(Role.Follower, learner.Group.Role);
        Assert.Empty(learner.Sent);
    }

    [Fact] // §6: C_old,new, then C_new, each in force from when it is in the log
    public void AChangeGoesThroughTheJointMembership()
    {
        TestNode node = Leader();
        Proposed proposed = node.Group.Change(new Membership([1, 4, 5]), node.Now);
        node.Settle();
        Assert.Equal(new Proposed(Refusal.None, 2, 3), proposed);
        Assert.Equal("voters 1 4 5, old 1 2 3", node.Group.Membership.ToString());
        node.Acknowledge(2, 3);
        Assert.Equal(2, node.Group.CommitIndex);
        Assert.Equal(Refusal.ChangeInProgress, node.Group.Change(new Membership([1]), node.Now).Refusal);
        node.Acknowledge(4, 3);
        Assert.Equal(3, node.Group.CommitIndex);
        Assert.Equal("voters 1 4 5", node.Group.Membership.ToString());
        node.Acknowledge(5, 4);
        Assert.Equal(4, node.Group.CommitIndex);
    }

    [Fact]
    public void LearnersChangeInOneStep()
    {
        TestNode node = Leader();
        node.Group.Change(new Membership([1, 2, 3], [4]), node.Now);
        node.Settle();
        Assert.Equal("voters 1 2 3, learners 4", node.Group.Membership.ToString());
        Assert.Equal(Refusal.ChangeInProgress, node.Group.Change(new Membership([1, 2, 3, 4]), node.Now).Refusal);
    }

    [Fact]
    public void AChangeWaitsForTheFirstCommitOfTheTerm()
    {
        TestNode node = new(1, TestNode.Three);
        node.Elect(2);
        Assert.Equal(Refusal.ChangeInProgress, node.Group.Change(new Membership([1, 2]), node.Now).Refusal);
        node.Acknowledge(2, 2);
        Assert.Equal(Refusal.NoChange, node.Group.Change(TestNode.Three, node.Now).Refusal);
        Assert.Equal(Refusal.NoChange, node.Group.Change(Membership.Empty, node.Now).Refusal);
        Assert.Equal(Refusal.None, node.Group.Change(new Membership([1, 2]), node.Now).Refusal);
    }

    [Fact] // §6: "servers use the latest configuration in their logs", also when the log is cut
    public void AMembershipThatIsCutFromTheLogIsForgotten()
    {
        TestNode node = TestNode.WithLog(3, 1);
        Entry change = new(1, 3, EntryKind.Membership, MembershipEncoding.Encode(new Membership([3, 4])));
        node.Append(from: 2, term: 1, [change], commit: 1, index: 2);
        Assert.Equal("voters 3 4", node.Group.Membership.ToString());
        Assert.Equal(TestNode.Three, node.Group.MembershipAt(2));
        TestNode again = new(3, node.Disk);
        Assert.Equal("voters 3 4", again.Group.Membership.ToString());
        node.Append(from: 1, term: 2, TestNode.Entries(3, 2), commit: 1, index: 2);
        Assert.Equal(TestNode.Three, node.Group.Membership);
    }

    [Fact] // §6, the third issue: a leader that is not part of C_new leaves when it is committed
    public void ALeaderLeavesWhenItsRemovalIsCommitted()
    {
        TestNode node = Leader();
        node.Group.Change(new Membership([2, 3]), node.Now);
        node.Settle();
        node.Acknowledge(2, 3);
        node.Acknowledge(3, 3);
        Assert.Equal("voters 2 3", node.Group.Membership.ToString());
        Assert.Equal(Role.Leader, node.Group.Role);
        node.Acknowledge(2, 4);
        Assert.Equal(3, node.Group.CommitIndex);
        node.Sent.Clear();
        node.Acknowledge(3, 4);
        Assert.Equal(Role.Follower, node.Group.Role);
        Assert.Contains(node.Sent, static message => message is { Kind: MessageKind.Append, To: 2, Commit: 4 });
        Assert.Single(node.Sent, static message => message.Kind == MessageKind.TimeoutNow);
    }

    [Fact]
    public void MembershipsComeBackFromTheirBytes()
    {
        Membership[] all = [Membership.Empty, new([1, 2, 3], [9]), new Membership([1, 2]).JointTo(new Membership([2, 5], [1]))];
        foreach (Membership one in all)
        {
            byte[] bytes = MembershipEncoding.Encode(one);
            Assert.True(MembershipEncoding.TryDecode(bytes, out Membership back));
            Assert.Equal(one, back);
            Assert.False(MembershipEncoding.TryDecode(bytes.AsSpan(1), out _));
            Assert.False(MembershipEncoding.TryDecode([.. bytes, 0], out _));
        }

        Assert.False(MembershipEncoding.TryDecode([], out _));
        Random random = new(1);
        for (int i = 0; i < 10_000; i++)
        {
            byte[] bytes = MembershipEncoding.Encode(all[random.Next(all.Length)]);
            bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
            if (MembershipEncoding.TryDecode(bytes, out Membership back))
            {
                Assert.Equal(bytes, MembershipEncoding.Encode(back));
            }
        }
    }

    [Fact]
    public void WhatIsNoMembershipCannotBeMade()
    {
        Assert.Throws<ArgumentException>(static () => new Membership([1, 2], [2]));
        Assert.Throws<ArgumentException>(static () => new Membership([1, 1]));
        Assert.Throws<ArgumentException>(static () => new Membership([0]));
    }

    private static TestNode Leader()
    {
        TestNode node = new(1, TestNode.Three);
        node.Elect(2);
        node.Acknowledge(2, 2);
        return node;
    }

    // Seed 642 of the simulation of whole nodes: a leader that appended its own removal was started again, and knew only an old membership to be committed, without it. The others needed its
    // vote, and its log was longer than theirs.
    [Fact] // Dissertation, §4.2.2
    public void WhoMayBeAVoterCampaignsUntilItsRemovalIsCommitted()
    {
        Membership present = new([1, 3]);
        Membership next = new([2, 3, 4]);
        TestNode node = new(1, new Membership([2, 3], [1]));
        node.Append(from: 2, term: 1, [.. new[] { present, present.JointTo(next), next }.Select(static (one, i) => new Entry(1, 2 + i, EntryKind.Membership, MembershipEncoding.Encode(one)))], commit: 1);
        node.Sent.Clear();
        node.Tick(2 * TestNode.ElectionTimeout);
        Assert.Equal((long[])[2, 3, 4], node.Sent.Where(static message => message.Kind == MessageKind.PreVote).Select(static message => message.To));
        node.Append(from: 2, term: 1, [], commit: 4, index: 4);
        node.Sent.Clear();
        node.Tick(2 * TestNode.ElectionTimeout);
        Assert.Empty(node.Sent);
    }
}
