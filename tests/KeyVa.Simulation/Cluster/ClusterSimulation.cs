using KeyVa.Cluster.Driver;
using KeyVa.Cluster.Transport;
using KeyVa.Engines;
using KeyVa.Histories;
using KeyVa.Raft;
using KeyVa.Simulation.Raft;

namespace KeyVa.Simulation.Cluster;

/// <summary>
/// A whole cluster on virtual time, network and disks, in one thread, from one seed. Each node is the real one from the partition's queue to
/// the journal's files (<see cref="SimulatedNode"/>). docs/testing.md describes the fault model. At the end everything is healed: then the
/// cluster must serve, the replicas must be equal byte by byte, and what clients were told must be linearizable.
/// </summary>
internal sealed class ClusterSimulation
{
    private const long SettleTime = 40 * ClusterPlan.ElectionTimeout;

    private const int MostShown = 60;

    private readonly SimulatedNode[] _nodes;
    private readonly ClusterClient[] _clients;
    private readonly RegisterRecorder _recorder;

    public ClusterSimulation(int seed, RaftDefects raftDefects = RaftDefects.None, DriverDefects defects = DriverDefects.None, string? onlyProperty = null)
    {
        RaftDefects = raftDefects;
        Defects = defects;
        Random = new Random(seed);
        Plan = ClusterPlan.Draw(Random);
        Network = new InProcessNetwork { Schedule = Deliver };
        Ids = [.. Enumerable.Range(1, Plan.Voters + Plan.Blank + Plan.Spares).Select(static id => (long)id)];
        Addresses = Ids.ToDictionary(static id => (ulong)id, static id => new PeerAddress("simulated", (int)id));
        FirstMembership = new Membership(Ids.Take(Plan.Voters));
        _nodes = [.. Ids.Select(id => new SimulatedNode(this, id))];
        Checker = new ClusterChecker(_nodes) { Only = onlyProperty };
        Nemesis = new ClusterNemesis(this);
        Operator = new ClusterOperator(this);
        _recorder = new RegisterRecorder(Plan.Clients, new HistoryClock(() => Events.Steps));
        _clients = [.. RegisterRun.Workloads(seed, Plan.Clients, Plan.Keys).Select((workload, i) => new ClusterClient(this, workload, _recorder[i], i))];
    }

    public Random Random { get; }

    public ClusterPlan Plan { get; }

    public RaftDefects RaftDefects { get; }

    public DriverDefects Defects { get; }

    public EventQueue Events { get; } = new();

    public EventTrace Trace { get; } = new();

    public InProcessNetwork Network { get; }

    public ClusterChecker Checker { get; }

    public ClusterNemesis Nemesis { get; }

    public ClusterOperator Operator { get; }

    public IReadOnlyList<long> Ids { get; }

    public IReadOnlyList<SimulatedNode> Nodes => _nodes;

    /// <summary>Nodes that are there to take the place of others.</summary>
    public IEnumerable<SimulatedNode> Spares => _nodes.Skip(Plan.Voters + Plan.Blank);

    public IReadOnlyDictionary<ulong, PeerAddress> Addresses { get; }

    public Membership FirstMembership { get; }

    public bool IsHealed { get; private set; }

    public int Answered => _clients.Sum(static client => client.Answered);

    /// <summary>Snapshots that took the place of a node's state.</summary>
    public int Snapshots => _nodes.Sum(static node => node.Installed);

    public int Restarts => _nodes.Sum(static node => Math.Max(0, node.Starts - 1));

    /// <summary>Replicas that stopped by themselves, and stores that could not be opened.</summary>
    public int Stopped { get; set; }

    public int Unopened { get; set; }

    /// <summary>Records for which a disk had no room.</summary>
    public int FullRecords { get; set; }

    public RegisterHistory History => _recorder.ToHistory();

    public SimulatedNode Node(long id) => _nodes[id - 1];

    /// <summary>Any node; once all is healed, one that belongs to the group: the others can serve nobody.</summary>
    public SimulatedNode AnyNode() => IsHealed && Members() is { Length: > 0 } members ? members[Random.Next(members.Length)] : _nodes[Random.Next(_nodes.Length)];

    /// <summary>Who leads in the newest term that anybody leads in, or another.</summary>
    public SimulatedNode LeaderOr(SimulatedNode other) =>
        _nodes.Where(static node => node.IsUp && node.Replica.Group.Role == Role.Leader).MaxBy(static node => node.Replica.Group.Term) ?? other;

