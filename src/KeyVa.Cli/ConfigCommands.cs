using System.CommandLine;
using KeyVa.Client;
using KeyVa.Server;

namespace KeyVa.Cli;

/// <summary><c>config</c>: the settings of a server, as they count and where they come from; changing them; and their reference. Stateless.</summary>
internal static class ConfigCommands
{
    public static Command Create(Session session)
    {
        Command config = new("config", "Show and change the settings of a server");
        config.Subcommands.Add(CreateShow(session));
        config.Subcommands.Add(CreateSet(session));
        config.Subcommands.Add(CommandTree.Command(
            session, "reference", "Print the page about all settings, docs/configuration.md, from this program's own table", [], PrintReferenceAsync));
        return config;
    }

    private static Command CreateShow(Session session)
    {
        Argument<string?> name = new("NAME") { Description = "One setting alone", Arity = ArgumentArity.ZeroOrOne };
        Option<bool> offline = new("--offline") { Description = "Of a server that would be started here and now, with the file and the environment, instead of one that runs" };
        Option<string?> file = new("--config") { Description = "With --offline: the configuration file", HelpName = "FILE" };
        Option<bool> changed = new("--changed") { Description = "Only what is not the default" };
        return CommandTree.Command(
            session,
            "show",
            "Show every setting with its value and where that comes from: default, file, environment, flag or run time",
            [name, offline, file, changed],
            invocation => ShowAsync(invocation, invocation.Get(name), invocation.Get(offline), invocation.Get(file), invocation.Get(changed)));
    }

    private static Command CreateSet(Session session)
    {
        Argument<string> name = new("NAME") { Description = "The setting" };
        Argument<string> value = new("VALUE") { Description = "Its value, as in the configuration file" };
        return CommandTree.Command(
            session,
            "set",
            "Change a setting of a running server, if it is one that can be, until the server stops",
            [name, value],
            invocation => SetAsync(invocation, invocation.Get(name), invocation.Get(value)));
    }

    private static async Task<int> ShowAsync(Invocation invocation, string? name, bool offline, string? file, bool changedOnly)
    {
        if (file is not null && !offline)
        {
            throw CommandException.Usage("--config goes with --offline: a server that runs has its own");
        }

        IReadOnlyList<RemoteSetting> settings = offline
            ? Offline(name, file)
            : await invocation.Control.ListSettingsAsync(name, invocation.Cancellation);
        IEnumerable<RemoteSetting> shown = settings.Where(setting => !changedOnly || setting.Source != "default");
        if (invocation.Json)
        {
            foreach (RemoteSetting setting in shown)
            {
                WriteJson(invocation, setting, detail: null);
            }

            return ExitCode.Done;
        }

        Table.Write(
            invocation.Terminal,
            ["SETTING", "VALUE", "SOURCE", "RUN TIME"],
            shown.Select(static setting => new[] { setting.Name, setting.Value, setting.Source, setting.Changeable ? "changeable" : "" }));
        return ExitCode.Done;
    }

    private static RemoteSetting[] Offline(string? name, string? file)
    {
        ServerOptions options = ServerConfiguration.Load(new Dictionary<string, string>(), file);
        RemoteSetting[] settings =
        [
            .. EffectiveSetting.All(options).Where(one => name is null || one.Setting.Name == name).Select(static one => new RemoteSetting(
                one.Setting.Name, one.Value, one.Source, one.Setting.Default, one.Setting.Allowed, one.Setting.Description, one.Setting.ChangeableAtRunTime)),
        ];
        return settings.Length > 0 ? settings : throw CommandException.Usage($"there is no setting '{name}'; 'keyva config show --offline' lists them");
    }

    private static async Task<int> SetAsync(Invocation invocation, string name, string value)
    {
        RemoteSettingChange change = await invocation.Control.ChangeSettingAsync(name, value, invocation.Cancellation);
        if (invocation.Json)
        {
            WriteJson(invocation, change.Setting, change.Detail);
            return ExitCode.Done;
        }

        invocation.Terminal.Out.WriteLine($"{change.Setting.Name} = {change.Setting.Value}");
        invocation.Terminal.Flush();
        invocation.Terminal.Say(change.Detail);
        return ExitCode.Done;
    }

    private static Task<int> PrintReferenceAsync(Invocation invocation)
    {
        invocation.Terminal.Out.Write(ConfigurationReference.Markdown());
        return Task.FromResult(ExitCode.Done);
    }

    private static void WriteJson(Invocation invocation, RemoteSetting setting, string? detail) => invocation.WriteJson(json =>
    {
        json.WriteString("name"u8, setting.Name);
        json.WriteString("value"u8, setting.Value);
        json.WriteString("source"u8, setting.Source);
        json.WriteString("default"u8, setting.Default);
        json.WriteString("allowed"u8, setting.Allowed);
        json.WriteString("description"u8, setting.Description);
        json.WriteBoolean("changeable"u8, setting.Changeable);
        if (detail is not null)
        {
            json.WriteString("detail"u8, detail);
        }
    });
}
