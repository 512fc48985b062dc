using System.CommandLine;
using System.Text.Json;
using KeyVa.Client;
using KeyVa.Server.Identity;

namespace KeyVa.Cli;

/// <summary><c>admin user add|list|remove|grant|passwd|token|cert|whoami</c>: the users of a server, over its control plane. Stateless.</summary>
internal static class UserCommands
{
    public static Command Create(Session session)
    {
        Command user = new("user", "Users: who may come in, and what each may do. The first one must get 'admin'; from then on everybody has to prove who it is");
        user.Subcommands.Add(CreateAdd(session));
        user.Subcommands.Add(CommandTree.Command(session, "list", "List the users with what they may do", [], ListAsync));
        user.Subcommands.Add(CreateRemove(session));
        user.Subcommands.Add(CreateGrant(session));
        user.Subcommands.Add(CreatePassword(session));
        user.Subcommands.Add(CreateToken(session));
        user.Subcommands.Add(CreateCertificates(session));
        user.Subcommands.Add(CommandTree.Command(session, "whoami", "Tell who you are to the server", [], WhoAmIAsync));
        return user;
    }

    private static Argument<string> Name() => new("NAME") { Description = $"The user: {User.NameForms}" };

    private static Option<string[]> GrantOption() => new("--grant")
    {
        Description = $"What it may do: {Grant.Forms}; may be given several times",
        HelpName = "GRANT",
        AllowMultipleArgumentsPerToken = true,
    };

    private static Option<string?> NewPasswordFile() => new("--new-password-file") { Description = "A file with the new password in its first line [default: it is asked for, or read from the standard input]", HelpName = "FILE" };

    private static Command CreateAdd(Session session)
    {
        Argument<string> name = Name();
        Option<string[]> grants = GrantOption();
        Option<string?> file = NewPasswordFile();
        Option<bool> none = new("--no-password") { Description = "Without a password: for users that come with a token or a certificate" };
        Option<string[]> certificates = new("--cert-name") { Description = $"A client certificate that is this user: {CertificateName.Forms}", HelpName = "NAME" };
        return CommandTree.Command(session, "add", "Add a user, with a password unless told otherwise", [name, grants, file, none, certificates], async invocation =>
        {
            IReadOnlyList<RemoteGrant> rights = Read(invocation, invocation.Get(grants));
            string? password = invocation.Get(none) ? null : NewPassword(invocation, file);
            RemoteUser added = await invocation.Control.Users.AddAsync(invocation.Get(name), rights, password, invocation.Get(certificates), invocation.Cancellation);
            return Finish(invocation, added, "added");
        });
    }

    private static Command CreateRemove(Session session)
    {
        Argument<string> name = Name();
        return CommandTree.Command(session, "remove", "Remove a user", [name], async invocation =>
        {
            await invocation.Control.Users.RemoveAsync(invocation.Get(name), invocation.Cancellation);
            if (!invocation.Json)
            {
                invocation.Terminal.Out.WriteLine($"user {invocation.Get(name)}: removed");
            }

            return ExitCode.Done;
        });
    }

    private static Command CreateGrant(Session session)
    {
        Argument<string> name = Name();
        Argument<string[]> grants = new("GRANT") { Description = Grant.Forms, Arity = ArgumentArity.ZeroOrMore };
        return CommandTree.Command(session, "grant", "Say what a user may do, in place of what it may until now; nothing: nothing at all", [name, grants], async invocation =>
            Finish(invocation, await invocation.Control.Users.SetGrantsAsync(invocation.Get(name), Read(invocation, invocation.Get(grants)), invocation.Cancellation), "granted"));
    }

    private static Command CreatePassword(Session session)
    {
        Argument<string?> name = new("NAME") { Description = "The user [default: you, for which the old password is asked]", Arity = ArgumentArity.ZeroOrOne };
        Option<string?> file = NewPasswordFile();
        Option<string?> oldFile = new("--old-password-file") { Description = "Of your own: a file with the password until now in its first line [default: it is asked for]", HelpName = "FILE" };
        Option<bool> none = new("--none") { Description = "Take the password away" };
        return CommandTree.Command(session, "passwd", "Give a user, or yourself, another password; whoever came in by the old one has to come in anew", [name, file, oldFile, none], async invocation =>
        {
            string? user = invocation.Get(name);
            if (user is null ? invocation.Get(none) : invocation.Get(oldFile) is not null)
            {
                throw CommandException.Usage(user is null
                    ? "your own password can be changed, not taken away; name the user whose password is to go"
                    : "the old password is asked for one's own alone; leave NAME away");
            }

            if (user is null)
            {
                string old = invocation.Get(oldFile) is { } path ? SecretInput.OfFile(path) : SecretInput.Known(invocation.Terminal, "old password", "--old-password-file");
                return Finish(invocation, await invocation.Control.Users.ChangeOwnPasswordAsync(old, NewPassword(invocation, file), invocation.Cancellation), "has another password");
            }

            string? password = invocation.Get(none) ? null : NewPassword(invocation, file);
            return Finish(invocation, await invocation.Control.Users.SetPasswordAsync(user, password, invocation.Cancellation), "has another password");
        });
    }

