using KeyVa.Bench.Targets;

namespace KeyVa.Bench;

/// <summary>
/// Runs phases of workloads against embedded targets: for each thread count and round, phase by phase, one target right
/// after the other (A B A B A B), so that slow drift of the machine meets all of them alike.
/// </summary>
internal sealed class EngineBench(BenchOptions options)
{
    /// <summary>Records of the unmeasured run before the first round, in which the JIT settles.</summary>
    private const int WarmupRecords = 50_000;

    public static string[] EngineTargets { get; } = ["keyva-lsm", "rocksdb"];

    public static string[] MemoryTargets { get; } = ["keyva-memory", "dictionary"];

    public Section Engine()
    {
        Section section = new("Embedded lsm engine", askedRatio: 0.5);
        Run(section, Phase.Select(Phase.Engine, options.Workloads), options.Targets ?? EngineTargets);
        if (options.DbBench)
        {
            new DbBench(options).Run(section);
        }

        return section;
    }

    public Section Memory()
    {
        Section section = new("Memory engine", askedRatio: 0.7);
        Run(section, Phase.Select(Phase.Memory, options.Workloads), options.Targets ?? MemoryTargets);
        return section;
    }

    public static Target Create(string name, BenchOptions options) => name switch
    {
        "keyva-lsm" => new KeyVaTarget(options, EngineKind.Lsm, isVolatile: false),
        "keyva-memory" => new KeyVaTarget(options, EngineKind.Memory, isVolatile: true),
        "rocksdb" => new RocksDbTarget(options),
        "dictionary" => new DictionaryTarget(),
        _ => throw new UsageException($"no embedded target is called '{name}'"),
    };

    /// <summary>Runs the phases against the targets and adds every sample to the section.</summary>
    public void Run(Section section, IEnumerable<Phase> selected, IReadOnlyList<string> names)
    {
        Phase[] phases = [.. selected];
        Target[] targets = [.. names.Select(name => Create(name, options))];
        section.Targets.AddRange(targets.Select(target => (target.Name, target.Settings)));
        foreach (Workload workload in phases.SelectMany(phase => phase.Workloads))
        {
            section.Conditions.Add((workload.Name, workload.Conditions));
        }

        if (phases.Any(phase => phase.Workloads.Any(workload => workload.Work == Work.GetWhileWriting)))
        {
            section.Note(options.WriteRate == 0
                ? "The writer beside readwhilewriting writes as fast as it can."
                : $"The writer beside readwhilewriting is held to {options.WriteRate} puts per second.");
        }

        Warmup(phases, targets);
        Measurement measurement = new(options);
        foreach (int threads in options.Threads)
        {
            for (int round = 0; round < options.Rounds; round++)
            {
                foreach (Phase phase in phases)
                {
                    foreach (Target target in targets)
                    {
                        RunPhase(measurement, phase, target, threads, round, section);
                    }
                }
            }
        }

        foreach (Cell cell in section.Cells.Where(cell => cell.Median.WriterPerSecond > 0))
        {
            section.Note($"The writer beside {cell.Target} with {cell.Threads} reading thread(s) reached {cell.Median.WriterPerSecond:N0} puts per second.");
        }
    }

    private void Warmup(Phase[] phases, Target[] targets)
    {
        BenchOptions small = options with { Records = Math.Min(options.Records, WarmupRecords), SyncSeconds = 0.1, WriteRate = 1000 };
        Measurement measurement = new(small);
        foreach (Target target in targets)
        {
            foreach (Phase phase in phases)
            {
                RunPhase(measurement, phase, target, threads: 1, round: 0, section: null);
            }
        }
    }

    /// <summary>Runs a phase on an empty folder. Without a section nothing is reported.</summary>
    private void RunPhase(Measurement measurement, Phase phase, Target target, int threads, int round, Section? section)
    {
        Workload[] refused = [.. phase.Workloads.Where(workload => target.Refuses(workload.Work) is not null)];
        foreach (Workload workload in refused)
        {
            section?.Note($"{target.Name} does not run {workload.Name}: {target.Refuses(workload.Work)}.");
        }

        if (refused.Contains(phase.Workloads[0]))
        {
            return;
        }

        using DataFolder folder = new(options.Data, target.Name);
        target.Open(folder.Path, phase.Sync ? Durability.Always : options.Durability);
        try
        {
            foreach (Workload workload in phase.Workloads.Except(refused))
            {
                if (workload.Settled)
                {
                    Measurement.Settle(target);
                }

                Sample sample = measurement.Run(target, workload, threads, round);
                section?.Add(workload.Name, threads, target.Name, sample);
            }
        }
        finally
        {
            target.Close();
        }
    }
}
