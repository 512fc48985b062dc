using KeyVa.Cluster.Driver;
using KeyVa.Cluster.Transport;
using KeyVa.Io;
using KeyVa.Log;
using KeyVa.Partitions;
using KeyVa.Raft;

namespace KeyVa.Simulation.Cluster;

/// <summary>
/// A whole node: the real store, journal, engine and driver, on a disk in memory, with the simulation's time, network and background jobs.
/// </summary>
internal sealed class SimulatedNode
{
    private const string Directory = "/data";

    private readonly ClusterSimulation _world;
    private readonly VirtualTime _time;
    private readonly List<INodeCaller> _callers = [];
    private readonly List<(Action Action, Input Kind)> _deferred = [];
    private MemoryFileSystem? _afterLoss;
    private long _lastGroupAt;
    private DeterministicWork _work;
    private Store? _store;
    private InProcessTransport? _transport;
    private int _life;
    private long _promised;
    private long _planned = long.MaxValue;
    private readonly Dictionary<long, (long CommitIndex, Membership AtCommit, Membership Newest)> _remembered = [];

    public SimulatedNode(ClusterSimulation world, long id)
    {
        _world = world;
        Id = id;
        _time = new VirtualTime(world.Events);
        _work = new DeterministicWork(new Random(world.Random.Next()));
        Disk = new NodeDisk(new Random(world.Random.Next()));
    }

    public long Id { get; }

    public ClusterDriver? Driver { get; private set; }

    public Store Store => _store!;

    public bool IsUp => _store is not null;

    public bool IsPaused { get; private set; }

    /// <summary>Power was lost in the middle of something: what happens before the world notices, never happened.</summary>
    public bool IsDoomed => _afterLoss is not null;

    /// <summary>Power, data and number are gone for good: another node may take its place, under another number.</summary>
    public bool IsLost { get; private set; }

    /// <summary>Why the replica takes no part any more, or the store cannot be opened.</summary>
    public StoreException? Failure { get; private set; }

    public NodeDisk Disk { get; }

    /// <summary>Its part in the first partition, which is all there is in most runs.</summary>
    public Replica Replica => ReplicaOf(1);

    public bool IsLeading => IsLeadingOf(1);

    public Replica ReplicaOf(long partition) => Driver!.Replicas[partition];

    public bool IsLeadingOf(long partition) => IsUp && !IsDoomed && ReplicaOf(partition).Group.Role == Role.Leader;

    /// <summary>The memberships that this node goes by, or would if it came back: of each partition the one at its commit index, and the newest.</summary>
    public IEnumerable<Membership> Memberships => _remembered.Values.SelectMany(static one => new[] { one.AtCommit, one.Newest });

    /// <summary>What the group begins with.</summary>
    public Membership FirstMembership => _world.FirstMembership;

    public VirtualTime Time => _time;

    public int Starts { get; private set; }

    /// <summary>Snapshots that took the place of its state.</summary>
    public int Installed { get; private set; }

