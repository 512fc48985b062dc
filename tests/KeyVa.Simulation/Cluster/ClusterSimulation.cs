using KeyVa.Cluster.Driver;
using KeyVa.Cluster.Transport;
using KeyVa.Histories;
using KeyVa.Raft;
using KeyVa.Simulation.Raft;
using Refusal = KeyVa.Raft.Refusal;

namespace KeyVa.Simulation.Cluster;

/// <summary>
/// A whole cluster on virtual time, network and disks, in one thread, from one seed. Each node is the real one from the partition's queue to
/// the journal's files (<see cref="SimulatedNode"/>). docs/testing.md describes the fault model. At the end everything is healed: then the
/// cluster must serve, the replicas must be equal byte by byte, and what clients were told must be linearizable.
/// </summary>
internal sealed class ClusterSimulation
{
    private const long SettleTime = 40 * ClusterPlan.ElectionTimeout;

    private readonly SimulatedNode[] _nodes;
    private readonly ClusterClient[] _clients;
    private readonly RegisterRecorder _recorder;
    private readonly HashSet<(ulong From, ulong To)> _cut = [];
    private int _cuts;

    public ClusterSimulation(int seed, RaftDefects raftDefects = RaftDefects.None, DriverDefects defects = DriverDefects.None)
    {
        RaftDefects = raftDefects;
        Defects = defects;
        Random = new Random(seed);
        Plan = ClusterPlan.Draw(Random);
        Network = new InProcessNetwork { Schedule = Deliver };
        Ids = [.. Enumerable.Range(1, Plan.Voters + Plan.Blank).Select(static id => (long)id)];
        Addresses = Ids.ToDictionary(static id => (ulong)id, static id => new PeerAddress("simulated", (int)id));
        _nodes = [.. Ids.Select(id => new SimulatedNode(this, id))];
        _recorder = new RegisterRecorder(Plan.Clients, new HistoryClock(() => Events.Steps));
        _clients = [.. RegisterRun.Workloads(seed, Plan.Clients, Plan.Keys).Select((workload, i) => new ClusterClient(this, workload, _recorder[i]))];
    }

    public Random Random { get; }

    public ClusterPlan Plan { get; }

    public RaftDefects RaftDefects { get; }

    public DriverDefects Defects { get; }

    public EventQueue Events { get; } = new();

    public InProcessNetwork Network { get; }

    public ClusterChecker Checker { get; } = new();

    public IReadOnlyList<long> Ids { get; }

    public IReadOnlyDictionary<ulong, PeerAddress> Addresses { get; }

    public bool IsHealed { get; private set; }

    public int Answered => _clients.Sum(static client => client.Answered);

    /// <summary>Changes of the membership that were begun.</summary>
    public int Changes { get; private set; }

    /// <summary>Snapshots that took the place of a node's state.</summary>
    public int Snapshots => _nodes.Sum(static node => node.Installed);

    public int Restarts => _nodes.Sum(static node => node.Starts - 1);

    public RegisterHistory History => _recorder.ToHistory();

    public IReadOnlyList<long> FirstVoters(long node) => node <= Plan.Voters ? [.. Ids.Take(Plan.Voters)] : [];

    /// <summary>Any node; once all is healed, one that belongs to the group: the others can serve nobody.</summary>
    public SimulatedNode AnyNode() => IsHealed && Members() is { Count: > 0 } members ? members[Random.Next(members.Count)] : _nodes[Random.Next(_nodes.Length)];

    public void Run()
    {
        try
        {
            foreach (SimulatedNode node in _nodes)
            {
                node.Start();
            }

            foreach (ClusterClient client in _clients)
            {
                client.Begin();
            }

            PlanFault();
            PlanOperation();
            Events.RunUntil(Plan.Duration);
            Heal();
            CheckServes();
            CheckAgreement();
            CheckHistory();
        }
        finally
        {
            foreach (SimulatedNode node in _nodes)
            {
                node.Close();
            }
        }
    }

    public string Describe() => string.Join("; ", _nodes.Select(static node => node.IsUp
        ? $"{node.Id}: {node.Replica.Group.Role} of {node.Replica.Group.Leader} in term {node.Replica.Group.Term}, log from {node.Replica.Log.FirstIndex} to {node.Replica.Group.Last}, commit {node.Replica.Group.CommitIndex}, applied {node.Store.Partitions.List()[0].AppliedIndex}"
        : $"{node.Id}: down"));

    private static void Fail(string what) => throw new SafetyViolationException(what);

    private bool Happens(double share) => !IsHealed && share > 0 && Random.NextDouble() < share;

    private SimulatedNode LeaderOr(SimulatedNode other) =>
        _nodes.Where(static node => node.IsUp && node.Replica.Group.Role == Role.Leader).MaxBy(static node => node.Replica.Group.Term) ?? other;

    private void Deliver(ulong from, ulong to, Action delivery)
    {
        if (_nodes[from - 1].IsDoomed || _cut.Contains((from, to)) || Happens(Plan.Loss))
        {
            return;
        }

        int copies = Happens(Plan.Duplication) ? 2 : 1;
        for (int i = 0; i < copies; i++)
        {
            int delay = 1 + Random.Next(Happens(Plan.Slow) ? 200 : IsHealed ? 4 : Plan.Delay);
            Events.After(delay, () =>
            {
                if (!_cut.Contains((from, to)))
                {
                    _nodes[to - 1].Run(delivery);
                }
            });
        }
    }

    private void PlanFault() => Events.After(Random.Next(2 * Plan.FaultInterval), () =>
    {
        if (!IsHealed)
        {
            Act();
            PlanFault();
        }
    });

