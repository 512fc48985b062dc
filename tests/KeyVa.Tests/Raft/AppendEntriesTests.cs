using KeyVa.Raft;
using Xunit;

namespace KeyVa.Tests.Raft;

/// <summary>The receiver's rules of AppendEntries, one test each: figure 2 of the extended Raft paper, with §5.3.</summary>
public sealed class AppendEntriesTests
{
    [Fact] // Figure 2, AppendEntries 1; §5.1
    public void AnOlderTermIsRefusedAndToldTheNewOne()
    {
        TestNode node = TestNode.WithLog(1, 4);
        node.Append(from: 3, term: 3, TestNode.Entries(3, 3), commit: 3, index: 2, logTerm: 4);
        Message reply = node.TakeOne(MessageKind.AppendReply);
        Assert.True(reply.Reject);
        Assert.Equal(4, reply.Term);
        Assert.Equal("4", node.Terms);
    }

    [Theory] // Figure 2, AppendEntries 2; §5.3
    [InlineData(5, 3)]
    [InlineData(3, 2)]
    public void AnAppendBehindWhatIsNotThereIsRefused(long index, long logTerm)
    {
        TestNode node = TestNode.WithLog(1, 1, 1, 3);
        node.Append(from: 2, term: 3, TestNode.Entries(index + 1, 3), commit: 1, index, logTerm);
        Message reply = node.TakeOne(MessageKind.AppendReply);
        Assert.True(reply.Reject);
        Assert.Equal(index, reply.Index);
        Assert.Equal("1 1 3", node.Terms);
    }

    [Fact] // Figure 2, AppendEntries 3; §5.3
    public void AnEntryThatDiffersGoesWithAllBehindIt()
    {
        TestNode node = TestNode.WithLog(1, 1, 2, 2, 2);
        node.Append(from: 3, term: 3, TestNode.Entries(3, 3), commit: 1, index: 2, logTerm: 1);
        Assert.Equal("1 3", node.Terms);
        Assert.Equal(3, node.TakeOne(MessageKind.AppendReply).Index);
        Assert.Equal(3, node.Disk.LastIndex);
    }

    [Fact] // Figure 2, AppendEntries 4: only what is not there already
    public void AnOldAppendLeavesWhatStandsBehindIt()
    {
        TestNode node = TestNode.WithLog(1, 1, 1, 1, 1);
        node.Append(from: 2, term: 1, TestNode.Entries(2, 1), commit: 1);
        Assert.Equal("1 1 1 1", node.Terms);
        Assert.Equal(2, node.TakeOne(MessageKind.AppendReply).Index);
    }

    [Theory] // Figure 2, AppendEntries 5
    [InlineData(9, 3)]
    [InlineData(2, 2)]
    public void TheCommitIndexGoesNoFurtherThanWhatWasCompared(long leaderCommit, long expected)
    {
        // Entries 4 and 5 are of an older leader's, who is not heard any more; the new one has sent up to 3.
        TestNode node = TestNode.WithLog(1, 1, 1, 1, 1);
        node.Append(from: 3, term: 2, TestNode.Entries(2, 1, 1), leaderCommit);
        Assert.Equal(expected, node.Group.CommitIndex);
        Assert.Equal(expected - 1, node.Applied.Count);
    }

    [Fact] // Figure 2, "updated on stable storage before responding to RPCs"
    public void EntriesAreAcknowledgedWhenTheyAreDurable()
    {
        TestNode node = new(1, TestNode.Three) { HoldsDisk = true };
        node.Append(from: 2, term: 1, TestNode.Entries(2, 1), commit: 1);
        Assert.Empty(node.Sent);
        node.Persist();
        Assert.Equal(2, node.TakeOne(MessageKind.AppendReply).Index);
    }

    [Fact] // The same, where a message repeats what is still on its way to the disk
    public void ARepeatedAppendIsNotAcknowledgedEarlier()
    {
        TestNode node = new(1, TestNode.Three) { HoldsDisk = true };
        node.Append(from: 2, term: 1, TestNode.Entries(2, 1), commit: 1);
        node.Append(from: 2, term: 1, TestNode.Entries(2, 1), commit: 2);
        Assert.Empty(node.Sent);
        Assert.Empty(node.Applied);
        node.Persist();
        Assert.Equal(2, node.Sent.Count);
        Assert.Single(node.Applied);
    }

    [Fact] // An overwritten entry that comes back (§5.3) is durable with its last write, not with its first
    public void WorkUnderWayDoesNotSpeakForEntriesThatWereCut()
    {
        TestNode node = new(1, TestNode.Three) { HoldsDisk = true };
        node.Append(from: 2, term: 2, TestNode.Entries(2, 2), commit: 1);
        long first = node.LastWork;
        node.Append(from: 3, term: 3, TestNode.Entries(2, 3), commit: 1);
        node.Append(from: 2, term: 4, TestNode.Entries(2, 2), commit: 2);
        node.Disk.Sync(first);
        node.Group.Persisted(first);
        node.Settle();
        Assert.Empty(node.Applied);
        Assert.DoesNotContain(node.Sent, static message => message.Term == 4);
        node.Persist();
        Assert.Single(node.Applied);
    }

    [Fact] // §5.3, the end: one refusal passes over a whole term
    public void ARefusalNamesTheLastEntryThatMayBeRight()
    {
        TestNode node = TestNode.WithLog(1, 1, 1, 4, 4, 4);
        node.Append(from: 3, term: 5, TestNode.Entries(7, 5), commit: 1, index: 6, logTerm: 3);
        Message reply = node.TakeOne(MessageKind.AppendReply);
        Assert.True(reply.Reject);
        Assert.Equal((3, 1), (reply.HintIndex, reply.HintTerm));
    }

    [Fact] // §5.4.3: what is committed never differs; a stale message says nothing new
    public void AnAppendFromBeforeTheCommitIndexIsAcknowledgedThere()
    {
        TestNode node = TestNode.WithLog(1, 1, 1, 1);
        node.Append(from: 2, term: 1, [], commit: 4, index: 4, logTerm: 1);
        node.Sent.Clear();
        node.Append(from: 2, term: 1, TestNode.Entries(2, 1), commit: 2);
        Assert.Equal(4, node.TakeOne(MessageKind.AppendReply).Index);
        Assert.Equal("1 1 1", node.Terms);
    }

    [Fact]
    public void EntriesThatDoNotFollowEachOtherAreDropped()
    {
        TestNode node = new(1, TestNode.Three);
        node.Append(from: 2, term: 1, TestNode.Entries(3, 1), commit: 1);
        Assert.Empty(node.Sent);
        Assert.Equal(1, node.Group.Last.Index);
    }
}
