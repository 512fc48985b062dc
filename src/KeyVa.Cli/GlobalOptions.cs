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

    public Option<string?> Profile { get; } = Text("--profile", $"The profile to use, a name or a path [default: {Cli.Profile.Variable}, or 'default' if there is one]", "NAME");

    public Option<string?> User { get; } = Text("--user", "The user to be; the password is asked for unless a file has it", "NAME", "-u");

    public Option<string?> PasswordFile { get; } = Text("--password-file", "A file with the user's password in its first line", "FILE");

    public Option<string?> TokenFile { get; } = Text("--token-file", "A file with a token in its first line; a token says whose it is", "FILE");

    public Option<string?> Authority { get; } = Text("--ca", "For https:// addresses: the certificates that may vouch for the server (PEM) [default: the system's]", "FILE");

    public Option<string?> Certificate { get; } = Text("--cert", "The client's own certificate (PEM), where the server asks for one", "FILE");

    public Option<string?> CertificateKey { get; } = Text("--key", "Its private key (PEM) [default: in the same file]", "FILE");

    /// <summary>All of those about the connection.</summary>
    public Option<string?>[] OfConnection => [Server, Control, User, PasswordFile, TokenFile, Authority, Certificate, CertificateKey];

    public Option<bool> Json { get; } = new("--json")
    {
        Description = "Write results as JSON, one object per line",
        Recursive = true,
    };

    public Option<bool> NoForward { get; } = new("--no-forward")
    {
        Description = "Of a cluster: refuse what another node leads, and say where that is, instead of asking it",
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

    public ServerAddress ServerOf(ParseResult result) => ServerOf(result, ProfileOf(result));

    public ServerAddress ControlOf(ParseResult result) => ControlOf(result, ProfileOf(result));

    /// <summary>The profile that a command goes by.</summary>
    public Profile ProfileOf(ParseResult result)
    {
        string? fromVariable = Environment.GetEnvironmentVariable(Cli.Profile.Variable);
        return Cli.Profile.Load(result.GetValue(Profile) ?? (string.IsNullOrEmpty(fromVariable) ? null : fromVariable));
    }

    /// <summary>How a command connects: what is given on the command line, else what the profile says. Asks for a password if there is no other way.</summary>
    public RemoteOptions RemoteOf(ParseResult result, Terminal terminal)
    {
        Profile profile = ProfileOf(result);
        string? Find(Option<string?> option) => result.GetValue(option) ?? profile[option.Name[2..]];
        RemoteCredentials? credentials = null;

        // What is typed counts before what is kept: a user named here has nothing to do with a token of the profile.
        string? user = Find(User);
        bool isOther = result.GetValue(User) is { } typed && typed != profile["user"];
        if (Find(TokenFile) is { } tokenFile && !(isOther && result.GetValue(TokenFile) is null))
        {
            credentials = RemoteCredentials.Token(SecretInput.OfFile(tokenFile));
        }
        else if (profile["token"] is { } token && !isOther && result.GetValue(PasswordFile) is null)
        {
            credentials = RemoteCredentials.Token(token);
        }
        else if (user is not null)
        {
            string? file = isOther ? result.GetValue(PasswordFile) : Find(PasswordFile);
            string? kept = isOther ? null : profile["password"];
            credentials = RemoteCredentials.Password(user, file is not null ? SecretInput.OfFile(file) : kept ?? SecretInput.Known(terminal, $"password of {user}"));
        }

        return new RemoteOptions
        {
            Control = ControlOf(result, profile),
            Credentials = credentials,
            Forwards = !result.GetValue(NoForward),
            Tls = new RemoteTls { CertificateAuthorityFile = Find(Authority), CertificateFile = Find(Certificate), KeyFile = Find(CertificateKey) },
        };
    }

    /// <summary>What of the connection is given on the command line, by the names of profiles.</summary>
    public IEnumerable<KeyValuePair<string, string>> Given(ParseResult result)
    {
        foreach (Option<string?> option in OfConnection)
        {
            if (result.GetValue(option) is { } value)
            {
                // A profile is used from other folders too.
                bool isFile = option != Server && option != Control && option != User;
                yield return new(option.Name[2..], isFile ? Path.GetFullPath(value) : value);
            }
        }
    }

    private ServerAddress ServerOf(ParseResult result, Profile profile) =>
        Address(result.GetValue(Server), "--server", ServerVariable, profile["server"], ServerAddress.DataPort) ?? ServerAddress.Parse(ServerAddress.DefaultData);

    private ServerAddress ControlOf(ParseResult result, Profile profile)
    {
        // The control plane that is kept belongs to the server that is.
        bool isKept = result.GetValue(Server) is null && string.IsNullOrEmpty(Environment.GetEnvironmentVariable(ServerVariable));
        return Address(result.GetValue(Control), "--control", ControlVariable, isKept ? profile["control"] : null, ServerAddress.ControlPort) ?? ServerOf(result, profile).Control();
    }

    public KeyEncoding KeyEncodingOf(ParseResult result) => result.GetValue(KeyEncoding) switch
    {
        "hex" => Cli.KeyEncoding.Hex,
        "base64" => Cli.KeyEncoding.Base64,
        _ => Cli.KeyEncoding.Utf8,
    };

    private static Option<string?> Text(string name, string description, string helpName, params string[] aliases) =>
        new(name, aliases) { Description = description, HelpName = helpName, Recursive = true };

    private static ServerAddress? Address(string? option, string name, string variable, string? kept, int port)
    {
        string? fromVariable = Environment.GetEnvironmentVariable(variable);
        string? text = option ?? (string.IsNullOrEmpty(fromVariable) ? null : fromVariable) ?? kept;
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
