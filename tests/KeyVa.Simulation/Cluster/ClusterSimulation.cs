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
    private const int Banks = 3;

    private readonly SimulatedNode[] _nodes;
    private readonly ClusterClient[] _clients;
    private readonly RegisterRecorder _recorder;
    private readonly ClusterBank[] _banks;
    private readonly ClusterSetter? _setter;

    /// <summary>One run. With damages its disks are of the kind that flips bits, whatever the seed draws; a quiet one has no faults and no clients but the caller's.</summary>
    public ClusterSimulation(int seed, RaftDefects raftDefects = RaftDefects.None, DriverDefects defects = DriverDefects.None, string? onlyProperty = null, bool damages = false, bool isQuiet = false)
    {
        RaftDefects = raftDefects;
        Defects = defects;
        Random = new Random(seed);
        Plan = ClusterPlan.Draw(Random) with { FallsSilent = seed % 4 == 3 };
        Plan = ClusterPlan.HasLeases(seed) && !isQuiet ? Plan.Leasing() : Plan;
        LeaseRandom = new Random(~seed);
        Plan = damages ? Plan.Damaging() : isQuiet ? Plan.Quiet() : Plan;
        int partitions = PartitionsOf(seed);
        StoreOptions = partitions == 1 ? Plan.Store : Plan.Store with { SplitAt = [.. ClusterBank.SplitAt.Take(partitions - 1)] };
        Network = new InProcessNetwork { Schedule = Deliver };
        Ids = [.. Enumerable.Range(1, Plan.Voters + Plan.Blank + Plan.Spares).Select(static id => (long)id)];
        Addresses = Ids.ToDictionary(static id => (ulong)id, static id => new PeerAddress("simulated", (int)id));
        FirstMembership = new Membership(Ids.Take(Plan.Voters));
        _nodes = [.. Ids.Select(id => new SimulatedNode(this, id))];
        Checkers = new SortedDictionary<long, ClusterChecker>(Enumerable.Range(1, partitions).ToDictionary(static id => (long)id, id => new ClusterChecker(_nodes, id) { Only = onlyProperty }));
        Nemesis = new ClusterNemesis(this);
        Operator = new ClusterOperator(this);
        _recorder = new RegisterRecorder(Plan.Clients, new HistoryClock(() => Events.Steps));
        _banks = partitions == 1 ? [] : [.. Enumerable.Range(0, Banks).Select(number => new ClusterBank(this, new Random((seed * Banks) + number)))];
        _setter = HasSetter(seed) && !isQuiet ? new ClusterSetter(this, new Random(seed)) : null;
        _clients = [.. RegisterRun.Workloads(seed, Plan.Clients, Plan.Keys).Select((workload, i) => new ClusterClient(this, workload, _recorder[i], i))];
    }

    public Random Random { get; }

    /// <summary>For what concerns leases alone, so that it moves no seed without.</summary>
    public Random LeaseRandom { get; }

    public ClusterPlan Plan { get; }

    public RaftDefects RaftDefects { get; }

    public DriverDefects Defects { get; }

    public EventQueue Events { get; } = new();

    public EventTrace Trace { get; } = new();

    public InProcessNetwork Network { get; }

    /// <summary>By partition.</summary>
    public SortedDictionary<long, ClusterChecker> Checkers { get; }

    public StoreOptions StoreOptions { get; }

    /// <summary>Commits over several partitions that were acknowledged.</summary>
    public int Commits => _banks.Sum(static bank => bank.Committed);

    /// <summary>Changes of partitions' own settings that were acknowledged.</summary>
    public int SettingChanges => _setter?.Changed ?? 0;

    /// <summary>Snapshots of several partitions that were read.</summary>
    public int SnapshotReads => _banks.Sum(static bank => bank.SnapshotReads);

    /// <summary>One seed in four has several partitions.</summary>
    private static int PartitionsOf(int seed) => seed % 4 != 3 ? 1 : seed % 8 == 3 ? 2 : 3;

    /// <summary>In one seed in ten somebody changes the partitions' own settings.</summary>
    private static bool HasSetter(int seed) => seed % 10 == 9;

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

    /// <summary>Reads that came to a leader with a lease.</summary>
    public int LeasedReads { get; set; }

    /// <summary>Messages by which leaders let followers fall silent.</summary>
    public int Silences { get; set; }

    public RegisterHistory History => _recorder.ToHistory();

    public SimulatedNode Node(long id) => _nodes[id - 1];

    /// <summary>Any node; once all is healed, one that belongs to the group: the others can serve nobody.</summary>
    public SimulatedNode AnyNode() => IsHealed && Members() is { Length: > 0 } members ? members[Random.Next(members.Length)] : _nodes[Random.Next(_nodes.Length)];

    /// <summary>Who leads in the newest term that anybody leads in, or another.</summary>
    public SimulatedNode LeaderOr(SimulatedNode other, long partition = 1) =>
        _nodes.Where(node => node.IsUp && node.ReplicaOf(partition).Group.Role == Role.Leader).MaxBy(node => node.ReplicaOf(partition).Group.Term) ?? other;

    public void Run()
    {
        try
        {
            Open();
            foreach (ClusterClient client in _clients)
            {
                client.Begin();
            }

            foreach (ClusterBank bank in _banks)
            {
                bank.Begin();
            }

            _setter?.Begin();
            Nemesis.Begin();
            Operator.Begin();
            Events.RunUntil(Plan.Duration);
            Heal();
            CheckServes();
            CheckAgreement();
            CheckCount();
            CheckPair();
            CheckSettings();
            CheckHistory();
            CheckSilence();
        }
        finally
        {
            Close();
        }
    }

    /// <summary>The nodes begin; <see cref="Close"/> follows, on the same thread.</summary>
    public void Open()
    {
        Epochs.IsAlone = true;
        foreach (SimulatedNode node in _nodes.Take(Plan.Voters + Plan.Blank))
        {
            node.Start();
        }
    }

    public void Close()
    {
        foreach (SimulatedNode node in _nodes)
        {
            node.Close();
        }

        Epochs.IsAlone = false;
    }

    /// <summary>Whether somebody leads, and everybody runs and has everything.</summary>
    public bool IsAtRest => Members() is { Length: > 0 } all && all.All(one => one.IsUp && HasEverything(one, all[0], 1));

    public string Describe() => $"{Plan.Voters} + {Plan.Blank} nodes, {Plan.Store.Engine}, loss {Plan.Loss:F2}, duplication {Plan.Duplication:F2}, slow {Plan.Slow:F2}; {Nemesis.Recent}; " + string.Join("; ", _nodes.Select(node => node.IsUp
        ? $"{node.Id}: " + string.Join(" | ", Checkers.Keys.Select(partition => Describe(node.ReplicaOf(partition))))
        : $"{node.Id}: down"));

    private static string Describe(KeyVa.Cluster.Driver.Replica replica) =>
        $"{replica.Group.Role} of {replica.Group.Leader} in term {replica.Group.Term}, log from {replica.Log.FirstIndex} to {replica.Group.Last}, commit {replica.Group.CommitIndex}, applied {replica.Writer.Engine.AppliedIndex}, members {replica.Group.Membership}, prepared {replica.Writer.Engine.Commits.Prepared?.Id}";

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

        int[] committed = [.. _banks.Select(static bank => bank.Committed)];
        if (!RunUntil(() => !_banks.Where((bank, i) => bank.Committed == committed[i]).Any()))
        {
            Fail($"liveness: nobody got a commit over several partitions through after everything was healed; {string.Join("; ", _banks.Select(static bank => bank.State))}; {Describe()}");
        }

        if (_setter is { IsStopped: false, Changed: var changed })
        {
            if (!RunUntil(() => _setter.IsStopped || _setter.Changed > changed))
            {
                Fail($"liveness: nobody could change a partition's settings after everything was healed; {Describe()}");
            }

            _setter.IsStopped = true;
        }

        foreach (ClusterClient client in _clients)
        {
            client.IsStopped = true;
        }

        foreach (ClusterBank bank in _banks)
        {
            bank.IsStopped = true;
        }
    }

    /// <summary>All members have the same state, once nothing is under way.</summary>
    private void CheckAgreement()
    {
        foreach (long partition in Checkers.Keys)
        {
            CheckAgreement(partition);
        }
    }

    private void CheckAgreement(long partition)
    {
        if (!RunUntil(() => Members(partition) is { Length: > 0 } all && all.All(one => one.IsUp && HasEverything(one, all[0], partition))))
        {
            Fail($"liveness: not everybody has everything of partition {partition} after everything was healed; {Describe()}");
        }

        SimulatedNode[] members = Members(partition);
        (SimulatedNode Node, IReadOnlyList<string> State)? first = null;
        foreach (SimulatedNode node in members)
        {
            if (node.TryDescribe(partition) is not { } state)
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

    /// <summary>
    /// Nobody asks anything any more: the group falls silent, and is missed all the same when its leader's machine is gone: the others have elected another
    /// before long, without being asked for anything.
    /// </summary>
    private void CheckSilence()
    {
        if (!Plan.FallsSilent)
        {
            return;
        }

        if (!RunUntil(() => Members() is { Length: > 0 } all && all.All(static one => one.IsUp && one.Replica.IsSilent)))
        {
            Fail($"silence: nobody asks anything, and the group does not fall silent; {Describe()}");
        }

        SimulatedNode gone = LeaderOr(_nodes[0]);
        if (gone.Replica.Group.Membership.Voters.Length < 3)
        {
            // The others are no majority.
            return;
        }

        gone.Crash(losesPower: false);
        if (!RunUntil(() => LeaderOr(gone).IsLeading))
        {
            Fail($"silence: the leader of a silent group is gone, and nobody takes its place; {Describe()}");
        }

        gone.Start();
        if (!RunUntil(() => Members() is { Length: > 0 } all && all.All(static one => one.IsUp && one.Replica.IsSilent)))
        {
            Fail($"silence: the old leader is back, and the group does not fall silent again; {Describe()}");
        }
    }

    /// <summary>It has applied all that the leader has; and nothing is prepared there, and no decision is kept that anybody may ask for.</summary>
    private static bool HasEverything(SimulatedNode node, SimulatedNode leader, long partition) =>
        node.ReplicaOf(partition).Group.AppliedIndex == leader.ReplicaOf(partition).Group.Last.Index
        && node.ReplicaOf(partition).Writer.Engine.Commits is { Prepared: null, Decisions: var decisions } && decisions.Values.All(static decision => decision.Version == 0);

    /// <summary>Whoever belongs to the groups of all partitions; nobody while one has no leader.</summary>
    private SimulatedNode[] Members()
    {
        IEnumerable<SimulatedNode> all = Members(1);
        foreach (long partition in Checkers.Keys.Skip(1))
        {
            all = all.Intersect(Members(partition));
        }

        return [.. all];
    }

    /// <summary>The leader, and whoever belongs to its group; nobody while nobody leads.</summary>
    private SimulatedNode[] Members(long partition)
    {
        SimulatedNode leader = LeaderOr(_nodes[0], partition);
        if (!leader.IsLeadingOf(partition) || leader.ReplicaOf(partition).Group.Membership is not { IsJoint: false } membership)
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
        int most = least + _clients.Sum(static client => client.Uncertain + (client.MayBeWriting ? 1 : 0));
        foreach (SimulatedNode node in Members())
        {
            if (Count(node) is { } count && (count < least || count > most))
            {
                Fail($"exactly once: {count} writes were done on node {node.Id}, and {least} were acknowledged, {most - least} perhaps done");
            }
        }
    }

    /// <summary>Each commit that counts the pair up was done once, if it was acknowledged; at most once, if nobody knows.</summary>
    private void CheckPair()
    {
        int least = _banks.Sum(static bank => bank.Counted);
        int most = least + _banks.Sum(static bank => bank.Uncertain + (bank.MayBeCounting ? 1 : 0));
        foreach (SimulatedNode node in _banks.Length > 0 ? Members() : [])
        {
            if (ClusterBank.TryPair(node) is { } count && (count < least || count > most))
            {
                Fail($"exactly once: {count} commits over partitions were done on node {node.Id}, and {least} were acknowledged, {most - least} perhaps done");
            }
        }
    }

    private void CheckSettings()
    {
        foreach (long partition in Checkers.Keys)
        {
            foreach (SimulatedNode node in _setter is null ? [] : Members(partition))
            {
                _setter!.Check(node, partition);
            }
        }
    }

    private long? Count(SimulatedNode node)
    {
        long? first = node.TryCount(ClusterClient.Counter);
        return Checkers.Count == 1 ? first : first + node.TryCount(ClusterClient.OtherCounter);
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
