using System.Diagnostics;
using System.Text.Json;
using KeyVa.Bench.Targets;

namespace KeyVa.Bench;

/// <summary>What a child process is to run: a phase by name, or a sustained fill for a time or a count.</summary>
internal sealed record RunRequest
{
    public required BenchOptions Options { get; init; }

    public required string Target { get; init; }

    public int Threads { get; init; } = 1;

    public int Round { get; init; }

    /// <summary>Name of the phase; null for a sustained fill.</summary>
    public string? Phase { get; init; }

    public double Seconds { get; init; }

    public long Count { get; init; }
}

/// <summary>One line of a child's output: a workload's sample, or what a sustained fill came to.</summary>
internal sealed record RunAnswer
{
    public required string Workload { get; init; }

    public required Sample Sample { get; init; }

    /// <summary>Microseconds: p50, p99, p99.9, p99.99 and the longest.</summary>
    public double[] Latency { get; init; } = [];

    /// <summary>The longest stretches without a completed put, the longest first.</summary>
    public Pause[] Pauses { get; init; } = [];

    /// <summary>How many there were of more than 5 ms.</summary>
    public int PauseCount { get; init; }
}

/// <summary>
/// A run in a process of its own: its memory and its bytes written are the target's (and the runtime's, alike for all), and
/// nothing is left from the run before. The request goes in as one line of JSON, answers come out as lines; the child ends
/// when its input does, so none outlives the harness.
/// </summary>
internal static class ChildRun
{
    /// <summary>The child's first argument.</summary>
    public const string Role = "run-in-child";

    private const int MostPauses = 20;
    private const int ReadsAfterFill = 100_000;

    private static readonly JsonSerializerOptions Format = new() { IncludeFields = true };

    /// <summary>Runs it and gives each answer as it comes. The exit code; -1 if it was killed by a signal other than those a shell maps.</summary>
    public static int Execute(RunRequest request, Action<RunAnswer> answered, ControlGroup? group = null)
    {
        string host = Environment.ProcessPath ?? throw new InvalidOperationException("the program's own path is unknown");
        List<string> command = Path.GetFileNameWithoutExtension(host) == "dotnet"
            ? [host, Path.Combine(AppContext.BaseDirectory, "KeyVa.Bench.dll"), Role]
            : [host, Role];
        if (group is not null)
        {
            command = group.Prefix(command);
        }

        ProcessStartInfo start = new(command[0], command.Skip(1)) { RedirectStandardInput = true, RedirectStandardOutput = true };
        using Process process = Process.Start(start) ?? throw new InvalidOperationException("the child did not start");
        process.StandardInput.WriteLine(JsonSerializer.Serialize(request, Format));
        process.StandardInput.Flush();
        while (process.StandardOutput.ReadLine() is { } line)
        {
            answered(JsonSerializer.Deserialize<RunAnswer>(line, Format) ?? throw new InvalidOperationException("an empty answer"));
        }

        process.WaitForExit();
        return process.ExitCode;
    }

    /// <summary>A request as the child will see it.</summary>
    public static RunRequest RoundTrip(RunRequest request) =>
        JsonSerializer.Deserialize<RunRequest>(JsonSerializer.Serialize(request, Format), Format)!;

    /// <summary>The child.</summary>
    public static void Serve()
    {
        RunRequest request = JsonSerializer.Deserialize<RunRequest>(Console.In.ReadLine() ?? "null", Format)
            ?? throw new UsageException("the request is missing");
        new Thread(static () =>
        {
            while (Console.In.Read() >= 0)
            {
            }

            Environment.Exit(3);
        })
        { IsBackground = true }.Start();
        if (request.Phase is { } name)
        {
            Phase phase = Phase.Select(Phase.Engine, request.Options.Workloads).Single(phase => phase.Name == name);
            EngineBench bench = new(request.Options);
            Target target = EngineBench.Create(request.Target, request.Options);
            bench.Warmup([phase], [target]);
            bench.RunPhase(new Measurement(request.Options), phase, target, request.Threads, request.Round, Answer);
        }
        else
        {
            Sustain(request);
        }
    }

    private static void Sustain(RunRequest request)
    {
        BenchOptions options = request.Options;
        Target target = EngineBench.Create(request.Target, options);
        Measurement measurement = new(options, ordered: false);
        const double warmupSeconds = 2;
        RunSustained(warmupSeconds, EngineBench.WarmupRecords, report: false);
        RunSustained(request.Seconds, request.Count, report: true);

        void RunSustained(double seconds, long count, bool report)
        {
            using DataFolder folder = new(options.Data, target.Name);
            target.Open(folder.Path, options.Durability);
            try
            {
                (Sample sample, Histogram latency, Pause[] pauses) = measurement.Sustain(target, request.Threads, seconds, count);
                ProcessFigures figures = ProcessFigures.OfThisProcess();
                if (request.Count > 0)
                {
                    Measurement.Settle(target);
                    measurement.CheckSustained(target, sample.Operations, ReadsAfterFill);
                }

                if (report)
                {
                    double[] shares = [0.50, 0.99, 0.999, 0.9999];
                    Write(new RunAnswer
                    {
                        Workload = "sustained",
                        Sample = sample with
                        {
                            Fill = new FillFigures { ResidentBytes = figures.ResidentBytes, PeakResidentBytes = figures.PeakResidentBytes },
                        },
                        Latency = [.. shares.Select(latency.Microseconds), latency.Longest * 1e6 / Stopwatch.Frequency],
                        Pauses = [.. pauses.Take(MostPauses)],
                        PauseCount = pauses.Length,
                    });
                }
            }
            finally
            {
                target.Close();
            }
        }
    }

    private static void Answer(Workload workload, Sample sample) => Write(new RunAnswer { Workload = workload.Name, Sample = sample });

    private static void Write(RunAnswer answer)
    {
        Console.Out.WriteLine(JsonSerializer.Serialize(answer, Format));
        Console.Out.Flush();
    }
}