    public void Start()
    {
        if (IsUp || IsLost)
        {
            return;
        }

        int life = ++_life;
        Starts++;
        _planned = long.MaxValue;
        Failure = null;
        Disk.HasFailed = false;
        _transport = _world.Network.Join((ulong)Id, Disk.Files);
        (long ElectionTimeout, bool Reads, long Before) lease = DrawLease();
        Driver = new ClusterDriver(
            new DriverOptions
            {
                Node = Id,
                Cluster = 1,
                FirstVoters = Id <= _world.Plan.Voters ? FirstMembership.Voters.ToArray() : [],
                ElectionTimeout = lease.ElectionTimeout,
                LeaseReads = lease.Reads,
                MaxClockDriftPercent = ClusterPlan.MostRelativeDrift,
                PromisedBefore = lease.Before,
                HeartbeatInterval = ClusterPlan.HeartbeatInterval,
                RequestTimeout = ClusterPlan.ElectionTimeout * 10,
                RetainedBytes = _world.Plan.RetainedBytes,
                FallsSilent = _world.Plan.FallsSilent,
                CommitDelay = _world.Plan.FallsSilent ? null : 0,
                Seed = (ulong)_world.Random.NextInt64(),
                RaftDefects = _world.RaftDefects,
                Defects = _world.Defects,
                Applied = (partition, entry) =>
                {
                    _world.Trace.Note(TracedEvent.Apply, Id, entry.Index, entry.Term);
                    _world.Checkers[partition].Applies(this, entry);
                },
                Sent = (partition, message) =>
                {
                    if (!IsDoomed)
                    {
                        _world.Silences += message.Quiesce ? 1 : 0;
                        _world.Trace.Note(TracedEvent.Message, Id, ((long)message.Kind << 32) | message.To, (message.Term << 32) | message.Index);
                        _world.Checkers[partition].Sent(this, message);
                    }
                },
            },
            _transport,
            () => _time.Now,
            () => Plan(life, 0),
            Write);
        var environment = new StoreEnvironment
        {
            FileSystem = Disk.Files,
            Time = _time,
            Background = _work,
            Engine = _ => _world.Plan.Engine,
            Replication = Driver,
        };
        Driver.Installing = () => Installed++;
        try
        {
            _store = Store.Open(Directory, _world.StoreOptions, environment);
        }
        catch (StoreException failure) when (MayFail)
        {
            Failure = failure;
            _world.Unopened++;
            _world.Trace.Note(TracedEvent.Stop, Id);
            Abandon(_afterLoss ?? Disk.Files.Kill());
            return;
        }

        Settle(Driver.Journal!);
        _lastGroupAt = 0;
        _world.Trace.Note(TracedEvent.Start, Id, Replica.Group.Last.Index, Replica.Group.Term);
        foreach (ClusterChecker checker in _world.Checkers.Values)
        {
            checker.Started(this);
        }

        Remember();
        _transport.SetPeers(_world.Addresses);
        _transport.Start(Driver);
        Plan(life, 0);
        PlanWork(life);
    }

    /// <summary>
    /// With leases each life has its own settings, as while a cluster is switched over: now and then a node has leases off, or half the election timeout. What it promises is durable before it begins, as
    /// the file CLUSTER is of a real node.
    /// </summary>
    private (long ElectionTimeout, bool Reads, long Before) DrawLease()
    {
        if (!_world.Plan.LeaseReads)
        {
            return (ClusterPlan.ElectionTimeout, false, 0);
        }

        if (Starts == 1)
        {
            _time.Drift(_world.LeaseRandom.Next(-ClusterPlan.MostDrift, ClusterPlan.MostDrift + 1));
        }

        long before = _promised;
        bool reads = _world.LeaseRandom.Next(5) != 0;
        long electionTimeout = ClusterPlan.ElectionTimeout / (_world.LeaseRandom.Next(5) == 0 ? 2 : 1);
        _promised = Math.Max(_promised, reads ? electionTimeout : 0);
        return (electionTimeout, reads, before);
    }

    /// <summary>The process is gone, and with it what was not synced (or nothing, if only the process was killed).</summary>
    public void Crash(bool losesPower)
    {
        if (!IsUp)
        {
            return;
        }

        _world.Trace.Note(TracedEvent.Stop, Id);
        MemoryFileSystem left = losesPower ? Disk.Files.Crash(_world.Random.Next()) : Disk.Files.Kill();
        Abandon(_afterLoss ?? left);
    }

    /// <summary>The machine is gone with all that it had.</summary>
    public void Lose()
    {
        Crash(losesPower: true);
        IsLost = true;
        _remembered.Clear();
    }

    /// <summary>Flips a bit of what is durable; false: there was none to flip.</summary>
    public bool TryDamage() => IsUp && !IsDoomed && Disk.TryDamage(Directory, _lastGroupAt);

    /// <summary>Power will be lost at one of the next operations on files.</summary>
    public void Doom(int operations)
    {
        int thread = Environment.CurrentManagedThreadId;
        int seed = _world.Random.Next();
        MemoryFileSystem files = Disk.Files;
        files.Faults.Before = (_, _) =>
        {
            if (Environment.CurrentManagedThreadId == thread && --operations == 0)
            {
                files.Faults.Before = null;
                _afterLoss = files.AfterPowerLoss(seed);
                _world.Events.After(0, () =>
                {
                    if (Disk.Files == files)
                    {
                        Crash(losesPower: true);
                        _world.Events.After(1 + _world.Random.Next(200), Start);
                    }
                });
            }
        };
    }

    public void Pause() => IsPaused = IsUp;

