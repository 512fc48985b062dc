using KeyVa.Histories;
using KeyVa.Raft;

namespace KeyVa.Simulation.Raft;

/// <summary>
/// A whole group on virtual time, network and disks, in one thread, from one seed: the same seed is the same run, to the event. The
/// core is the real one; around it stand <see cref="RaftNode"/>, <see cref="RaftNetwork"/> and <see cref="RaftDisk"/>. <see cref="SafetyChecker"/> looks at
/// every step. At the end everything is healed, and then the group must serve, its nodes must agree, and what its clients were
/// told must be linearizable.
/// </summary>
internal sealed class RaftSimulation
{
    /// <summary>What everything may take after healing, at most: to elect somebody, and to bring everybody up.</summary>
    private const long SettleTime = 20 * RaftPlan.ElectionTimeout;

    private readonly RaftNode[] _nodes;
    private readonly SessionClient[] _clients;
    private readonly RegisterRecorder _recorder;
    private long _context;

    public RaftSimulation(int seed, RaftDefects defects = RaftDefects.None)
    {
        Random = new Random(seed);
        Plan = RaftPlan.Draw(Random, defects);
        Checker = new SafetyChecker(() => _nodes!);
        Network = new RaftNetwork(Events, Random, Plan, Node);
        Nemesis = new Nemesis(this);
        Membership members = new(Enumerable.Range(1, Plan.Voters).Select(static id => (long)id));
        Ids = [.. Enumerable.Range(1, Plan.Voters + Plan.Blank).Select(static id => (long)id)];
        _nodes = [.. Ids.Select(id => new RaftNode(this, id, id <= Plan.Voters ? SnapshotMetadata.Initial(members) : SnapshotMetadata.None))];
        _recorder = new RegisterRecorder(Plan.Clients, new HistoryClock(() => Events.Steps));
        _clients = [.. RegisterRun.Workloads(seed, Plan.Clients, Plan.Keys).Select((workload, i) => new SessionClient(this, workload, _recorder[i]))];
    }

    public Random Random { get; }

    public RaftPlan Plan { get; }

    public EventQueue Events { get; } = new();

    public RaftNetwork Network { get; }

    public SafetyChecker Checker { get; }

    public Nemesis Nemesis { get; }

    public IReadOnlyList<long> Ids { get; }

    public IReadOnlyList<RaftNode> Nodes => _nodes;

    /// <summary>Nothing goes wrong any more.</summary>
    public bool IsHealed { get; private set; }

    public int Answered => _clients.Sum(static client => client.Answered);

    /// <summary>What the clients were told.</summary>
    public RegisterHistory History => _recorder.ToHistory();

    public RaftNode Node(long id) => _nodes[id - 1];

    public long RandomNode() => Ids[Random.Next(Ids.Count)];

    /// <summary>Who leads in the highest term, if anybody.</summary>
    public RaftNode LeaderOr(RaftNode other) =>
        _nodes.Where(static node => node.Group?.Role == Role.Leader).MaxBy(static node => node.Group!.Term) ?? other;

    /// <summary>Never the same twice.</summary>
    public long NextContext() => ++_context;

    public void Run()
    {
        foreach (RaftNode node in _nodes)
        {
            node.Start();
        }

        foreach (SessionClient client in _clients)
        {
            client.Begin();
        }

        Nemesis.Begin();
        Events.RunUntil(Plan.Duration);
        Heal();
        CheckServes();
        CheckAgreement();
        CheckHistory();
    }

    private static void Fail(string what) => throw new SafetyViolationException(what);

    private IEnumerable<RaftNode> Members(RaftGroup group) => group.Membership.All().Select(Node);

    private bool RunUntil(Func<bool> condition)
    {
        const long step = RaftPlan.ElectionTimeout / 2;
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

    private void Heal()
    {
        IsHealed = true;
        Network.Heal();
        Network.IsGood = true;
        foreach (RaftNode node in _nodes)
        {
            node.Resume();
            node.Disk.HidesSnapshot = false;
            node.Start();
        }
    }

    /// <summary>Every client gets answers to writes.</summary>
    private void CheckServes()
    {
        int[] before = [.. _clients.Select(static client => client.AnsweredWrites)];
        if (!RunUntil(() => !_clients.Where((client, i) => client.AnsweredWrites == before[i]).Any()))
        {
            Fail($"liveness: a client got no write through after everything was healed; {Describe()}");
        }

        foreach (SessionClient client in _clients)
        {
            client.IsStopped = true;
        }
    }

    /// <summary>All members have the same state, once nothing is under way.</summary>
    private void CheckAgreement()
    {
        if (!RunUntil(() => LeaderOr(_nodes[0]).Group is { Role: Role.Leader } group && Members(group).All(one => one.Group!.AppliedIndex == group.Last.Index)))
        {
            Fail($"liveness: not everybody has everything after everything was healed; {Describe()}");
        }

        RaftNode leader = LeaderOr(_nodes[0]);
        byte[] state = leader.Machine.Encode();
        foreach (RaftNode node in Members(leader.Group!))
        {
            if (!node.Machine.Encode().AsSpan().SequenceEqual(state))
            {
                Fail($"agreement: node {node.Id} differs from {leader.Id}, which leads, though both applied {leader.Group!.Last}");
            }
        }
    }

    private void CheckHistory()
    {
        LinearizabilityResult result = LinearizabilityChecker.Check(History);
        if (result.Verdict == Verdict.Violated)
        {
            Fail($"linearizability: {result.Explanation}");
        }

        if (result.Verdict == Verdict.Undecided)
        {
            Fail($"linearizability is undecided: {result.Explanation}");
        }
    }

    private string Describe() => string.Join("; ", _nodes.Select(static node => node.Group is { } group
        ? $"{node.Id}: {group.Role} of {group.Leader} in term {group.Term}, log to {group.Last}, commit {group.CommitIndex}, {group.Membership}"
        : $"{node.Id}: down"));
}