    public void Run()
    {
        Epochs.IsAlone = true;
        try
        {
            foreach (SimulatedNode node in _nodes.Take(Plan.Voters + Plan.Blank))
            {
                node.Start();
            }

            foreach (ClusterClient client in _clients)
            {
                client.Begin();
            }

            Nemesis.Begin();
            Operator.Begin();
            Events.RunUntil(Plan.Duration);
            Heal();
            CheckServes();
            CheckAgreement();
            CheckCount();
            CheckHistory();
        }
        finally
        {
            foreach (SimulatedNode node in _nodes)
            {
                node.Close();
            }

            Epochs.IsAlone = false;
        }
    }

    public string Describe() => $"{Plan.Voters} + {Plan.Blank} nodes, {Plan.Store.Engine}, loss {Plan.Loss:F2}, duplication {Plan.Duplication:F2}, slow {Plan.Slow:F2}; {Nemesis.Recent}; " + string.Join("; ", _nodes.Select(static node => node.IsUp
        ? $"{node.Id}: {node.Replica.Group.Role} of {node.Replica.Group.Leader} in term {node.Replica.Group.Term}, log from {node.Replica.Log.FirstIndex} to {node.Replica.Group.Last}, commit {node.Replica.Group.CommitIndex}, applied {node.Store.Partitions.List()[0].AppliedIndex}"
        : $"{node.Id}: down"));

    private static void Fail(string what) => throw new SafetyViolationException(what);

    private bool Happens(double share) => !IsHealed && share > 0 && Random.NextDouble() < share;

    private void Deliver(ulong from, ulong to, Action delivery, Action? lost)
    {
        SimulatedNode sender = _nodes[from - 1];
        if (sender.IsDoomed)
        {
            return;
        }

        if (lost is not null)
        {
            Events.After(ClusterPlan.StreamTimeout, () => sender.Run(lost));
        }

        if (Nemesis.IsCut((long)from, (long)to) || Happens(Plan.Loss))
        {
            return;
        }

        int copies = lost is null && Happens(Plan.Duplication) ? 2 : 1;
        for (int i = 0; i < copies; i++)
        {
            int delay = 1 + Random.Next(Happens(Plan.Slow) ? 200 : IsHealed ? 4 : Plan.Delay);
            Events.After(delay, () =>
            {
                if (!Nemesis.IsCut((long)from, (long)to))
                {
                    _nodes[to - 1].Run(delivery);
                }
            });
        }
    }

    private void Heal()
    {
        IsHealed = true;
        Nemesis.EndAll();
        foreach (SimulatedNode node in _nodes.Where(static node => node.Starts > 0))
        {
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
        if (!RunUntil(() => Members() is { Length: > 0 } all && all.All(one => one.IsUp && one.Replica.Group.AppliedIndex == all[0].Replica.Group.Last.Index)))
        {
            Fail($"liveness: not everybody has everything after everything was healed; {Describe()}");
        }

        SimulatedNode[] members = Members();
        (SimulatedNode Node, IReadOnlyList<string> State)? first = null;
        foreach (SimulatedNode node in members)
        {
            if (node.TryDescribe() is not { } state)
            {
                continue;
            }

            first ??= (node, state);
            if (!state.SequenceEqual(first.Value.State))
            {
                string some = state.Concat(first.Value.State).First(line => !state.Contains(line) || !first.Value.State.Contains(line));
                Fail($"agreement: nodes {node.Id} and {first.Value.Node.Id} hold different records, though both applied everything; {some[..Math.Min(some.Length, MostShown)]} is on one of them alone");
            }
        }
    }

    /// <summary>The leader, and whoever belongs to its group; nobody while nobody leads.</summary>
    private SimulatedNode[] Members()
    {
        SimulatedNode leader = LeaderOr(_nodes[0]);
        if (!leader.IsLeading || leader.Replica.Group.Membership is not { IsJoint: false } membership)
        {
            return [];
        }

        SimulatedNode[] members = [leader, .. membership.All().Where(id => id != leader.Id).Select(Node)];
        return members.Any(static node => node.IsLost || node.Failure is not null) ? [] : members;
    }

    /// <summary>Each plain write was done once, if it was acknowledged; at most once, if nobody knows.</summary>
    private void CheckCount()
    {
        int least = _clients.Sum(static client => client.Counted);
        int most = least + _clients.Sum(static client => client.Uncertain);
        foreach (SimulatedNode node in Members())
        {
            if (node.TryCount(ClusterClient.Counter) is { } count && (count < least || count > most))
            {
                Fail($"exactly once: {count} writes were done on node {node.Id}, and {least} were acknowledged, {most - least} perhaps done");
            }
        }
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
