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
    private MemoryFileSystem _files = new();
    private MemoryFileSystem? _afterLoss;
    private DeterministicWork _work;
    private Store? _store;
    private InProcessTransport? _transport;
    private int _life;
    private long _planned = long.MaxValue;

    public SimulatedNode(ClusterSimulation world, long id)
    {
        _world = world;
        Id = id;
        _time = new VirtualTime(world.Events);
        _work = new DeterministicWork(world.Random);
    }

    public long Id { get; }

    public ClusterDriver? Driver { get; private set; }

    public Store Store => _store!;

    public bool IsUp => _store is not null;

    public bool IsPaused { get; private set; }

    /// <summary>Power was lost in the middle of something: what happens before the world notices, never happened.</summary>
    public bool IsDoomed => _afterLoss is not null;

    public MemoryFileSystem Files => _files;

    public Replica Replica => Driver!.Replicas[1];

    public VirtualTime Time => _time;

    public int Starts { get; private set; }

    /// <summary>Snapshots that took the place of its state.</summary>
    public int Installed { get; private set; }

    public void Start()
    {
        if (IsUp)
        {
            return;
        }

        int life = ++_life;
        Starts++;
        _planned = long.MaxValue;
        _transport = _world.Network.Join((ulong)Id, _files);
        Driver = new ClusterDriver(
            new DriverOptions
            {
                Node = Id,
                Cluster = 1,
                FirstVoters = _world.FirstVoters(Id),
                ElectionTimeout = ClusterPlan.ElectionTimeout,
                HeartbeatInterval = ClusterPlan.HeartbeatInterval,
                RequestTimeout = ClusterPlan.ElectionTimeout * 10,
                RetainedBytes = _world.Plan.RetainedBytes,
                Seed = (ulong)_world.Random.NextInt64(),
                RaftDefects = _world.RaftDefects,
                Defects = _world.Defects,
                Applied = (partition, entry) => _world.Checker.Applies(Id, partition, entry),
            },
            _transport,
            () => _world.Events.Now,
            () => Plan(life, 0),
            Write);
        var environment = new StoreEnvironment
        {
            FileSystem = _files,
            Time = _time,
            Background = _work,
            Engine = _ => _world.Plan.Engine,
            Replication = Driver,
        };
        Driver.Installing = () => Installed++;
        _store = Store.Open(Directory, _world.Plan.Store, environment);
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

        MemoryFileSystem left = losesPower ? _files.Crash(_world.Random.Next()) : _files.Kill();
        Abandon(_afterLoss ?? left);
    }

    /// <summary>Power will be lost at one of the next operations on files.</summary>
    public void Doom(int operations)
    {
        int thread = Environment.CurrentManagedThreadId;
        int seed = _world.Random.Next();
        MemoryFileSystem files = _files;
        files.Faults.Before = (_, _) =>
        {
            if (Environment.CurrentManagedThreadId == thread && --operations == 0)
            {
                files.Faults.Before = null;
                _afterLoss = files.AfterPowerLoss(seed);
                _world.Events.After(0, () =>
                {
                    if (_files == files)
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

    /// <summary>Every key with its version and value, one behind the other.</summary>
    public string Describe()
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
        return string.Join(' ', lines);
    }

    public void Close()
    {
        if (IsUp)
        {
            Abandon(_files.Kill());
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
                throw new Raft.SafetyViolationException($"node {Id} stopped by itself: {failure}");
            }

            if (replica.Group.Role == Role.Leader && !IsDoomed)
            {
                _world.Checker.Leads(Id, replica.Group.Term);
            }
        }

        if (next != long.MaxValue)
        {
            Plan(life, Math.Max(1, next - _world.Events.Now));
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
                    record.Outcome = journal.Append(record);
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
        Store store = _store!;
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

        _files = left;
        _work = new DeterministicWork(_world.Random);
    }
}
