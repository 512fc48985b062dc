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
    private readonly List<ClusterClient> _callers = [];
    private readonly List<Action> _deferred = [];
    private MemoryFileSystem? _afterLoss;
    private long _lastGroupAt;
    private DeterministicWork _work;
    private Store? _store;
    private InProcessTransport? _transport;
    private int _life;
    private long _planned = long.MaxValue;
    private long _rememberedAt;

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

    public Replica Replica => Driver!.Replicas[1];

    public bool IsLeading => IsUp && !IsDoomed && Replica.Group.Role == Role.Leader;

    /// <summary>The memberships that this node goes by, or would if it came back: the one at its commit index, and the newest.</summary>
    public Membership[] Memberships { get; private set; } = [];

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
        Driver = new ClusterDriver(
            new DriverOptions
            {
                Node = Id,
                Cluster = 1,
                FirstVoters = Id <= _world.Plan.Voters ? FirstMembership.Voters.ToArray() : [],
                ElectionTimeout = ClusterPlan.ElectionTimeout,
                HeartbeatInterval = ClusterPlan.HeartbeatInterval,
                RequestTimeout = ClusterPlan.ElectionTimeout * 10,
                RetainedBytes = _world.Plan.RetainedBytes,
                Seed = (ulong)_world.Random.NextInt64(),
                RaftDefects = _world.RaftDefects,
                Defects = _world.Defects,
                Applied = (_, entry) =>
                {
                    _world.Trace.Note(TracedEvent.Apply, Id, entry.Index, entry.Term);
                    _world.Checker.Applies(this, entry);
                },
                Sent = (_, message) =>
                {
                    if (!IsDoomed)
                    {
                        _world.Trace.Note(TracedEvent.Message, Id, ((long)message.Kind << 32) | message.To, (message.Term << 32) | message.Index);
                        _world.Checker.Sent(this, message);
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
            _store = Store.Open(Directory, _world.Plan.Store, environment);
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
        _world.Checker.Started(this);
        Remember();
        _transport.SetPeers(_world.Addresses);
        _transport.Start(Driver);
        Plan(life, 0);
        PlanWork(life);
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
        Memberships = [];
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

    public void Resume()
    {
        IsPaused = false;
        Action[] deferred = [.. _deferred];
        _deferred.Clear();
        foreach (Action action in deferred)
        {
            Run(action);
        }
    }

    /// <summary>Runs something in the node's process, later if that is stopped.</summary>
    public void Run(Action action)
    {
        if (!IsUp || IsDoomed)
        {
            return;
        }

        if (IsPaused)
        {
            int life = _life;
            _deferred.Add(() =>
            {
                if (life == _life)
                {
                    action();
                }
            });
            return;
        }

        action();
    }

    /// <summary>A client waits for this node's answer, and is told if the node dies.</summary>
    public void Await(ClusterClient client) => _callers.Add(client);

    public void Leave(ClusterClient client) => _callers.Remove(client);

    public void Submit(WriteRequest request)
    {
        bool found = ((PartitionRegistry)_store!.Partitions).Map.TryFind(1, out Partition? partition);
        if (found)
        {
            partition!.Writer.WriteAsync(request);
        }
    }

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
    public IReadOnlyList<string>? TryDescribe()
    {
        try
        {
            return Describe();
        }
        catch (StoreException) when (MayFail)
        {
            return null;
        }
    }

    /// <summary>Every key with its version and value.</summary>
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
                Run(() => Drive(life));
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
                _world.Checker.Stepped(this);
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
        RaftGroup group = Replica.Group;
        Membership newest = group.Membership;
        if (Memberships.Length != 2 || !ReferenceEquals(Memberships[1], newest) || _rememberedAt != group.CommitIndex)
        {
            _rememberedAt = group.CommitIndex;
            Memberships = [group.MembershipAt(group.CommitIndex), newest];
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
        ClusterClient[] callers = [.. _callers];
        _callers.Clear();
        foreach (ClusterClient client in callers)
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
        Task closing = Task.Run(async () => await store.DisposeAsync());
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
