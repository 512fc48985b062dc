namespace KeyVa.Simulation.Cluster;

/// <summary>What goes wrong in a cluster. docs/testing.md describes the fault model.</summary>
internal sealed class ClusterNemesis(ClusterSimulation world)
{
    private const int LongestPause = 30;
    private const int MostRecent = 20;

    private readonly Random _random = world.Random;
    private readonly HashSet<(long From, long To)> _cut = [];
    private readonly Queue<string> _recent = new();
    private int _cuts;

    /// <summary>How often each thing was done.</summary>
    public int[] Counts { get; } = new int[Enum.GetValues<Fault>().Length];

    /// <summary>What went wrong last.</summary>
    public string Recent => string.Join(", ", _recent);

    public bool IsCut(long from, long to) => _cut.Contains((from, to));

    public void Begin() => world.Events.After(_random.Next(2 * world.Plan.FaultInterval), () =>
    {
        if (!world.IsHealed)
        {
            Act();
            Begin();
        }
    });

    /// <summary>Links are whole, disks have room and no errors, clocks are right, and everybody runs.</summary>
    public void EndAll()
    {
        Heal();
        foreach (SimulatedNode node in world.Nodes)
        {
            node.Disk.Files.Faults.Before = null;
            node.Disk.Fail(0, 0);
            node.Disk.MakeRoom();
            node.Time.Drift(0);
            node.Resume();
        }
    }

    private void Act()
    {
        Fault fault = world.Plan.Faults[_random.Next(world.Plan.Faults.Length)];
        SimulatedNode any = world.AnyNode();
        SimulatedNode target = _random.Next(2) == 0 ? any : world.LeaderOr(any);
        world.Trace.Note(TracedEvent.Fault, target.Id, (long)fault);
        Counts[(int)fault]++;
        _recent.Enqueue($"{world.Events.Now} {fault} {target.Id}");
        if (_recent.Count > MostRecent)
        {
            _recent.Dequeue();
        }

        switch (fault)
        {
            case Fault.Restart:
                Restart(target, 5 + _random.Next(400));
                break;
            case Fault.RestartAll:
                foreach (SimulatedNode node in world.Nodes)
                {
                    Restart(node, 1 + _random.Next(60));
                }

                break;
            case Fault.RollingRestart:
                Roll(0);
                break;
            case Fault.PowerLossWithin when target.IsUp:
                target.Doom(1 + _random.Next(40));
                break;
            case Fault.Pause:
                Pause(target, 10 + _random.Next(1500));
                if (world.Plan.LeaseReads && world.LeaseRandom.Next(2) == 0)
                {
                    // When it goes on, nobody tells it yet that another leads.
                    Split([target.Id]);
                }

                break;
            case Fault.LongPause:
                Pause(target, _random.NextInt64(5, LongestPause) * ClusterPlan.ElectionTimeout);
                break;
            case Fault.Split:
                Split([.. world.Ids.Where(_ => _random.Next(2) == 0)]);
                break;
            case Fault.CutOff:
                Split([target.Id]);
                break;
            case Fault.CutOneWay:
                CutOneWay(target.Id, any.Id);
                break;
            case Fault.HandOver:
                HandOverAndCutOff(1 + _random.Next(world.Checkers.Count), any);
                break;
            case Fault.WallClock:
                target.Time.Skew = _random.Next(3) == 0 ? 0 : _random.Next(-100_000, 100_000);
                break;
            case Fault.Clock when _random.Next(3) == 0:
                int ahead = _random.Next(20 * (int)ClusterPlan.ElectionTimeout);
                target.Time.Jump(world.Plan.LeaseReads ? 0 : ahead);
                break;
            case Fault.Clock:
                target.Time.Drift(_random.Next(-ClusterPlan.MostDrift, ClusterPlan.MostDrift + 1));
                break;
            case Fault.FullDisk:
                target.Disk.Fill(_random.Next(2) == 0 ? 0 : _random.Next(1 << 16));
                world.Events.After(50 + _random.Next(3000), target.Disk.MakeRoom);
                break;
            case Fault.DiskErrors:
                double share = _random.NextDouble() * 0.3;
                target.Disk.Fail(_random.Next(2) * share, _random.Next(2) * share);
                world.Events.After(20 + _random.Next(500), () => target.Disk.Fail(0, 0));
                break;
            case Fault.FlippedBit when world.Operator.MayLose(target) && target.TryDamage():
                world.Operator.Damaged(target);
                break;
            case Fault.LostNode when world.Operator.MayLose(target):
                world.Operator.Lost(target);
                break;
            case Fault.Heal:
                Heal();
                break;
        }
    }

