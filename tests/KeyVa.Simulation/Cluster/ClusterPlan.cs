using KeyVa.Engines;

namespace KeyVa.Simulation.Cluster;

/// <summary>What one seed's run is like. Drawn once, from the seed.</summary>
internal sealed record ClusterPlan
{
    public const long ElectionTimeout = 300;
    public const long HeartbeatInterval = 40;

    /// <summary>How long a sender waits for a snapshot's arrival.</summary>
    public const long StreamTimeout = 10 * ElectionTimeout;

    /// <summary>Where groups may fall silent, clients ask nothing for the last third of each such stretch, while everything else goes on.</summary>
    public const long Stretch = 15 * ElectionTimeout;

    /// <summary>Clocks go by this much faster or slower than time, in thousandths.</summary>
    public const int MostDrift = 50;

    /// <summary>The fastest clock against the slowest, in percent.</summary>
    public const int MostRelativeDrift = 11;

    private static readonly Fault[] AlwaysPossible =
    [
        Fault.Restart, Fault.Restart, Fault.Restart, Fault.RestartAll, Fault.PowerLossWithin, Fault.PowerLossWithin, Fault.Pause, Fault.Split, Fault.CutOff, Fault.CutOneWay,
        Fault.HandOver, Fault.Heal, Fault.WallClock,
    ];

    public required int Voters { get; init; }

    /// <summary>Nodes that join later, if at all.</summary>
    public required int Blank { get; init; }

    /// <summary>Nodes that take the place of those whose data is damaged or gone.</summary>
    public required int Spares { get; init; }

    /// <summary>What may go wrong, each as often as it stands here.</summary>
    public required Fault[] Faults { get; init; }

    public required int Clients { get; init; }

    public required int Keys { get; init; }

    /// <summary>Milliseconds of virtual time with faults.</summary>
    public required long Duration { get; init; }

    public required int FaultInterval { get; init; }

    /// <summary>Shares of messages that are lost, come twice, and are late.</summary>
    public required double Loss { get; init; }

    public required double Duplication { get; init; }

    public required double Slow { get; init; }

    /// <summary>Most milliseconds that a message or a sync takes.</summary>
    public required int Delay { get; init; }

    public required int SlowDisk { get; init; }

    /// <summary>Bytes of a value.</summary>
    public required int ValueBytes { get; init; }

    public required StoreOptions Store { get; init; }

    public required EngineOptions Engine { get; init; }

    public required long RetainedBytes { get; init; }

    /// <summary>Whether idle groups fall silent: in every fourth seed.</summary>
    public bool FallsSilent { get; init; }

    /// <summary>
    /// Whether nodes read by lease: in every eighth seed, and in every other one of those with several partitions that fall silent. Their clocks drift from the beginning and do not jump, which leases
    /// ask for.
    /// </summary>
    public bool LeaseReads { get; init; }

    /// <summary>Whether a seed's nodes read by lease.</summary>
    public static bool HasLeases(int seed) => seed % 8 == 5 || seed % 16 == 15;

    /// <summary>The same with leases, and more of what would break them: whoever leads stops for a while, or is cut off.</summary>
    public ClusterPlan Leasing() => this with
    {
        LeaseReads = true,
        Faults = [.. Faults, Fault.Pause, Fault.Pause, Fault.Pause, Fault.LongPause, Fault.CutOff, Fault.CutOneWay, Fault.HandOver],
    };

    /// <summary>Whether clients keep still at a time, so that silences come about.</summary>
    public bool IsLull(long now) => FallsSilent && now % Stretch >= Stretch * 2 / 3;

    public static ClusterPlan Draw(Random random)
    {
        bool isLossy = random.Next(3) == 0;
        var store = new StoreOptions
        {
            Engine = random.Next(3) == 0 ? EngineKind.Memory : EngineKind.Lsm,
            Durability = Durability.Always,
            MemtableBytes = 1 << random.Next(12, 15),
            JournalSegmentBytes = 1 << random.Next(12, 17),
            JournalBudgetBytes = 1 << 19,
            BlockCacheBytes = 1 << random.Next(10, 17),
        };
        return new ClusterPlan
        {
            Voters = random.Next(5) == 0 ? 5 : 3,
            Blank = random.Next(3),
            Spares = 2,
            Faults = DrawFaults(random),
            Clients = random.Next(2, 6),
            Keys = random.Next(3) == 0 ? random.Next(5, 20) : random.Next(1, 5),
            Duration = random.Next(3_000, 15_000),
            FaultInterval = random.Next(150, 1500),
            Loss = isLossy ? random.NextDouble() * 0.2 : 0,
            Duplication = random.Next(3) == 0 ? random.NextDouble() * 0.2 : 0,
            Slow = random.Next(3) == 0 ? random.NextDouble() * 0.2 : 0,
            Delay = random.Next(2, 12),
            SlowDisk = random.Next(2, 30),
            ValueBytes = random.Next(2) == 0 ? sizeof(int) : random.Next(sizeof(int), 2000),
            Store = store,
            Engine = new EngineOptions
            {
                MemtableBytes = store.MemtableBytes,
                BlockBytes = 1 << random.Next(8, 12),
                TableBytes = 1 << random.Next(13, 16),
                Level0Tables = random.Next(2, 5),
                Level1Bytes = 1 << random.Next(14, 17),
                LevelMultiplier = random.Next(2, 6),
                CheckpointAfterBytes = 1 << random.Next(12, 15),
            },
            RetainedBytes = 1 << random.Next(8, 16),
        };
    }

    /// <summary>The same on disks that flip bits, with three nodes that may take the place of others.</summary>
    public ClusterPlan Damaging() => this with
    {
        Faults = [.. Faults, .. Enumerable.Repeat(Fault.FlippedBit, Faults.Length)],
        Spares = Math.Max(Spares, 3),
        Store = Store with { Engine = EngineKind.Lsm },
    };

    /// <summary>Three nodes of which nothing goes wrong by itself, with a network of a millisecond and disks that sync within five.</summary>
    public ClusterPlan Quiet() => this with
    {
        Voters = 3,
        Blank = 0,
        Spares = 0,
        Faults = [],
        Loss = 0,
        Duplication = 0,
        Slow = 0,
        Delay = 1,
        SlowDisk = 6,
        RetainedBytes = 1 << 12,
    };

    private static Fault[] DrawFaults(Random random)
    {
        List<Fault> faults = [.. AlwaysPossible];
        Add(2, Fault.LongPause, Fault.LongPause);
        Add(3, Fault.RollingRestart);
        Add(3, Fault.Clock, Fault.Clock);
        Add(3, Fault.FullDisk, Fault.FullDisk);
        Add(3, Fault.DiskErrors, Fault.DiskErrors);
        Add(2, Fault.FlippedBit, Fault.LostNode);
        return [.. faults];

        void Add(int oneIn, params ReadOnlySpan<Fault> some)
        {
            if (random.Next(oneIn) == 0)
            {
                faults.AddRange(some);
            }
        }
    }
}
