using KeyVa.Raft;

namespace KeyVa.Simulation.Raft;

/// <summary>What a seed makes of a run: how many nodes, how bad everything is, and the options. Times are virtual milliseconds.</summary>
internal sealed record RaftPlan
{
    public const long ElectionTimeout = 100;

    /// <summary>Clocks go by this much faster or slower than time, in thousandths.</summary>
    private const int MostDrift = 50;

    public required int Voters { get; init; }

    /// <summary>Nodes that exist and know nothing, until a membership names them.</summary>
    public required int Blank { get; init; }

    public required int Clients { get; init; }

    public required int Keys { get; init; }

    /// <summary>How long a client does nothing between two operations, at most.</summary>
    public required int Rest { get; init; }

    public required double Loss { get; init; }

    public required double Duplication { get; init; }

    /// <summary>The share of messages that take much longer than the others.</summary>
    public required double Slow { get; init; }

    /// <summary>How long the others take, at most.</summary>
    public required int Delay { get; init; }

    /// <summary>Whether whoever is elected is soon killed, and voters while there are candidates.</summary>
    public required bool HasAmbushes { get; init; }

    /// <summary>Whether some of what goes wrong is planned in several steps.</summary>
    public required bool HasPlots { get; init; }

    public required int SlowDisk { get; init; }

    /// <summary>Between two things that go wrong.</summary>
    public required int FaultInterval { get; init; }

    public required int Duration { get; init; }

    public required RaftOptions Options { get; init; }

    public static RaftPlan Draw(Random random, RaftDefects defects)
    {
        bool hasAmbushes = random.Next(2) == 0;
        return Draw(random, defects, hasAmbushes);
    }

    public static int DrawDrift(Random random) => random.Next(-MostDrift, MostDrift + 1);

    private static RaftPlan Draw(Random random, RaftDefects defects, bool hasAmbushes) => new()
    {
        Voters = random.Next(3) == 0 ? 5 : random.Next(4) == 0 ? 4 : 3,
        Blank = random.Next(3),
        Clients = 5,
        Rest = random.Next(6) == 0 ? 200 : 25,
        Keys = 1 + random.Next(3),
        Loss = random.Next(2) * random.NextDouble() * 0.1,
        Duplication = random.Next(2) * random.NextDouble() * 0.1,
        Slow = random.Next(2) * random.NextDouble() * 0.1,
        Delay = random.Next(hasAmbushes ? 2 : 4) == 0 ? 40 : 4,
        HasAmbushes = hasAmbushes,
        HasPlots = random.Next(2) == 0,
        SlowDisk = random.Next(3) == 0 ? 60 : 6,
        FaultInterval = 30 + random.Next(random.Next(2) == 0 ? 100 : 400),
        Duration = 5000,
        Options = new RaftOptions
        {
            Id = 1,
            Seed = 0,
            ElectionTimeout = ElectionTimeout,
            HeartbeatInterval = 10,
            LeaseReads = random.Next(2) == 0,
            // The fastest clock against the slowest.
            MaxClockDriftPercent = 11,
            MaxAppendBytes = random.Next(hasAmbushes ? 6 : 3) switch { 1 => 200, 2 => 1 << 16, _ => 1 },
            MaxInflightMessages = 1 + random.Next(8),
            MaxInflightBytes = random.Next(2) == 0 ? 400 : 1 << 20,
            MaxUncommittedBytes = random.Next(4) == 0 ? 300 : 1 << 20,
            MaxApplyBytes = random.Next(2) == 0 ? 200 : 1 << 20,
            MaxPendingReads = random.Next(4) == 0 ? 2 : 100,
            Defects = defects,
        },
    };
}
