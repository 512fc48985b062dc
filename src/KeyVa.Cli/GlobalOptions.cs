using System.CommandLine;
using KeyVa.Client;

namespace KeyVa.Cli;

/// <summary>The options that stand behind every command. Immutable.</summary>
internal sealed class GlobalOptions
{
    /// <summary>Names the server where no option does.</summary>
    public const string ServerVariable = "KEYVA_SERVER";

    /// <summary>Names its control plane where no option does.</summary>
    public const string ControlVariable = "KEYVA_CONTROL";

    public Option<string?> Server { get; } = new("--server", "-s")
    {
        Description = $"The server's data plane, HOST:PORT [default: {ServerVariable} or {ServerAddress.DefaultData}]",
        HelpName = "ADDRESS",
        Recursive = true,
    };

    public Option<string?> Control { get; } = new("--control")
    {
        Description = $"The server's control plane, HOST:PORT [default: {ControlVariable} or the port behind the data plane's]",
        HelpName = "ADDRESS",
        Recursive = true,
    };

    public Option<bool> Json { get; } = new("--json")
    {
        Description = "Write results as JSON, one object per line",
        Recursive = true,
    };

    public Option<string> KeyEncoding { get; } = Choice("--key-encoding", "How keys are written on the command line", "utf8", "hex", "base64");

    /// <summary>An option that takes one of several words; the first is the default.</summary>
    public static Option<string> Choice(string name, string description, params string[] words)
    {
        Option<string> option = new(name)
        {
            Description = description,
            HelpName = string.Join('|', words),
            Recursive = name == "--key-encoding",
            DefaultValueFactory = _ => words[0],
        };
        option.AcceptOnlyFromAmong(words);
        return option;
    }

    public ServerAddress ServerOf(ParseResult result) =>
        Address(result.GetValue(Server), "--server", ServerVariable, ServerAddress.DataPort) ?? ServerAddress.Parse(ServerAddress.DefaultData);

    public ServerAddress ControlOf(ParseResult result) =>
        Address(result.GetValue(Control), "--control", ControlVariable, ServerAddress.ControlPort) ?? ServerOf(result).Control();

    public KeyEncoding KeyEncodingOf(ParseResult result) => result.GetValue(KeyEncoding) switch
    {
        "hex" => Cli.KeyEncoding.Hex,
        "base64" => Cli.KeyEncoding.Base64,
        _ => Cli.KeyEncoding.Utf8,
    };

    private static ServerAddress? Address(string? option, string name, string variable, int port)
    {
        string? fromVariable = Environment.GetEnvironmentVariable(variable);
        string? text = option ?? (string.IsNullOrEmpty(fromVariable) ? null : fromVariable);
        if (text is null)
        {
            return null;
        }

        try
        {
            return ServerAddress.Parse(text, port);
        }
        catch (FormatException wrong)
        {
            throw CommandException.Usage($"{(option is null ? variable : name)}: {wrong.Message}");
        }
    }
}
