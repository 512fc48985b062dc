using System.Text;
using KeyVa.Protocol.Resp;
using KeyVa.Server.Identity;

namespace KeyVa.Server.Resp;

/// <summary>
/// ACL: who there is and what they may do, in Redis's words as far as it has some. Users are changed over the control plane and REST; here they are shown,
/// and may change their own passwords. Stateless.
/// </summary>
internal static class AclCommands
{
    private static readonly string[] Categories = ["keyspace", "read", "write", "string", "pubsub", "admin", "fast", "slow", "dangerous", "connection", "transaction"];

    private const string ChangedElsewhere = "ERR users are changed by 'keyva admin user', over gRPC or over REST, which know all that they may do";

    private static readonly string[] Lines =
    [
        "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CAT [<category>]",
        "    List all commands that belong to <category>, or all command categories",
        "    when no category is specified.",
        "GETUSER <username>",
        "    Get the user's details.",
        "SETUSER <username> <<old password> ><new password>",
        "    Change your own password.",
        "LIST",
        "    Show users details in config file format.",
        "USERS",
        "    List all the registered usernames.",
        "WHOAMI",
        "    Return the current connection username.",
        "HELP",
        "    Prints this help.",
    ];

    public static CommandInfo Acl { get; } = new()
    {
        Name = "acl",
        Arity = -2,
        Flags = CommandFlags.Admin,
        Subcommands =
        [
            new() { Name = "acl|whoami", Arity = 2, Session = static (session, _) => session.Output.Bulk(session.User) },
            new() { Name = "acl|cat", Arity = -2, Session = ListCategories },
            new() { Name = "acl|help", Arity = 2, Session = Help },
            new() { Name = "acl|list", Arity = 2, Flags = CommandFlags.Admin, Session = List },
            new() { Name = "acl|users", Arity = 2, Flags = CommandFlags.Admin, Session = Names },
            new() { Name = "acl|getuser", Arity = 3, Flags = CommandFlags.Admin, Session = Describe },
            new() { Name = "acl|setuser", Arity = -3, Flags = CommandFlags.Admin | CommandFlags.NoMulti, Session = SetUser },
            new() { Name = "acl|deluser", Arity = -3, Flags = CommandFlags.Admin, Session = static (session, _) => session.Output.Error(ChangedElsewhere) },
        ],
    };

    private static void ListCategories(RespSession session, RespCommand command)
    {
        if (command.Count > 3)
        {
            session.Output.Error(RespErrors.UnknownSubcommand(Acl, command));
            return;
        }

        string[] names = Categories;
        if (command.Count == 3)
        {
            string category = Encoding.Latin1.GetString(command[2]).ToLowerInvariant();
            if (!Categories.Contains(category))
            {
                session.Output.Error($"ERR Unknown category '{category}'");
                return;
            }

            names = [.. CommandTable.All.SelectMany(static one => one.Subcommands.Length == 0 ? [one] : one.Subcommands).Where(one => IsIn(one, category)).Select(static one => one.Name)];
        }

        WriteTexts(session.Output, names);
    }

    private static bool IsIn(CommandInfo command, string category)
    {
        Permission permission = command.Permission;
        return category switch
        {
            "keyspace" => KeyCommands.All.Contains(command) || ExpiryCommands.All.Contains(command) || ScanCommands.All.Contains(command),
            "read" => permission is { Plane: Plane.Data, Level: Level.Read } && !command.Is(CommandFlags.PubSub),
            "write" => permission is { Plane: Plane.Data, Level: > Level.Read } && !command.Is(CommandFlags.PubSub),
            "string" => StringCommands.All.Contains(command) || CounterCommands.All.Contains(command),
            "pubsub" => command.Is(CommandFlags.PubSub),
            "admin" or "dangerous" => permission is { Plane: Plane.Control, Level: > Level.None } or { Level: Level.Admin },
            "fast" => command.Is(CommandFlags.Fast),
            "slow" => !command.Is(CommandFlags.Fast),
            "connection" => ConnectionCommands.All.Contains(command) || command.Name.StartsWith("client|", StringComparison.Ordinal),
            _ => TransactionCommands.All.Contains(command),
        };
    }

    private static void Help(RespSession session, RespCommand command)
    {
        session.Output.Array(Lines.Length);
        foreach (string line in Lines)
        {
            session.Output.Simple(Encoding.ASCII.GetBytes(line));
        }
    }

    private static void List(RespSession session, RespCommand command)
    {
        UserDirectory users = session.Door.Users;
        WriteTexts(session.Output, users.IsOpen ? ["user default on nopass ~* &* +@all"] : [.. users.All.Select(Line)]);
    }