    /// <summary>
    /// Goes on, and meets what came meanwhile in its order. With leases the loop runs behind all of it, as it does where its thread finds everything at once, and what clients want may be first,
    /// before the news that somebody else leads: it comes from other sockets.
    /// </summary>
    public void Resume()
    {
        IsPaused = false;
        IEnumerable<(Action Action, Input Kind)> deferred = [.. _deferred];
        _deferred.Clear();
        if (_world.Plan.LeaseReads)
        {
            Input first = _world.LeaseRandom.Next(2) == 0 ? Input.Call : Input.Any;
            deferred = deferred.OrderBy(one => one.Kind == Input.Turn ? 2 : one.Kind == first ? 0 : 1);
        }

        foreach ((Action action, Input kind) in deferred)
        {
            Run(action, kind);
        }
    }

    /// <summary>Runs something in the node's process, later if that is stopped.</summary>
    public void Run(Action action, Input kind = Input.Any)
    {
        if (!IsUp || IsDoomed)
        {
            return;
        }

        if (IsPaused)
        {
            int life = _life;
            _deferred.Add((() =>
            {
                if (life == _life)
                {
                    action();
                }
            }, kind));
            return;
        }

        action();
    }

    /// <summary>A client waits for this node's answer, and is told if the node dies.</summary>
    public void Await(INodeCaller client) => _callers.Add(client);

    public void Leave(INodeCaller client) => _callers.Remove(client);

    public void Submit(WriteRequest request, long partition = 1) => PartitionOf(partition).Writer.WriteAsync(request);

    /// <summary>As the other, of a command whose keys may lie in several partitions. <paramref name="done"/> hears what became of it, in the node's process.</summary>
    public void Commit(CommandBuilder command, Action<WriteResult> done)
    {
        bool split = CommitPart.TrySplit(command, ((PartitionRegistry)_store!.Partitions).Map, out CommitPart[] parts, out _);
        System.Diagnostics.Debug.Assert(split && parts.Length > 1, "the keys lie in several partitions of this node");
        Driver!.Commits.Commit(command, parts, done);
    }

    /// <summary>Where snapshots of all partitions stand.</summary>
    public ISnapshotSource Snapshots => new NewestVisible((PartitionRegistry)_store!.Partitions);

    public Partition PartitionOf(long id) => ((PartitionRegistry)_store!.Partitions).Map.TryFind(id, out Partition? partition) ? partition : throw new System.Diagnostics.UnreachableException();

    /// <summary>A number that is counted up; null if it cannot be read.</summary>
    public long? TryCount(byte[] key)
    {
        try
        {
            using ValueLease lease = _store!.Get(key);
            return lease.Found ? long.Parse(lease.Value, System.Globalization.CultureInfo.InvariantCulture) : 0;
        }
        catch (StoreException) when (MayFail)
        {
            return null;
        }
    }

    /// <summary>See <see cref="Describe"/>; null if the disk does not let it be read, and says so.</summary>
    public IReadOnlyList<string>? TryDescribe(long partition)
    {
        try
        {
            return _world.Checkers.Count == 1 ? Describe() : DescribeOne(PartitionOf(partition));
        }
        catch (StoreException) when (MayFail)
        {
            return null;
        }
    }

    /// <summary>Every key with its version and value, and the partition's own settings.</summary>
    private List<string> Describe()
    {
        using ScanCursor cursor = ((PartitionRegistry)_store!.Partitions).Map.TryFind(1, out Partition? partition) && partition.Engine.IsOrdered
            ? _store.Scan(new ScanOptions())
            : _store.Scan(new ScanOptions { Unordered = true });
        List<string> lines = [];
        while (cursor.MoveNext())
        {
            lines.Add($"{Convert.ToHexString(cursor.Key)}@{cursor.Version}={Convert.ToHexString(cursor.Value)}");
        }

        lines.Sort(StringComparer.Ordinal);
        lines.Add($"settings {PartitionOf(1).Engine.Settings.Current}");
        return lines;
    }

    /// <summary>Of one partition of several; and what is prepared and decided there.</summary>
    private static List<string> DescribeOne(Partition partition)
    {
        using Snapshot snapshot = partition.Engine.Context.Snapshots.Open(partition.Engine);
        using Engines.EngineCursor cursor = partition.Engine.OpenCursor(default, default, snapshot.Version, reverse: false);
        List<string> lines = [];
        while (cursor.MoveNext())
        {
            lines.Add($"{Convert.ToHexString(cursor.Key)}@{cursor.Version}={Convert.ToHexString(cursor.Value)}");
        }

        lines.Sort(StringComparer.Ordinal);
        lines.Add(Convert.ToHexString(partition.Engine.Commits.Capture()));
        lines.Add($"settings {partition.Engine.Settings.Current}");
        return lines;
    }

