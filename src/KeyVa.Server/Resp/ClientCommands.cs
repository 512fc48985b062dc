using System.Globalization;
using System.Text;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>CLIENT. Stateless.</summary>
internal static class ClientCommands
{
    public static CommandInfo Client { get; } = new()
    {
        Name = "client",
        Arity = -2,
        Subcommands =
        [
            new() { Name = "client|id", Arity = 2, Session = static (session, _) => session.Output.Integer(session.Id) },
            new() { Name = "client|getname", Arity = 2, Session = GetName },
            new() { Name = "client|setname", Arity = 3, Session = SetName },
            new() { Name = "client|list", Arity = -2, Session = List },
            new() { Name = "client|info", Arity = 2, Session = static (session, _) => session.Output.Verbatim(Describe(session, session)) },
            new() { Name = "client|kill", Arity = -3, Session = Kill },
            new() { Name = "client|reply", Arity = 3, Session = Reply },
            new() { Name = "client|no-evict", Arity = 3, Session = NoEvict },
        ],
    };

    /// <summary>Takes a name; false: it has a character that CLIENT LIST could not show, and that was replied.</summary>
    public static bool TrySetName(RespSession session, ReadOnlySpan<byte> name)
    {
        if (name.IndexOfAnyExceptInRange((byte)'!', (byte)'~') >= 0)
        {
            session.Output.Error("ERR Client names cannot contain spaces, newlines or special characters.");
            return false;
        }

        session.Name = Encoding.ASCII.GetString(name);
        return true;
    }

    private static void GetName(RespSession session, RespCommand command)
    {
        if (session.Name.Length == 0)
        {
            session.Output.Null();
        }
        else
        {
            session.Output.Bulk(session.Name);
        }
    }

    private static void SetName(RespSession session, RespCommand command)
    {
        if (TrySetName(session, command[2]))
        {
            session.Output.Ok();
        }
    }

    private static void List(RespSession session, RespCommand command)
    {
        IEnumerable<RespSession> shown = session.Door.Sessions;
        if (command.Count > 2)
        {
            if (command.Count < 4 || !Ascii.EqualsIgnoreCase(command[2], "id"u8))
            {
                session.Output.Error(RespErrors.Syntax);
                return;
            }

            HashSet<long> numbers = [];
            for (int i = 3; i < command.Count; i++)
            {
                if (!RespNumber.TryRead(command[i], out long number))
                {
                    session.Output.Error("ERR Invalid client ID");
                    return;
                }

                numbers.Add(number);
            }

            shown = shown.Where(one => numbers.Contains(one.Id));
        }

        session.Output.Verbatim(string.Concat(shown.OrderBy(static one => one.Id).Select(one => Describe(one, session))));
    }

    private static string Describe(RespSession one, RespSession asking)
    {
        string kind = one.Subscriptions.Count > 0 ? "P" : one.Transaction.IsQueuing ? "x" : "N";
        int queued = one.Transaction.IsQueuing ? one.Transaction.Queued : -1;
        return string.Create(
            CultureInfo.InvariantCulture,
            $"id={one.Id} addr={one.Peer} name={one.Name} age={(asking.Door.Now() - one.Created) / 1000} flags={kind} db=0 sub={one.Subscriptions.Channels} psub={one.Subscriptions.Patterns} multi={queued} watch={one.Transaction.Watched} omem={one.Output.Length} cmd={one.LastCommand.Name} user={one.User} resp={one.Output.Version}\n");
    }

    private static void Kill(RespSession session, RespCommand command)
    {
        if (command.Count == 3)
        {
            string address = Encoding.Latin1.GetString(command[2]);
            RespSession? found = session.Door.Sessions.FirstOrDefault(one => one.Peer == address);
            if (found is null)
            {
                session.Output.Error("ERR No such client");
                return;
            }

            End(found, session);
            session.Output.Ok();
            return;
        }

        if (!Filter.TryParse(session, command, out Filter filter, out string? error))
        {
            session.Output.Error(error!);
            return;
        }

        RespSession[] killed = [.. session.Door.Sessions.Where(one => filter.Takes(one, session))];
        foreach (RespSession one in killed)
        {
            End(one, session);
        }

        session.Output.Integer(killed.Length);
    }

    // Its own connection has the reply still to send.
    private static void End(RespSession one, RespSession asking)
    {
        if (one == asking)
        {
            one.IsClosing = true;
        }
        else
        {
            one.Kill();
        }
    }

    private static void Reply(RespSession session, RespCommand command)
    {
        if (Ascii.EqualsIgnoreCase(command[2], "on"u8))
        {
            session.IsSilent = false;
            session.SkippedReplies = 0;
            session.Output.Ok();
        }
        else if (Ascii.EqualsIgnoreCase(command[2], "off"u8))
        {
            session.IsSilent = true;
        }
        else if (Ascii.EqualsIgnoreCase(command[2], "skip"u8))
        {
            session.SkippedReplies = session.IsSilent ? 0 : 2;
        }
        else
        {
            session.Output.Error(RespErrors.Syntax);
        }
    }

    /// <summary>Nothing is evicted here, so either is as it is.</summary>
    private static void NoEvict(RespSession session, RespCommand command)
    {
        if (Ascii.EqualsIgnoreCase(command[2], "on"u8) || Ascii.EqualsIgnoreCase(command[2], "off"u8))
        {
            session.Output.Ok();
        }
        else
        {
            session.Output.Error(RespErrors.Syntax);
        }
    }

    private readonly record struct Filter(long Id, string? Address, string? User, bool SkipsItself, bool? IsSubscribed)
    {
        public static bool TryParse(RespSession asking, RespCommand command, out Filter filter, out string? error)
        {
            filter = new Filter { SkipsItself = true };
            error = (command.Count & 1) == 0 ? null : RespErrors.Syntax;
            for (int i = 2; i + 1 < command.Count && error is null; i += 2)
            {
                string value = Encoding.Latin1.GetString(command[i + 1]);
                if (Ascii.EqualsIgnoreCase(command[i], "id"u8))
                {
                    error = RespNumber.TryRead(command[i + 1], out long id) && id > 0 ? null : "ERR client-id should be greater than 0";
                    filter = filter with { Id = id };
                }
                else if (Ascii.EqualsIgnoreCase(command[i], "addr"u8))
                {
                    filter = filter with { Address = value };
                }
                else if (Ascii.EqualsIgnoreCase(command[i], "user"u8))
                {
                    filter = filter with { User = value };
                    error = value == asking.User || (asking.Door.Users.IsOpen ? value == "default" : asking.Door.Users.Find(value) is not null) ? null : $"ERR No such user '{value}'";
                }
                else if (Ascii.EqualsIgnoreCase(command[i], "skipme"u8) && value.ToUpperInvariant() is "YES" or "NO")
                {
                    filter = filter with { SkipsItself = value.Length == 3 };
                }
                else if (Ascii.EqualsIgnoreCase(command[i], "type"u8))
                {
                    string kind = value.ToUpperInvariant();
                    filter = filter with { IsSubscribed = kind == "PUBSUB" };
                    error = kind is "PUBSUB" or "NORMAL" ? null : $"ERR Unknown client type '{value}'";
                }
                else
                {
                    error = RespErrors.Syntax;
                }
            }

            return error is null;
        }

        public bool Takes(RespSession one, RespSession asking) =>
            (Id == 0 || one.Id == Id)
            && (Address is null || one.Peer == Address)
            && (User is null || one.User == User)
            && (IsSubscribed is null || one.Subscriptions.Count > 0 == IsSubscribed)
            && !(SkipsItself && one == asking);
    }
}