    /// <summary>One node after the other, each once the one before is back.</summary>
    private void Roll(int next)
    {
        if (world.IsHealed || next == world.Nodes.Count)
        {
            return;
        }

        SimulatedNode node = world.Nodes[next];
        node.Crash(losesPower: false);
        world.Events.After(5 + _random.Next(100), () =>
        {
            Revive(node);
            world.Events.After(1 + _random.Next(2 * (int)ClusterPlan.ElectionTimeout), () => Roll(next + 1));
        });
    }

    private void Restart(SimulatedNode node, int downFor)
    {
        node.Crash(losesPower: _random.Next(3) != 0);
        world.Events.After(downFor, () => Revive(node));
    }

    /// <summary>Spare nodes begin when they are needed.</summary>
    private static void Revive(SimulatedNode node)
    {
        if (node.Starts > 0)
        {
            node.Start();
        }
    }

    private void Pause(SimulatedNode node, long time)
    {
        node.Pause();
        world.Events.After(time, node.Resume);
    }

    private void Split(long[] side)
    {
        foreach (long one in side)
        {
            foreach (long other in world.Ids.Except(side))
            {
                _cut.Add((one, other));
                _cut.Add((other, one));
            }
        }

        PlanHealing();
    }

    /// <summary>One does not hear another, or nobody, or is heard by nobody.</summary>
    private void CutOneWay(long one, long other)
    {
        int what = _random.Next(4);
        foreach (long peer in what < 2 ? [other] : world.Ids)
        {
            _cut.Add(what % 2 == 0 ? (one, peer) : (peer, one));
        }

        PlanHealing();
    }

    /// <summary>A leader offers leadership of a partition and is cut off before it can see what came of it: for a while there are two, each of which answers whoever reaches it.</summary>
    private void HandOverAndCutOff(long partition, SimulatedNode any)
    {
        SimulatedNode leader = world.LeaderOr(any, partition);
        if (!leader.IsLeadingOf(partition))
        {
            return;
        }

        long[] heirs = [.. leader.ReplicaOf(partition).Group.Membership.Voters.ToArray().Where(id => id != leader.Id)];
        if (heirs.Length == 0)
        {
            return;
        }

        long heir = heirs[_random.Next(heirs.Length)];
        leader.Run(() => leader.Driver!.Post(partition, (replica, now) => replica.Group.Transfer(heir, now)));
        world.Events.After(1 + _random.Next(2 * world.Plan.Delay), () =>
        {
            if (!world.IsHealed)
            {
                Split([leader.Id]);
            }
        });
    }

    private void Heal()
    {
        _cuts++;
        _cut.Clear();
    }

    /// <summary>Links come back after a while, unless others were cut meanwhile.</summary>
    private void PlanHealing()
    {
        int cuts = ++_cuts;
        world.Events.After(50 + _random.Next(2000), () =>
        {
            if (cuts == _cuts)
            {
                _cut.Clear();
            }
        });
    }
}

/// <summary>What may go wrong.</summary>
internal enum Fault
{
    Restart,
    RestartAll,
    RollingRestart,
    PowerLossWithin,
    Pause,
    LongPause,
    Split,
    CutOff,
    CutOneWay,
    HandOver,
    Heal,
    WallClock,
    Clock,
    FullDisk,
    DiskErrors,
    FlippedBit,
    LostNode,
}
