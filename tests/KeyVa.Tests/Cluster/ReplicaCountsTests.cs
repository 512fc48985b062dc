using KeyVa.Cluster.Driver;
using KeyVa.Raft;
using KeyVa.Tests.Raft;
using Xunit;

namespace KeyVa.Tests.Cluster;

public sealed class ReplicaCountsTests
{
    [Fact] // The raft paper's figure 8: many have an entry of a former term that is not committed, and another takes its place
    public void WhatALeaderOfAFormerTermHasToldIsNotOfThisEntry()
    {
        TestNode node = new(1, new Membership([1, 2, 3, 4, 5]));
        var counts = new ReplicaCounts();
        var waiter = new Waiter();
        counts.Matches.Take(3, 2, [2, 2, 2, 0]);
        node.Append(from: 2, term: 4, TestNode.Entries(2, 4), commit: 2);
        Assert.True(counts.TryAdd(waiter, term: 4, index: 2, others: 3, deadline: 100));
        counts.Advance(node.Group, now: 0);
        Assert.Null(waiter.Told);
        counts.Matches.Take(4, 2, [2, 2, 2, 0]);
        counts.Advance(node.Group, now: 0);
        Assert.Equal((byte)3, waiter.Told);
    }

    private sealed class Waiter : ICountWaiter
    {
        public byte? Told { get; private set; }

        public void Complete(byte others) => Told = others;
    }
}
