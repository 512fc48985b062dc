using System.Globalization;
using KeyVa.Bench;
using KeyVa.Bench.Front;

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
        case GrowBench.FillRole:
            GrowBench.FillUntilKilled(args.AsSpan(1));
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
    string[] parts = options.Subcommand == "all" ? ["engine", "memory", "front", "switches", "grow"] : [options.Subcommand];
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
                    sections.Add(new EngineBench(options).Engine());
                    break;
                case "memory":
                    sections.Add(new EngineBench(options).Memory());
                    break;
                case "front":
                    sections.Add(new FrontBench(options).Run());
                    break;
                case "switches":
                    (Section section, passed) = new SwitchesBench(options).Run();
                    sections.Add(section);
                    break;
                case "grow":
                    GrowBench grow = new(options);
                    sections.Add(grow.Grow());
                    sections.Add(grow.Restart());
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
}