    private static void Names(RespSession session, RespCommand command)
    {
        UserDirectory users = session.Door.Users;
        WriteTexts(session.Output, users.IsOpen ? ["default"] : [.. users.All.Select(static user => user.Name)]);
    }

    private static void Describe(RespSession session, RespCommand command)
    {
        UserDirectory users = session.Door.Users;
        string name = Encoding.UTF8.GetString(command[2]);
        User? user = users.Find(name);
        if (user is null && !(users.IsOpen && name == "default"))
        {
            session.Output.Null();
            return;
        }

        // What it proves itself with is shown to nobody.
        session.Output.Map(6);
        session.Output.Bulk("flags"u8);
        WriteTexts(session.Output, user is null ? ["on", "nopass"] : ["on"]);
        session.Output.Bulk("passwords"u8);
        session.Output.Array(0);
        session.Output.Bulk("commands"u8);
        session.Output.Bulk(user is null ? "+@all" : Commands(user));
        session.Output.Bulk("keys"u8);
        session.Output.Bulk(user is null ? "~*" : Keys(user));
        session.Output.Bulk("channels"u8);
        session.Output.Bulk(user is null || user.Data.Highest > Level.None ? "&*" : "");
        session.Output.Bulk("selectors"u8);
        session.Output.Array(0);
    }

    /// <summary>Redis's words for another password in place of one, <c>&lt;old &gt;new</c> in either order, of oneself.</summary>
    private static void SetUser(RespSession session, RespCommand command)
    {
        bool isOwn = command.Count == 5 && session.Caller.User is { } user && Encoding.UTF8.GetString(command[2]) == user.Name;
        int removed = isOwn && command[3].StartsWith("<"u8) ? 3 : 4;
        int added = 7 - removed;
        if (!isOwn || !command[removed].StartsWith("<"u8) || !command[added].StartsWith(">"u8))
        {
            session.Output.Error($"{ChangedElsewhere}; your own password is changed by ACL SETUSER NAME <OLD >NEW");
            return;
        }

        session.Start(ChangePasswordAsync(session, Encoding.UTF8.GetString(command[removed][1..]), Encoding.UTF8.GetString(command[added][1..])));
    }

    private static async Task ChangePasswordAsync(RespSession session, string old, string next)
    {
        Caller caller = session.Caller;
        UserResult result = await session.Door.OwnPassword.ChangeAsync(caller, old, next);
        switch (result.Status)
        {
            case Status.Ok:
                // Whoever came in by the old one has to come in anew; this connection has shown the new one.
                session.Identity.Become(Caller.Of(session.Door.Users, result.User!, result.User!.Password!, caller.Address));
                session.Output.Ok();
                break;
            case Status.RateLimited:
                session.Output.Error(RespErrors.ComeBack(result.RetryAfter));
                break;
            case Status.PermissionDenied:
                session.Output.Error(RespErrors.WrongPassword);
                break;
            default:
                session.Output.Error("ERR " + result.Detail);
                break;
        }
    }

    private static string Line(User user)
    {
        string keys = Keys(user);
        return $"user {user.Name} on {keys}{(keys.Length > 0 ? " " : "")}{(user.Data.Highest > Level.None ? "&* " : "resetchannels ")}{Commands(user)}";
    }

    private static string Commands(User user)
    {
        string keys = user.Data.Highest switch
        {
            Level.Read => "-@all +@read",
            Level.Write => "-@all +@read +@write",
            Level.Admin => "+@all",
            _ => "-@all",
        };
        return user.Control.Highest == Level.Admin || user.Data.Highest == Level.None ? keys : keys + " -@admin";
    }

    /// <summary>In Redis's words: <c>%R~</c> for what may only be read.</summary>
    private static string Keys(User user) => string.Join(' ', user.Grants.Where(static grant => grant.Plane == Plane.Data)
        .Select(static grant => $"{(grant.Level == Level.Read ? "%R~" : "~")}{Escaped(grant.Prefix)}*"));

    private static string Escaped(byte[] prefix)
    {
        StringBuilder text = new();
        foreach (char one in Encoding.Latin1.GetString(prefix))
        {
            if (one is '*' or '?' or '[' or '\\')
            {
                text.Append('\\');
            }

            text.Append(one);
        }

        return text.ToString();
    }

    private static void WriteTexts(RespOutput output, string[] texts)
    {
        output.Array(texts.Length);
        foreach (string text in texts)
        {
            output.Bulk(text);
        }
    }
}
