using KeyVa.Raft;
using Refusal = KeyVa.Raft.Refusal;

namespace KeyVa.Simulation.Cluster;

/// <summary>
/// Who looks after a cluster: hands leadership over and changes the members, faults or not; starts again what stopped, and puts another node, under a number of its own, in the
/// place of one whose data is damaged or gone (docs/replication.md, What a node keeps).
/// </summary>
internal sealed class ClusterOperator(ClusterSimulation world)
{
    private const int CareInterval = 200;

    private readonly Random _random = world.Random;

    // Those whose data cannot be relied on; no new membership has them.
    private readonly HashSet<SimulatedNode> _unreliable = [];

    /// <summary>Changes of the membership that were begun.</summary>
    public int Changes { get; private set; }

    /// <summary>Nodes that took the place of others.</summary>
    public int Replacements { get; private set; }

    public bool IsUnreliable(SimulatedNode node) => _unreliable.Contains(node);

    public void Begin()
    {
        PlanWhim();
        Care();
    }

    /// <summary>Whether the group can go on without a node's data, whatever any node takes for the membership, and a node is there to take its place.</summary>
    public bool MayLose(SimulatedNode node) =>
        !_unreliable.Contains(node) && world.Spares.Any(static spare => spare.Starts == 0) && world.Nodes.All(one => one.Memberships.All(membership =>
            HasMajority(membership.Voters, node) && HasMajority(membership.OldVoters, node)));

    public void Damaged(SimulatedNode node)
    {
        _unreliable.Add(node);
        AddAnother();
    }

    public void Lost(SimulatedNode node)
    {
        node.Lose();
        _unreliable.Add(node);
        AddAnother();
    }

    private bool HasMajority(ReadOnlySpan<long> voters, SimulatedNode without)
    {
        int left = 0;
        foreach (long voter in voters)
        {
            SimulatedNode node = world.Node(voter);
            left += node != without && !_unreliable.Contains(node) ? 1 : 0;
        }

        return voters.IsEmpty || left > voters.Length / 2;
    }

    private void AddAnother()
    {
        if (world.Spares.FirstOrDefault(static spare => spare.Starts == 0) is { } spare)
        {
            Replacements++;
            spare.Start();
        }
    }

    /// <summary>What operators ask for at any time.</summary>
    private void PlanWhim() => world.Events.After(_random.Next(800), () =>
    {
        if (world.IsHealed)
        {
            return;
        }

        SimulatedNode any = world.AnyNode();
        int what = _random.Next(3);
        if (world.Checkers.Count > 1)
        {
            BeginWhim(any, what == 0);
        }
        else
        {
            Ask(world.LeaderOr(any), 1, (replica, now) =>
            {
                if (what == 0)
                {
                    replica.Group.Transfer(any.Id, now);
                }
                else
                {
                    Change(replica, AnyMembership(), now);
                }
            });
        }

        PlanWhim();
    });

    /// <summary>With several partitions leadership of one is handed over, and nodes come to all of them or leave all, though not at the same moment.</summary>
    private void BeginWhim(SimulatedNode any, bool transfers)
    {
        if (transfers)
        {
            long partition = 1 + _random.Next(world.Checkers.Count);
            Ask(world.LeaderOr(any, partition), partition, (replica, now) => replica.Group.Transfer(any.Id, now));
            return;
        }

        Membership next = AnyMembership();
        foreach (long partition in world.Checkers.Keys)
        {
            Ask(world.LeaderOr(any, partition), partition, (replica, now) => Change(replica, next, now));
        }
    }

    /// <summary>In the end nobody is in one partition and not in another: who is not could not write over both.</summary>
    private void Align()
    {
        SimulatedNode first = world.LeaderOr(world.Nodes[0]);
        if (!first.IsLeading || first.Replica.Group.Membership is not { IsJoint: false } membership)
        {
            return;
        }

        foreach (long partition in world.Checkers.Keys.Skip(1))
        {
            SimulatedNode leader = world.LeaderOr(world.Nodes[0], partition);
            if (leader.IsLeadingOf(partition) && !leader.ReplicaOf(partition).Group.Membership.Equals(membership))
            {
                Ask(leader, partition, (replica, now) => Change(replica, membership, now));
            }
        }
    }

    /// <summary>What has stopped is started again; what is damaged or gone is replaced.</summary>
    private void Care() => world.Events.After(CareInterval, () =>
    {
        foreach (SimulatedNode node in world.Nodes.Where(static node => node.Failure is not null))
        {
            if (node.Disk.Damage is not null)
            {
                node.Lose();
            }
            else
            {
                node.Crash(losesPower: _random.Next(2) == 0);
                node.Start();
            }
        }

        foreach (long partition in world.Checkers.Keys)
        {
            SimulatedNode leader = world.LeaderOr(world.Nodes[0], partition);
            if (leader.IsLeadingOf(partition) && leader.ReplicaOf(partition).Group.Membership.All().Any(id => _unreliable.Contains(world.Node(id))))
            {
                Ask(leader, partition, (replica, now) => Change(replica, Repaired(replica.Group.Membership), now));
            }
        }

        if (world.IsHealed)
        {
            Align();
        }

        Care();
    });

    private static void Ask(SimulatedNode leader, long partition, Action<KeyVa.Cluster.Driver.Replica, long> action)
    {
        if (leader.IsUp)
        {
            leader.Run(() => leader.Driver!.Post(partition, action));
        }
    }

    private void Change(KeyVa.Cluster.Driver.Replica replica, Membership next, long now) =>
        Changes += next.Voters.Length > 0 && replica.Group.Change(next, now).Refusal == Refusal.None ? 1 : 0;

    private SimulatedNode[] Reliable() => [.. world.Nodes.Where(node => node.Starts > 0 && !_unreliable.Contains(node))];

    /// <summary>The same with others in the place of those that cannot be relied on.</summary>
    private Membership Repaired(Membership present)
    {
        long[] reliable = [.. Reliable().Select(static node => node.Id)];
        long[] kept = [.. present.Voters.ToArray().Intersect(reliable)];
        long[] added = [.. reliable.Except(kept).Take(present.Voters.Length - kept.Length)];
        return new Membership([.. kept, .. added], present.Learners.ToArray().Intersect(reliable).Except(added));
    }

    private Membership AnyMembership()
    {
        long[] shuffled = [.. Reliable().Select(static node => node.Id)];
        _random.Shuffle(shuffled);
        int voters = Math.Min(shuffled.Length, 2 + _random.Next(Math.Max(1, shuffled.Length - 1)));
        int learners = Math.Min(shuffled.Length - voters, _random.Next(2));
        return new Membership(shuffled[..voters], shuffled[voters..(voters + learners)]);
    }
}