    private static Command CreateToken(Session session)
    {
        Argument<string> name = Name();
        Argument<string> token = new("TOKEN") { Description = "What the token is called" };
        Option<bool> remove = new("--remove") { Description = "End the token" };
        Option<string?> output = new("--output") { Description = "Write the token to this file, which only you can read [default: to the standard output]", HelpName = "FILE" };
        return CommandTree.Command(session, "token", "Make a token of a user, which is shown once, or end one", [name, token, remove, output], async invocation =>
        {
            if (invocation.Get(remove))
            {
                await invocation.Control.Users.RemoveTokenAsync(invocation.Get(name), invocation.Get(token), invocation.Cancellation);
                invocation.Terminal.Say($"the token '{invocation.Get(token)}' has ended");
                return ExitCode.Done;
            }

            string secret = await invocation.Control.Users.AddTokenAsync(invocation.Get(name), invocation.Get(token), invocation.Cancellation);
            if (invocation.Get(output) is { } path)
            {
                await using StreamWriter file = new(PrivateFile.Create(path));
                await file.WriteAsync(secret + "\n");
            }
            else if (invocation.Json)
            {
                invocation.WriteJson(json => json.WriteString("token"u8, secret));
            }
            else
            {
                invocation.Terminal.Out.WriteLine(secret);
            }

            return ExitCode.Done;
        });
    }

    private static Command CreateCertificates(Session session)
    {
        Argument<string> name = Name();
        Argument<string[]> certificates = new("CERTIFICATE") { Description = CertificateName.Forms, Arity = ArgumentArity.ZeroOrMore };
        return CommandTree.Command(session, "cert", "Say which client certificates are a user, in place of those that are; nothing: none", [name, certificates], async invocation =>
            Finish(invocation, await invocation.Control.Users.SetCertificatesAsync(invocation.Get(name), invocation.Get(certificates), invocation.Cancellation), "certificates set"));
    }

    private static async Task<int> ListAsync(Invocation invocation)
    {
        IReadOnlyList<RemoteUser> users = await invocation.Control.Users.ListAsync(invocation.Cancellation);
        if (invocation.Json)
        {
            foreach (RemoteUser user in users)
            {
                invocation.WriteJson(json => WriteProperties(json, user));
            }

            return ExitCode.Done;
        }

        if (users.Count == 0)
        {
            invocation.Terminal.Say("there are no users: everybody who reaches the server may do everything. 'keyva admin user add NAME --grant admin' ends that");
            return ExitCode.Done;
        }

        Table.Write(invocation.Terminal, ["USER", "GRANTS", "PASSWORD", "TOKENS", "CERTIFICATES"], users.Select(user => new[]
        {
            user.Name,
            string.Join(' ', user.Grants.Select(grant => Text(invocation, grant))),
            user.HasPassword ? "yes" : "-",
            user.Tokens.Count == 0 ? "-" : string.Join(' ', user.Tokens.Select(static token => token.Name + (token.IsOneTime ? " (one time)" : ""))),
            user.Certificates.Count == 0 ? "-" : string.Join(' ', user.Certificates),
        }));
        return ExitCode.Done;
    }

    private static async Task<int> WhoAmIAsync(Invocation invocation)
    {
        if (await invocation.Control.Users.WhoAmIAsync(invocation.Cancellation) is { } user)
        {
            return Finish(invocation, user, "may", withGrants: true);
        }

        invocation.Terminal.Say("the server has no users: you may do everything");
        return ExitCode.Done;
    }

    private static string NewPassword(Invocation invocation, Option<string?> file) =>
        invocation.Get(file) is { } path ? SecretInput.OfFile(path) : SecretInput.New(invocation.Terminal, "password");

    private static List<RemoteGrant> Read(Invocation invocation, string[]? texts)
    {
        List<RemoteGrant> grants = [];
        foreach (string text in texts ?? [])
        {
            List<Grant> read = [];
            if (!Grant.TryParse(text, read, out string? wrong))
            {
                throw CommandException.Usage(wrong);
            }

            string? prefix = text.Split(':', 3) is [_, _, var part] ? part : null;
            grants.AddRange(read.Select(one => new RemoteGrant(
                Grant.Word(one.Plane), Grant.Word(one.Level), prefix is null ? default : KeyText.Parse(prefix, invocation.KeyEncoding, "the prefix"))));
        }

        return grants;
    }

    private static int Finish(Invocation invocation, RemoteUser user, string done, bool withGrants = false)
    {
        if (invocation.Json)
        {
            invocation.WriteJson(json => WriteProperties(json, user));
        }
        else
        {
            string grants = user.Grants.Count == 0 ? "nothing" : string.Join(' ', user.Grants.Select(grant => Text(invocation, grant)));
            invocation.Terminal.Out.WriteLine($"user {user.Name}: {done}{(withGrants ? " " : "; may ")}{grants}");
        }

        return ExitCode.Done;
    }

    private static string Text(Invocation invocation, RemoteGrant grant) =>
        $"{grant.Plane}:{grant.Role}{(grant.Prefix.IsEmpty ? "" : ":" + KeyText.Format(grant.Prefix.Span, invocation.KeyEncoding))}";

    private static void WriteProperties(Utf8JsonWriter json, RemoteUser user)
    {
        json.WriteString("name"u8, user.Name);
        json.WriteStartArray("grants"u8);
        foreach (RemoteGrant grant in user.Grants)
        {
            json.WriteStartObject();
            json.WriteString("plane"u8, grant.Plane);
            json.WriteString("role"u8, grant.Role);
            RecordJson.WriteBytes(json, "prefix"u8, "prefix64"u8, grant.Prefix.Span);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteBoolean("has_password"u8, user.HasPassword);
        json.WriteStartArray("tokens"u8);
        foreach (RemoteToken token in user.Tokens)
        {
            json.WriteStringValue(token.Name);
        }

        json.WriteEndArray();
        json.WriteStartArray("certificates"u8);
        foreach (string certificate in user.Certificates)
        {
            json.WriteStringValue(certificate);
        }

        json.WriteEndArray();
    }
}