    private void Act()
    {
        SimulatedNode any = AnyNode();
        SimulatedNode leader = LeaderOr(any);
        switch (Random.Next(12))
        {
            case 0 or 1:
                Restart(any, 5 + Random.Next(400));
                break;
            case 2:
                Restart(leader, 5 + Random.Next(400));
                break;
            case 3:
                foreach (SimulatedNode node in _nodes)
                {
                    Restart(node, 1 + Random.Next(60));
                }

                break;
            case 4 or 5:
                if (any.IsUp)
                {
                    any.Doom(1 + Random.Next(40));
                }

                break;
            case 6:
                Pause(Random.Next(2) == 0 ? any : leader);
                break;
            case 7:
                Split([.. Ids.Where(_ => Random.Next(2) == 0)]);
                break;
            case 8:
                Split([leader.Id]);
                break;
            case 9:
                _cut.Add(((ulong)leader.Id, (ulong)any.Id));
                PlanHealing();
                break;
            case 10:
                any.Time.Skew = Random.Next(3) == 0 ? 0 : Random.Next(-100_000, 100_000);
                break;
            default:
                _cuts++;
                _cut.Clear();
                break;
        }
    }

    /// <summary>What operators ask for, faults or not.</summary>
    private void PlanOperation() => Events.After(Random.Next(800), () =>
    {
        if (IsHealed)
        {
            return;
        }

        SimulatedNode any = AnyNode();
        SimulatedNode leader = LeaderOr(any);
        if (leader.IsUp)
        {
            int what = Random.Next(3);
            Membership next = NextMembership();
            leader.Run(() => leader.Driver!.Post(1, (replica, now) =>
            {
                if (what == 0)
                {
                    replica.Group.Transfer(any.Id, now);
                }
                else
                {
                    Changes += replica.Group.Change(next, now).Refusal == Refusal.None ? 1 : 0;
                }
            }));
        }

        PlanOperation();
    });

    private Membership NextMembership()
    {
        long[] shuffled = [.. Ids];
        Random.Shuffle(shuffled);
        int voters = Math.Min(shuffled.Length, 2 + Random.Next(shuffled.Length - 1));
        int learners = Math.Min(shuffled.Length - voters, Random.Next(2));
        return new Membership(shuffled[..voters], shuffled[voters..(voters + learners)]);
    }

    private void Restart(SimulatedNode node, int downFor)
    {
        node.Crash(losesPower: Random.Next(3) != 0);
        Events.After(downFor, node.Start);
    }

    private void Pause(SimulatedNode node)
    {
        node.Pause();
        Events.After(10 + Random.Next(1500), node.Resume);
    }

    private void Split(long[] side)
    {
        foreach (long one in side)
        {
            foreach (long other in Ids.Except(side))
            {
                _cut.Add(((ulong)one, (ulong)other));
                _cut.Add(((ulong)other, (ulong)one));
            }
        }

        PlanHealing();
    }

    private void PlanHealing()
    {
        int cuts = ++_cuts;
        Events.After(50 + Random.Next(2000), () =>
        {
            if (cuts == _cuts)
            {
                _cut.Clear();
            }
        });
    }

    private void Heal()
    {
        IsHealed = true;
        _cut.Clear();
        foreach (SimulatedNode node in _nodes)
        {
            node.Files.Faults.Before = null;
            node.Resume();
            node.Start();
        }
    }

    private bool RunUntil(Func<bool> condition)
    {
        const long step = ClusterPlan.ElectionTimeout / 2;
        for (long end = Events.Now + SettleTime; Events.Now < end;)
        {
            Events.RunUntil(Events.Now + step);
            if (condition())
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Every client gets answers to writes.</summary>
    private void CheckServes()
    {
        int[] before = [.. _clients.Select(static client => client.AnsweredWrites)];
        if (!RunUntil(() => !_clients.Where((client, i) => client.AnsweredWrites == before[i]).Any()))
        {
            Fail($"liveness: a client got no write through after everything was healed; {Describe()}");
        }

        foreach (ClusterClient client in _clients)
        {
            client.IsStopped = true;
        }
    }

    /// <summary>All members have the same state, once nothing is under way.</summary>
    private void CheckAgreement()
    {
        if (!RunUntil(() => Members() is { Count: > 0 } all && all.All(one => one.IsUp && one.Replica.Group.AppliedIndex == all[0].Replica.Group.Last.Index)))
        {
            Fail($"liveness: not everybody has everything after everything was healed; {Describe()}");
        }

        IReadOnlyList<SimulatedNode> members = Members();
        string state = members[0].Describe();
        foreach (SimulatedNode node in members)
        {
            if (node.Describe() is { } other && other != state)
            {
                Fail($"agreement: node {node.Id} holds {other}, node {members[0].Id} {state}, though both applied everything");
            }
        }
    }

    /// <summary>The leader, and whoever belongs to its group; nobody while nobody leads.</summary>
    private IReadOnlyList<SimulatedNode> Members()
    {
        SimulatedNode leader = LeaderOr(_nodes[0]);
        return leader.Replica.Group is { Role: Role.Leader } group && !group.Membership.IsJoint
            ? [leader, .. group.Membership.All().Where(id => id != leader.Id).Select(id => _nodes[id - 1])]
            : [];
    }

    private void CheckHistory()
    {
        LinearizabilityResult result = LinearizabilityChecker.Check(History);
        if (result.Verdict != Verdict.Holds)
        {
            Fail($"linearizability: {result.Verdict}: {result.Explanation}");
        }
    }
}
