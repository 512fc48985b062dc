using System.CommandLine;
using KeyVa.Server;

namespace KeyVa.Cli;

/// <summary><c>serve</c>: runs a server until it is told to stop. Stateless.</summary>
internal static class ServeCommand
{
    public static Command Create(Session session)
    {
        Option<string?> config = new("--config")
        {
            Description = $"The configuration file [default: {ServerConfiguration.DefaultFile}, if it is there; {ServerConfiguration.FileVariable}]",
            HelpName = "FILE",
        };
        List<Option<string?>> settings = [.. SettingsSchema.All.Select(ToOption)];
        return CommandTree.Command(
            session,
            "serve",
            "Run a server until Ctrl-C or SIGTERM. A flag wins over the environment, that over the configuration file",
            [config, .. settings],
            invocation =>
            {
                Dictionary<string, string> flags = new(StringComparer.Ordinal);
                foreach (Option<string?> option in settings)
                {
                    if (invocation.Result.GetResult(option) is { Implicit: false })
                    {
                        // A switch without a value is on.
                        flags[option.Name] = invocation.Get(option) ?? "true";
                    }
                }

                return RunAsync(invocation, flags, invocation.Get(config));
            });
    }

    private static Option<string?> ToOption(Setting setting) => new(setting.Flag)
    {
        Description = $"{setting.Description} [default: {setting.Default}; {setting.EnvironmentVariable}]",
        HelpName = setting.Kind switch
        {
            SettingKind.Switch => "true|false",
            SettingKind.Number => "N",
            SettingKind.Size => "SIZE",
            SettingKind.Duration => "TIME",
            _ => "VALUE",
        },
        Arity = setting.Kind == SettingKind.Switch ? ArgumentArity.ZeroOrOne : ArgumentArity.ExactlyOne,
    };

    private static async Task<int> RunAsync(Invocation invocation, Dictionary<string, string> flags, string? config)
    {
        ServerOptions options = ServerConfiguration.Load(flags, config);
        invocation.Session.Interrupts.BePatient();
        await using KeyVaServer server = await KeyVaServer.StartAsync(options, invocation.Cancellation);
        foreach (string line in server.Banner(Program()))
        {
            invocation.Terminal.Out.WriteLine(line);
        }

        invocation.Terminal.Flush();
        await using ServiceNotifier notifier = ServiceNotifier.Ready();
        await server.WaitForShutdownAsync(invocation.Cancellation);
        return ExitCode.Done;
    }

    /// <summary>How this program is called from here: by name if it is on the PATH, else by its path.</summary>
    private static string Program()
    {
        string path = Environment.ProcessPath ?? "keyva";
        string[] folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator);
        if (folders.Any(folder => Path.Combine(folder, "keyva") == path))
        {
            return "keyva";
        }

        string relative = Path.GetRelativePath(Environment.CurrentDirectory, path);
        return relative.StartsWith("..", StringComparison.Ordinal) ? path : $"./{relative}";
    }
}
