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
    /// <summary>After healing: to elect somebody and bring everybody up.</summary>
    private const long SettleTime = 12 * RaftPlan.ElectionTimeout;

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

    public IReadOnlyList<long> Ids { get; }

    public IReadOnlyList<RaftNode> Nodes => _nodes;

    /// <summary>Nothing goes wrong any more.</summary>
    public bool IsHealed { get; private set; }

    public int Answered => _clients.Sum(static client => client.Answered);

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

        new Nemesis(this).Begin();
        Events.RunUntil(Plan.Duration);
        Heal();
        Events.RunUntil(Events.Now + SettleTime);
        CheckServes();
        CheckAgreement();
        CheckHistory();
    }

    private static void Fail(string what) => throw new SafetyViolationException(what);

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
        Events.RunUntil(Events.Now + SettleTime);
        for (int i = 0; i < _clients.Length; i++)
        {
            if (_clients[i].AnsweredWrites == before[i])
            {
                Fail($"liveness: client {i} got no write through after everything was healed; {Describe()}");
            }

            _clients[i].IsStopped = true;
        }
    }

    /// <summary>All members have the same state, once nothing is under way.</summary>
    private void CheckAgreement()
    {
        Events.RunUntil(Events.Now + SettleTime);
        RaftNode leader = LeaderOr(_nodes[0]);
        if (leader.Group!.Role != Role.Leader)
        {
            Fail($"liveness: nobody leads after everything was healed; {Describe()}");
        }

        byte[] state = leader.Machine.Encode();
        foreach (long id in leader.Group.Membership.All())
        {
            RaftNode node = Node(id);
            if (node.Group!.AppliedIndex != leader.Group.Last.Index || !node.Machine.Encode().AsSpan().SequenceEqual(state))
            {
                Fail($"agreement: node {id} applied {node.Group.AppliedIndex} and differs from {leader.Id}, which leads with {leader.Group.Last}; {Describe()}");
            }
        }
    }

    private void CheckHistory()
    {
        LinearizabilityResult result = LinearizabilityChecker.Check(_recorder.ToHistory());
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
