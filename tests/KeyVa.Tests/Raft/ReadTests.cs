using KeyVa.Raft;
using Xunit;

namespace KeyVa.Tests.Raft;

/// <summary>Linearizable reads (§8; dissertation, §6.4): by rounds of heartbeats, and by lease.</summary>
public sealed class ReadTests
{
    private const long ElectionTimeout = TestNode.ElectionTimeout;

    [Fact]
    public void AReadWaitsForARoundThatBeganAfterIt()
    {
        TestNode node = Leader();
        node.Tick(10);
        long before = node.TakeSent()[0].Context;
        node.Read(7);
        node.AnswerHeartbeat(2, before);
        Assert.Empty(node.Reads);
        node.AnswerHeartbeat(2, node.Sent[0].Context);
        Assert.Equal([new ConfirmedRead(7, 2, Refusal.None)], node.Reads);
    }

    [Fact]
    public void AReadWaitsForTheFirstCommitOfTheTerm()
    {
        TestNode node = new(1, TestNode.Three);
        node.Elect(2);
        node.Sent.Clear();
        node.Read(7);
        Assert.DoesNotContain(node.TakeSent(), static message => message.Kind == MessageKind.Heartbeat);
        node.Acknowledge(3, 2);
        node.AnswerHeartbeat(3, node.TakeSent().First(static message => message.Kind == MessageKind.Heartbeat).Context);
        Assert.Equal([new ConfirmedRead(7, 2, Refusal.None)], node.Reads);
    }

    [Fact]
    public void ReadsAreBoundedAndGivenUpWithTheTerm()
    {
        TestNode node = Leader(static options => options with { MaxPendingReads = 2 });
        Assert.Equal(Refusal.None, node.Read(7));
        Assert.Equal(Refusal.None, node.Read(8));
        Assert.Equal(Refusal.TooManyReads, node.Read(9));
        node.Append(from: 3, term: 9, [], commit: 1);
        Assert.Equal([new ConfirmedRead(7, 0, Refusal.Abandoned), new ConfirmedRead(8, 0, Refusal.Abandoned)], node.Reads);
        Assert.Equal(Refusal.NotLeader, new TestNode(1, TestNode.Three).Read(10));
    }

    [Fact] // Off by default
    public void WithoutLeasesEveryReadAsks()
    {
        TestNode node = Leader();
        Renew(node);
        node.Read(7);
        Assert.Empty(node.Reads);
    }

    [Theory] // 99 of a follower's units are 89 at least of a clock that is a tenth slower, and what this one shows may be one less than it is
    [InlineData(87, true)]
    [InlineData(88, false)]
    public void ALeaseIsAsLongAsClocksAllow(long later, bool leased)
    {
        TestNode node = Leader(WithLeases);
        Renew(node);
        node.Now += later;
        Assert.Equal(leased, node.Group.HasLease(node.Now));
        node.Read(7);
        Assert.Equal(leased, node.Reads.Count == 1);
    }

    [Theory] // Followers with leases off, or with a shorter election timeout, may vote for another too early; a longer one does no harm
    [InlineData(0, false)]
    [InlineData(ElectionTimeout - 1, false)]
    [InlineData(ElectionTimeout, true)]
    [InlineData(2 * ElectionTimeout, true)]
    public void ALeaseRestsOnPromises(long promise, bool leased)
    {
        TestNode node = Leader(WithLeases);
        Renew(node, promise);
        node.Read(7);
        Assert.Equal(leased, node.Reads.Count == 1);
    }

    [Fact] // A promise belongs to the round that it came with
    public void ALatePromiseIsNotOneForTheNewestRound()
    {
        TestNode node = Leader(WithLeases);
        node.Tick(10);
        long first = node.TakeSent()[0].Context;
        node.Now += ElectionTimeout - 20;
        node.Tick(10);
        long second = node.TakeSent().First(static message => message.Kind == MessageKind.Heartbeat).Context;
        node.AnswerHeartbeat(2, second, promise: 0);
        node.AnswerHeartbeat(2, first);
        Assert.False(node.Group.HasLease(node.Now));
        node.AnswerHeartbeat(3, second);
        Assert.True(node.Group.HasLease(node.Now));
    }

    [Theory]
    [InlineData(true, ElectionTimeout)]
    [InlineData(false, 0)]
    public void AFollowerPromisesItsElectionTimeout(bool leases, long promise)
    {
        TestNode node = new(1, TestNode.Three, options => options with { LeaseReads = leases });
        node.Step(new Message { Kind = MessageKind.Heartbeat, To = 1, From = 2, Term = 3, Context = 9 });
        node.Persist();
        Assert.Equal(promise, node.Sent.Single(static message => message.Kind == MessageKind.HeartbeatReply).HintIndex);
    }

    [Fact] // The time of the read counts, not that of the last tick
    public void APauseEndsALease()
    {
        TestNode node = Leader(WithLeases);
        Renew(node);
        node.Now += 10 * ElectionTimeout;
        node.Read(7);
        Assert.Empty(node.Reads);
    }

    [Fact] // A lease counts from when the round began, not from when it was answered
    public void ALateAnswerGivesNoLease()
    {
        TestNode node = Leader(WithLeases);
        node.Tick(10);
        long round = node.TakeSent()[0].Context;
        node.Now += ElectionTimeout - 5;
        node.AnswerHeartbeat(2, round);
        node.Read(7);
        Assert.Empty(node.Reads);
    }

    [Fact] // Followers do not resist a campaign that the leader asked for
    public void ATransferEndsLeasesForTheTerm()
    {
        TestNode node = Leader(WithLeases);
        Renew(node);
        node.Group.Transfer(2, node.Now);
        node.Now += ElectionTimeout;
        node.AnswerHeartbeat(2, 0);
        Renew(node);
        node.Read(7);
        Assert.Empty(node.Reads);
    }

    [Fact] // Other majorities decide
    public void AChangeOfTheMembershipEndsALease()
    {
        TestNode node = Leader(WithLeases);
        Renew(node);
        node.Group.Change(new Membership([1, 2, 4]), node.Now);
        node.Settle();
        node.Read(7);
        Assert.Empty(node.Reads);
    }

    private static TestNode Leader(Func<RaftOptions, RaftOptions>? options = null)
    {
        TestNode node = new(1, TestNode.Three, options);
        node.Elect(2);
        node.Acknowledge(2, 2);
        node.Sent.Clear();
        return node;
    }

    private static RaftOptions WithLeases(RaftOptions options) => options with { LeaseReads = true, MaxClockDriftPercent = 11 };

    /// <summary>A round begins now and is answered now.</summary>
    private static void Renew(TestNode node, long promise = ElectionTimeout)
    {
        node.Sent.Clear();
        node.Tick(10);
        node.AnswerHeartbeat(2, node.Sent.First(static message => message.Kind == MessageKind.Heartbeat).Context, promise);
        node.Sent.Clear();
    }
}
