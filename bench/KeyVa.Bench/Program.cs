using System.Globalization;
using KeyVa.Bench;
using KeyVa.Bench.Cluster;
using KeyVa.Bench.Front;
using KeyVa.Bench.Transfers;

try
{
    switch (args.FirstOrDefault())
    {
        // Roles of the child processes that the harness starts.
        case FrontBench.BareRole:
            await BareServer.RunAsync(Port(args[1]), Port(args[2]));
            return 0;
        case FrontBench.KeyVaRole:
            await KeyVaRole.RunAsync(args[1], Port(args[2]), Port(args[3]), Port(args[4]));
            return 0;
        case RespBench.KeyVaRole:
            await RespRole.RunAsync(args[1], Port(args[2]), args[3]);
            return 0;
        case KeyVaNodes.Role:
            await KeyVaNodes.ServeAsync(args[1..]);
            return 0;
        case FrontServers.Role:
            await FrontServers.ServeAsync(args.AsMemory(1));
            return 0;
        case GrowBench.FillRole:
            GrowBench.FillUntilKilled(args.AsSpan(1));
            return 0;
        case ChildRun.Role:
            ChildRun.Serve();
            return 0;
        case "selftest":
            SelfTest.Run();
            Console.Out.WriteLine("the harness's own checks passed");
            return 0;
        case "--help" or "-h" or "help":
            Console.Out.WriteLine(BenchOptions.Usage);
            return 0;
        default:
            return Run(BenchOptions.Parse(args));
    }
}
catch (UsageException e)
{
    Console.Error.WriteLine($"{e.Message}\n\n{BenchOptions.Usage}");
    return 2;
}

static int Port(string text) => int.Parse(text, CultureInfo.InvariantCulture);

// What was measured is printed even if a later part fails.
static int Run(BenchOptions options)
{
    string[] parts = options.Subcommand == "all" ? ["engine", "memory", "front", "switches", "allocation", "latency", "memory-limit", "growth", "transactions"] : [options.Subcommand];
    if (parts.Length > 1 && (options.Targets ?? options.Workloads) is not null)
    {
        throw new UsageException("--targets and --workloads go with one part, not with all");
    }

    List<Section> sections = [];
    bool passed = true;
    try
    {
        foreach (string part in parts)
        {
            switch (part)
            {
                case "engine":
                    new EngineBench(options).Engine(sections);
                    break;
                case "memory":
                    sections.Add(new EngineBench(options).Memory());
                    break;
                case "front":
                    sections.Add(new FrontBench(options).Run());
                    break;
                case "switches":
                    Keep(new SwitchesBench(options).Run());
                    break;
                case "allocation":
                    Keep(new AllocationBench(options).Run());
                    break;
                case "latency":
                    sections.Add(new LatencyBench(options).Run());
                    break;
                case "memory-limit":
                    Keep(new MemoryLimitBench(options).Run());
                    break;
                case "growth":
                    GrowBench grow = new(options);
                    sections.Add(grow.Grow());
                    sections.Add(grow.OpenClean());
                    sections.Add(grow.Replay());
                    break;
                case "replay":
                    sections.Add(new GrowBench(options).Replay());
                    break;
                case "bulkload":
                    sections.Add(new BulkLoadBench(options).Run());
                    break;
                case "transactions":
                    sections.Add(new TransferBench(options).Run());
                    break;
                case "resp":
                    sections.Add(new RespBench(options).Run());
                    break;
                case "cluster":
                    sections.Add(new ClusterBench(options).Run());
                    break;
                case "transport":
                    sections.Add(new TransportBench(options).Run());
                    break;
                case "catch-up":
                    Keep(new CatchUpBench(options).Run());
                    break;
                case "replicated-log":
                    Keep(new ReplicatedLogBench(options).Run());
                    break;
                case "failover":
                    Keep(new FailoverBench(options).Run());
                    break;
                case "resp-memory":
                    Keep(new RespMemoryBench(options).Run());
                    break;
                case "telemetry":
                    Keep(new TelemetryBench(options).Run());
                    break;
                case "gate":
                    Keep(new GateBench(options).Run());
                    break;
                case "watchers":
                    Keep(new WatchersBench(options).Run());
                    break;
                case "index":
                    Keep(new IndexBench(options).Run());
                    break;
                default:
                    throw new UsageException($"there is no subcommand '{part}'");
            }
        }
    }
    finally
    {
        if (sections.Count > 0)
        {
            Console.Out.Write(options.Markdown ? Report.Markdown(options, sections) : Report.Text(options, sections));
            if (options.JsonFile is not null)
            {
                Report.WriteJson(options.JsonFile, options, sections);
            }
        }
    }

    return passed ? 0 : 1;

    void Keep((Section Section, bool Passed) part)
    {
        sections.Add(part.Section);
        passed &= part.Passed;
    }
}