    public void Close()
    {
        if (IsUp)
        {
            Abandon(Disk.Files.Kill());
        }
    }

    private void Plan(int life, long delay)
    {
        long at = _world.Events.Now + delay;
        if (life != _life || at >= _planned)
        {
            return;
        }

        _planned = at;
        _world.Events.After(delay, () =>
        {
            if (life == _life && _planned == at)
            {
                _planned = long.MaxValue;
                Run(() => Drive(life), Input.Turn);
            }
        });
    }

    private void Drive(int life)
    {
        long next = Driver!.Run();
        if (life != _life)
        {
            return;
        }

        foreach (Replica replica in Driver.Replicas.Values)
        {
            if (replica.Failure is { } failure && !IsDoomed)
            {
                _world.Stopped += Failure is null ? 1 : 0;
                Failure = MayFail ? failure : throw new Raft.SafetyViolationException($"node {Id} stopped by itself: {failure}");
            }
            else if (!IsDoomed)
            {
                _world.Checkers[replica.Partition].Stepped(this);
                Remember();
            }
        }

        if (next != long.MaxValue)
        {
            Plan(life, _time.Until(next));
        }
    }

    /// <summary>Whether the disk has been such that the node may stop by itself.</summary>
    public bool MayFail => IsDoomed || Disk.HasFailed || Disk.Damage is not null || (Disk.IsFull && !IsUp);

    private void Remember()
    {
        foreach (Replica replica in Driver!.Replicas.Values)
        {
            RaftGroup group = replica.Group;
            Membership newest = group.Membership;
            if (!_remembered.TryGetValue(replica.Partition, out var known) || !ReferenceEquals(known.Newest, newest) || known.CommitIndex != group.CommitIndex)
            {
                _remembered[replica.Partition] = (group.CommitIndex, group.MembershipAt(group.CommitIndex), newest);
            }
        }
    }

    /// <summary>What the journal's own thread was left to do is done: what comes next finds every file in its place.</summary>
    private static void Settle(Journal journal)
    {
        SpinWait wait = default;
        while (!journal.IsAtRest)
        {
            wait.SpinOnce();
        }
    }

    /// <summary>A record is written and synced after a while, if the node lives until then.</summary>
    private void Write(Journal journal, ReplicaRecord record)
    {
        int life = _life;
        ClusterDriver driver = Driver!;
        _world.Events.After(_world.IsHealed ? 1 : _world.Random.Next(_world.Plan.SlowDisk), () =>
        {
            if (life == _life)
            {
                Run(() =>
                {
                    _lastGroupAt = journal.EndOffset;
                    record.Outcome = journal.Append(record);
                    Settle(journal);
                    _world.FullRecords += record.Outcome == AppendOutcome.Full ? 1 : 0;
                    _world.Trace.Note(TracedEvent.Record, Id, record.Number, (long)record.Outcome);
                    driver.Completed(record);
                });
            }
        });
    }

    private void PlanWork(int life) => _world.Events.After(1 + _world.Random.Next(20), () =>
    {
        if (life == _life)
        {
            Run(() => _work.RunOne());
            PlanWork(life);
        }
    });

    private void Abandon(MemoryFileSystem left)
    {
        Store? store = _store;
        ClusterDriver driver = Driver!;
        _life++;
        _store = null;
        Driver = null;
        IsPaused = false;
        _afterLoss = null;
        _deferred.Clear();
        INodeCaller[] callers = [.. _callers];
        _callers.Clear();
        foreach (INodeCaller client in callers)
        {
            client.NodeDied();
        }

        _transport!.DisposeAsync().AsTask().Wait();
        driver.BeginStop();
        if (store is not null)
        {
            Close(store, driver);
        }

        Disk.Become(left);
        _work = new DeterministicWork(new Random(_world.Random.Next()));
    }

    private static void Close(Store store, ClusterDriver driver)
    {
        // On a thread of its own: those of the pool may all be waiting here.
        Task closing = Task.Factory.StartNew(
            () => store.DisposeAsync().AsTask().GetAwaiter().GetResult(), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        while (!closing.IsCompleted)
        {
            driver.Run();
            Thread.Yield();
        }

        if (closing.Exception?.InnerException is { } failure and not StoreException)
        {
            throw failure;
        }
    }
}

/// <summary>What a process is to do.</summary>
internal enum Input
{
    Any,

    /// <summary>What a client asks.</summary>
    Call,

    /// <summary>The driver's loop is to run.</summary>
    Turn,
}
