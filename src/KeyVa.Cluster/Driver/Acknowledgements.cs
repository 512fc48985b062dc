using KeyVa.Cluster.Wire;
using KeyVa.Raft;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// One replica's part in telling callers how many nodes have a write on disk, beside and before its being committed (docs/decisions/acknowledgement.md): as the
/// leader for everybody's writes, on every node for its own callers. Owned by its replica.
/// </summary>
internal sealed class Acknowledgements(ClusterDriver driver, DriverOptions options, long partition)
{
    private readonly EarlyReplies _early = new();
    private readonly ReplicaCounts _counts = new();

    /// <summary>No more proposals that want to be told of, for now.</summary>
    public bool IsFull => _early.IsFull;

    /// <summary>When something is to be done here of its own accord.</summary>
    public long NextDeadline(long soon) => Math.Min(_early.NextDeadline, _counts.IsEmpty ? long.MaxValue : Math.Max(_counts.AskAt, soon));

    /// <summary>This node leads and has proposed an entry that a node wants to be told of; <paramref name="early"/> as in <see cref="Acknowledgement.Early"/>.</summary>
    public void Proposed(long term, long index, long version, long node, long group, byte early, long now)
    {
        // A little earlier than the node that waits gives up: it tells its callers then how far the write came.
        _early.Add(term, index, version, node, group, (byte)(early - 1), now + (options.RequestTimeout * 9 / 10));
    }

    /// <summary>False: too many wait already.</summary>
    public bool TryCount(ICountWaiter waiter, long term, long index, byte others, long deadline) => _counts.TryAdd(waiter, term, index, others, deadline);

    /// <summary>A peer wants to know how far the voters are; whoever leads tells.</summary>
    public void Asked(long from, RaftGroup group)
    {
        if (group.Role == Role.Leader)
        {
            _counts.Matches.TakeFrom(group);
            driver.TellMatches(from, partition, _counts.Matches);
        }
    }

    /// <summary>The leader has told how far the voters are.</summary>
    public void Told(in FrameItem item) => _counts.Matches.Take(item.Term, item.Index, item.Matches.Span);

    /// <summary>Tells everybody what can be told now; <paramref name="told"/> hears of this node's own groups.</summary>
    public void Advance(RaftGroup group, Action<long, EarlyReply> told, long now)
    {
        foreach ((long node, EarlyReply reply) in _early.Take(group, now))
        {
            if (node == options.Node)
            {
                told(node, reply);
            }
            else
            {
                driver.Tell(node, partition, reply);
            }
        }

        if (_counts.IsEmpty)
        {
            return;
        }

        if (group.Role == Role.Leader)
        {
            _counts.Matches.TakeFrom(group);
        }
        else if (now >= _counts.AskAt && group.Leader != NodeId.None)
        {
            driver.Ask(group.Leader, partition, group.Term);
            _counts.AskAt = now + (options.HeartbeatInterval / 4);
        }

        _counts.Advance(group, now);
    }

    /// <summary>Nothing more will be heard: those who count are told what is known.</summary>
    public void End(RaftGroup group) => _counts.EndAll(group);
}
