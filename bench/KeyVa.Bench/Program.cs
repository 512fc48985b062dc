using KeyVa.Bench;

try
{
    BenchOptions options = BenchOptions.Parse(args);
    EngineBench engine = new(options);
    List<Section> sections = options.Subcommand switch
    {
        "engine" => [engine.Engine()],
        "memory" => [engine.Memory()],
        _ => throw new UsageException($"there is no subcommand '{options.Subcommand}'"),
    };
    Console.Out.Write(options.Markdown ? Report.Markdown(options, sections) : Report.Text(options, sections));
    if (options.JsonFile is not null)
    {
        Report.WriteJson(options.JsonFile, options, sections);
    }

    return 0;
}
catch (UsageException e)
{
    Console.Error.WriteLine($"{e.Message}\n\n{BenchOptions.Usage}");
    return 2;
}
