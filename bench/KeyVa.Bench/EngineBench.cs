using System.Diagnostics;
using System.Globalization;
using KeyVa.Bench.Targets;

namespace KeyVa.Bench;

/// <summary>
/// Runs phases of workloads against embedded targets: for each round and thread count, phase by phase, one target right
/// after the other (A B C A B C), so that slow drift of the machine meets all of them alike. The engines on disk run each
/// phase in a process of its own, the others in this one.
/// </summary>
internal sealed class EngineBench(BenchOptions options)
{
    /// <summary>Records of the unmeasured run before a measured one, in which the JIT settles.</summary>
    public const int WarmupRecords = 100_000;

    /// <summary>What starting the processes of one pass and warming them up takes, about.</summary>
    private const double StartMinutes = 0.7;

    public static string[] EngineTargets { get; } = ["keyva-lsm", "rocksdb", DbBench.Name];

    /// <summary>Those of them that run in a process of ours.</summary>
    public static string[] Embedded { get; } = ["keyva-lsm", "rocksdb"];

    public static string[] MemoryTargets { get; } = ["keyva-memory", "dictionary"];

    /// <summary>The profiles that were asked for. A section is handed over before it is filled, so that a failure loses nothing.</summary>
    public void Engine(List<Section> sections)
    {
        IReadOnlyList<Profile> profiles = Profile.Select(options.Profiles);
        double minutes = profiles.Sum(profile => StartMinutes + (profile.Minutes * Math.Min(1, options.Records / 2e6))) * options.Threads.Count * options.Rounds;
        string left = string.Join(", ", Profile.Known.Except(profiles).Select(profile => profile.Name));
        Console.Error.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"profile(s) {string.Join(", ", profiles.Select(profile => profile.Name))}, {options.Rounds} round(s): about {Math.Max(1, minutes):0} minutes on two processors{(left.Length == 0 ? "" : $"; not in this run: {left} (--profile all)")}"));
        foreach (Profile profile in profiles)
        {
            Section section = new($"Embedded lsm engine, {profile.Name}: {profile.Data}", askedRatio: 0);
            sections.Add(section);
            new EngineBench(profile.Apply(options)).RunInChildren(section);
        }
    }

    private void RunInChildren(Section section)
    {
        Phase[] phases = [.. Phase.Select(Phase.Engine, options.Workloads)];
        string[] names = [.. options.Targets ?? EngineTargets];
        section.Conditions.Add(("data", Profile.Sizes(options)));
        Describe(section, phases, [.. names.Where(name => name != DbBench.Name).Select(name => Create(name, options))]);
        if (names.Contains(DbBench.Name))
        {
            section.Targets.Add((DbBench.Name, DbBench.Settings));
        }

        Stopwatch elapsed = Stopwatch.StartNew();
        int passes = 0;
        try
        {
            for (int round = 0; round < options.Rounds; round++)
            {
                foreach (int threads in options.Threads)
                {
                    foreach (Phase phase in phases)
                    {
                        foreach (string name in names)
                        {
                            RunPhaseOnce(section, phase, name, threads, round);
                        }
                    }

                    double left = elapsed.Elapsed.TotalMinutes / ++passes * ((options.Rounds * options.Threads.Count) - passes);
                    Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{section.Title}: round {round + 1} of {options.Rounds}, {threads} thread(s) done; about {left:0.0} minutes left"));
                }
            }
        }
        finally
        {
            NoteWriters(section);
            section.Tables.AddRange(EngineTables.Of(section, phases));
        }
    }

    private void RunPhaseOnce(Section section, Phase phase, string name, int threads, int round)
    {
        if (name == DbBench.Name)
        {
            new DbBench(options).Run(section, phase, threads);
            return;
        }

        if (Create(name, options).Refuses(phase.Workloads[0].Work) is { } why)
        {
            section.Note($"{name} is not measured here: {why}.");
            return;
        }

        RunRequest request = new() { Options = options, Target = name, Phase = phase.Name, Threads = threads, Round = round };
        int exit = ChildRun.Execute(request, answer => section.Add(answer.Workload, threads, name, answer.Sample));
        if (exit != 0)
        {
            throw new InvalidOperationException($"{name}, phase {phase.Name}: the child ended with exit code {exit}");
        }
    }

    public Section Memory()
    {
        Section section = new("Memory engine", askedRatio: 0.7);
        section.Conditions.Add(("data", Profile.Records(options)));
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
        Describe(section, phases, targets);
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
                        RunPhase(measurement, phase, target, threads, round, (workload, sample) => section.Add(workload.Name, threads, target.Name, sample), section.Note);
                    }
                }
            }
        }

        NoteWriters(section);
    }

    /// <summary>Runs the phases once, unmeasured, on few records.</summary>
    public void Warmup(Phase[] phases, Target[] targets)
    {
        BenchOptions small = options with { Records = Math.Min(options.Records, WarmupRecords), SyncSeconds = 0.1, WriteRate = 1000 };
        Measurement measurement = new(small);
        foreach (Target target in targets)
        {
            foreach (Phase phase in phases)
            {
                RunPhase(measurement, phase, target, threads: 1, round: 0, static (_, _) => { });
            }
        }
    }

    private void Describe(Section section, Phase[] phases, Target[] targets)
    {
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
    }

    private static void NoteWriters(Section section)
    {
        foreach (Cell cell in section.Cells.Where(cell => cell.Median.WriterPerSecond > 0))
        {
            section.Note($"The writer beside {cell.Target} with {cell.Threads} reading thread(s) reached {cell.Median.WriterPerSecond:N0} puts per second.");
        }
    }

    /// <summary>Runs a phase on an empty folder and gives each sample as it comes.</summary>
    public void RunPhase(
        Measurement measurement, Phase phase, Target target, int threads, int round, Action<Workload, Sample> report, Action<string>? note = null)
    {
        Workload[] refused = [.. phase.Workloads.Where(workload => target.Refuses(workload.Work) is not null)];
        foreach (Workload workload in refused)
        {
            note?.Invoke($"{target.Name} does not run {workload.Name}: {target.Refuses(workload.Work)}.");
        }

        if (refused.Contains(phase.Workloads[0]))
        {
            return;
        }

        using DataFolder folder = new(options.Data, target.Name);
        target.Open(folder.Path, phase.Sync ? Durability.Always : options.Durability);
        try
        {
            bool atRest = true;
            foreach (Workload workload in phase.Workloads.Except(refused))
            {
                if (workload.Settled && !atRest)
                {
                    Measurement.Settle(target);
                }

                report(workload, RunWorkload(measurement, workload, target, threads, round, folder));
                atRest = workload.Fill || workload.OnlyReads;
            }
        }
        finally
        {
            target.Close();
        }
    }

    private static Sample RunWorkload(Measurement measurement, Workload workload, Target target, int threads, int round, DataFolder folder)
    {
        if (!workload.Fill)
        {
            return measurement.Run(target, workload, threads, round);
        }

        FillMeter meter = new(folder, measurement.RecordBytes(measurement.Records));
        Sample sample = measurement.Run(target, workload, threads, round);
        meter.Filled();
        Measurement.Settle(target);
        return sample with { Fill = meter.Settled(measurement.RecordBytes(sample.Operations)) };
    }
}
