using KeyVa.Partitions;

namespace KeyVa.Simulation.Cluster;

/// <summary>A cluster of three without faults, whose leaders die one after the other while somebody wants to write on both other nodes.</summary>
internal sealed class Failover : IDisposable
{
    private const long Patience = 100 * ClusterPlan.ElectionTimeout;

    private readonly ClusterSimulation _world;
    private readonly Random _random;

    /// <summary>Of the seeds of runs the ones with one partition that does not fall silent.</summary>
    public Failover(int seed)
    {
        _world = new ClusterSimulation(4 * seed, isQuiet: true);
        _random = new Random(seed);
        _world.Open();
    }

    public ClusterSimulation World => _world;

    /// <summary>Who leads, once everybody has everything; some time into an interval of heartbeats.</summary>
    public SimulatedNode Rest()
    {
        Until(() => _world.IsAtRest);
        _world.Events.RunUntil(_world.Events.Now + _random.Next(2 * (int)ClusterPlan.HeartbeatInterval));
        return _world.LeaderOr(_world.Nodes[0]);
    }

    /// <summary>
    /// Kills the leader, or stops it, and lets it come back when another has taken its place. Milliseconds of virtual time until the first write was answered that
    /// was asked for afterwards, and in how many terms somebody stood meanwhile.
    /// </summary>
    public (long Time, long Terms) Measure(bool pauses)
    {
        SimulatedNode leader = Rest();
        long term = leader.Replica.Group.Term;
        long begun = _world.Events.Now;
        if (pauses)
        {
            leader.Pause();
        }
        else
        {
            leader.Crash(losesPower: false);
        }

        Writer[] writers = [.. _world.Nodes.Where(node => node != leader).Select(node => new Writer(_world, node, [1]))];
        foreach (Writer writer in writers)
        {
            writer.Ask();
        }

        Until(() => writers.Any(static writer => writer.AnsweredAt > 0));
        long time = writers.Where(static writer => writer.AnsweredAt > 0).Min(static writer => writer.AnsweredAt) - begun;
        long terms = _world.LeaderOr(leader).Replica.Group.Term - term;
        Until(() => writers.All(static writer => writer.AnsweredAt > 0));
        leader.Resume();
        leader.Start();
        return (time, terms);
    }

    /// <summary>Has one value written by a node.</summary>
    public void Write(SimulatedNode node, int bytes)
    {
        byte[] value = new byte[bytes];
        _random.NextBytes(value);
        var writer = new Writer(_world, node, value);
        writer.Ask();
        Until(() => writer.AnsweredAt > 0);
    }

    /// <summary>Lets time pass until something has happened.</summary>
    public void Until(Func<bool> condition)
    {
        for (long end = _world.Events.Now + Patience; !condition();)
        {
            if (_world.Events.Now >= end)
            {
                throw new Raft.SafetyViolationException($"liveness: a quiet cluster does not get on; {_world.Describe()}");
            }

            _world.Events.RunUntil(_world.Events.Now + 1);
        }
    }

    public void Dispose() => _world.Close();

    /// <summary>Wants one write done on a node, and asks again while it is not.</summary>
    private sealed class Writer(ClusterSimulation world, SimulatedNode node, byte[] value)
    {
        public long AnsweredAt { get; private set; }

        public void Ask() => world.Events.After(1, () => node.Run(() =>
        {
            var command = new CommandBuilder();
            command.Put([(byte)world.Events.Now, (byte)(world.Events.Now >> 8)], value, default);
            node.Submit(new Request(this, command));
        }));

        private void Done(Status status)
        {
            if (status == Status.Ok)
            {
                AnsweredAt = world.Events.Now;
            }
            else
            {
                Ask();
            }
        }

        private sealed class Request : WriteRequest
        {
            private readonly Writer _writer;

            public Request(Writer writer, CommandBuilder command)
            {
                _writer = writer;
                Command = command;
            }

            public override void Complete()
            {
                Command!.Dispose();
                _writer.Done(Result.Status);
            }
        }
    }
}
