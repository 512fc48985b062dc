using System.CommandLine;

namespace KeyVa.Cli;

/// <summary><c>profile save</c>, <c>profile list</c>: what is kept so that it need not be typed. Stateless.</summary>
internal static class ProfileCommands
{
    public static Command Create(Session session)
    {
        Command profile = new("profile", $"Profiles: addresses, user and TLS files under a name, for --profile or {Profile.Variable}; the one called 'default' is taken without");
        Argument<string> name = new("NAME") { Description = "What it is called, or a path with a slash in it" };
        profile.Subcommands.Add(CommandTree.Command(
            session, "save", "Keep the options given beside (--server, --user, --token-file, --ca, ...) in a file that only you can read", [name], invocation => Save(invocation, invocation.Get(name))));
        profile.Subcommands.Add(CommandTree.Command(session, "list", "List the profiles that have names", [], invocation =>
        {
            foreach (string one in Profile.List())
            {
                invocation.Terminal.Out.WriteLine(one);
            }

            return Task.FromResult(ExitCode.Done);
        }));
        return profile;
    }

    private static Task<int> Save(Invocation invocation, string name)
    {
        KeyValuePair<string, string>[] given = [.. invocation.Session.Options.Given(invocation.Result)];
        if (given.Length == 0)
        {
            throw CommandException.Usage("there is nothing to keep: give --server, --control, --user, --password-file, --token-file, --ca, --cert or --key");
        }

        invocation.Terminal.Out.WriteLine(Profile.Save(name, given));
        return Task.FromResult(ExitCode.Done);
    }
}
