using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>Commands that read and write values. Stateless.</summary>
internal static class StringCommands
{
    public static CommandInfo[] All { get; } =
    [
        new() { Name = "get", Arity = 2, Flags = CommandFlags.ReadOnly | CommandFlags.Fast, FirstKey = 1, LastKey = 1, Data = Get },
        new() { Name = "set", Pipelines = StringWrites.Pipelines, Arity = -3, Flags = CommandFlags.Write, FirstKey = 1, LastKey = 1, Session = StringWrites.Set, Data = Set },
        new() { Name = "setnx", Pipelines = static (_, _) => true, Arity = 3, Flags = CommandFlags.Write | CommandFlags.Fast, FirstKey = 1, LastKey = 1, Session = StringWrites.SetIfAbsent, Data = SetIfAbsent },
        new() { Name = "setex", Pipelines = static (_, _) => true, Arity = 4, Flags = CommandFlags.Write, FirstKey = 1, LastKey = 1, Session = StringWrites.SetWithExpiry, Data = SetWithExpiry },
        new() { Name = "psetex", Pipelines = static (_, _) => true, Arity = 4, Flags = CommandFlags.Write, FirstKey = 1, LastKey = 1, Session = StringWrites.SetWithExpiry, Data = SetWithExpiry },
        new() { Name = "getset", Arity = 3, Flags = CommandFlags.Write | CommandFlags.Fast, FirstKey = 1, LastKey = 1, Data = GetSet },
        new() { Name = "getdel", Arity = 2, Flags = CommandFlags.Write | CommandFlags.Fast, FirstKey = 1, LastKey = 1, Data = GetDelete },
        new() { Name = "getex", Arity = -2, Flags = CommandFlags.Write | CommandFlags.Fast, FirstKey = 1, LastKey = 1, Data = GetWithExpiry },
        new() { Name = "mget", Arity = -2, Flags = CommandFlags.ReadOnly | CommandFlags.Fast, FirstKey = 1, LastKey = -1, Data = GetMany },
        new() { Name = "mset", Pipelines = static (session, _) => session.Door.HasOnePartition, Arity = -3, Flags = CommandFlags.Write, FirstKey = 1, LastKey = -1, KeyStep = 2, Session = StringWrites.SetMany, Data = SetMany },
        new() { Name = "msetnx", Arity = -3, Flags = CommandFlags.Write, FirstKey = 1, LastKey = -1, KeyStep = 2, Data = SetManyIfAbsent },
        new() { Name = "append", Pipelines = static (_, _) => true, Arity = 3, Flags = CommandFlags.Write | CommandFlags.Fast, FirstKey = 1, LastKey = 1, Session = StringWrites.Append, Data = Append },
        new() { Name = "strlen", Arity = 2, Flags = CommandFlags.ReadOnly | CommandFlags.Fast, FirstKey = 1, LastKey = 1, Data = Length },
        new() { Name = "getrange", Arity = 4, Flags = CommandFlags.ReadOnly, FirstKey = 1, LastKey = 1, Data = GetRange },
        new() { Name = "substr", Arity = 4, Flags = CommandFlags.ReadOnly, FirstKey = 1, LastKey = 1, Data = GetRange },
        new() { Name = "setrange", Arity = 4, Flags = CommandFlags.Write, FirstKey = 1, LastKey = 1, Data = SetRange },
        new() { Name = "lcs", Arity = -3, Flags = CommandFlags.ReadOnly, FirstKey = 1, LastKey = 2, Data = LcsCommand.Run },
    ];

    private static void Get(DataCall call, RespCommand command) => ReplyValue(call, command[1]);

    private static bool ReplyValue(DataCall call, ReadOnlySpan<byte> key)
    {
        using ValueLease lease = call.Read(key);
        if (lease.Found)
        {
            call.Output.Bulk(lease.Value);
        }
        else
        {
            call.Output.Null();
        }

        return lease.Found;
    }

    private static void GetMany(DataCall call, RespCommand command)
    {
        call.Output.Array(command.Count - 1);
        for (int i = 1; i < command.Count; i++)
        {
            ReplyValue(call, command[i]);
        }
    }

    private static void Length(DataCall call, RespCommand command)
    {
        using ValueLease lease = call.Read(command[1]);
        call.Output.Integer(lease.Value.Length);
    }

    private static void Set(DataCall call, RespCommand command)
    {
        if (!SetOptions.TryParse(command, 3, isGetEx: false, out SetOptions options))
        {
            call.Output.Error(RespErrors.Syntax);
            return;
        }

        if (!options.TryMoment(command, call.Now, "set", out long expiresAt, out string? error))
        {
            call.Output.Error(error!);
            return;
        }

        bool exists;
        using (ValueLease lease = call.Read(command[1]))
        {
            exists = lease.Found;
            if (options.KeepTtl)
            {
                expiresAt = lease.ExpiresAtUnixMilliseconds;
            }

            if (options.Get && exists)
            {
                call.Output.Bulk(lease.Value);
            }
            else if (options.Get)
            {
                call.Output.Null();
            }
        }

        bool writes = exists ? !options.IfAbsent : !options.IfPresent;
        if (writes)
        {
            call.Put(command[1], command[2], expiresAt);
        }

        if (!options.Get && writes)
        {
            call.Output.Ok();
        }
        else if (!options.Get)
        {
            call.Output.Null();
        }
    }

    private static void SetIfAbsent(DataCall call, RespCommand command)
    {
        bool exists = call.Exists(command[1]);
        if (!exists)
        {
            call.Put(command[1], command[2], 0);
        }

        call.Output.Integer(exists ? 0 : 1);
    }

    private static void SetWithExpiry(DataCall call, RespCommand command)
    {
        bool inSeconds = command[0].Length == 5;
        if (!SetOptions.TryMoment(command[2], inSeconds, isRelative: true, call.Now, inSeconds ? "setex" : "psetex", out long expiresAt, out string? error))
        {
            call.Output.Error(error!);
            return;
        }

        call.Put(command[1], command[3], expiresAt);
        call.Output.Ok();
    }

    private static void GetSet(DataCall call, RespCommand command)
    {
        ReplyValue(call, command[1]);
        call.Put(command[1], command[2], 0);
    }

    private static void GetDelete(DataCall call, RespCommand command)
    {
        if (ReplyValue(call, command[1]))
        {
            call.Remove(command[1]);
        }
    }

    private static void GetWithExpiry(DataCall call, RespCommand command)
    {
        if (!SetOptions.TryParse(command, 2, isGetEx: true, out SetOptions options))
        {
            call.Output.Error(RespErrors.Syntax);
            return;
        }

        byte[]? value = call.ReadCopy(command[1], out long old);
        if (value is null)
        {
            call.Output.Null();
            return;
        }

        if (!options.TryMoment(command, call.Now, "getex", out long expiresAt, out string? error))
        {
            call.Output.Error(error!);
            return;
        }

        call.Output.Bulk(value);
        if (options.ExpiryAt != 0 && expiresAt <= call.Now)
        {
            call.Remove(command[1]);
        }
        else if (options.ExpiryAt != 0 || (options.Persist && old != 0))
        {
            call.Put(command[1], value, expiresAt);
        }
    }

    private static void SetMany(DataCall call, RespCommand command)
    {
        if (!HasPairs(call, command, "mset"))
        {
            return;
        }

        for (int i = 1; i < command.Count; i += 2)
        {
            call.Put(command[i], command[i + 1], 0);
        }

        call.Output.Ok();
    }

    private static void SetManyIfAbsent(DataCall call, RespCommand command)
    {
        if (!HasPairs(call, command, "msetnx"))
        {
            return;
        }

        for (int i = 1; i < command.Count; i += 2)
        {
            if (call.Exists(command[i]))
            {
                call.Output.Integer(0);
                return;
            }
        }

        for (int i = 1; i < command.Count; i += 2)
        {
            call.Put(command[i], command[i + 1], 0);
        }

        call.Output.Integer(1);
    }

    private static bool HasPairs(DataCall call, RespCommand command, string name)
    {
        if ((command.Count & 1) == 0)
        {
            call.Output.Error($"ERR wrong number of arguments for '{name}' command");
        }

        return (command.Count & 1) != 0;
    }

    private static void Append(DataCall call, RespCommand command)
    {
        byte[] old = call.ReadCopy(command[1], out long expiresAt) ?? [];
        byte[] value = [.. old, .. command[2]];
        call.Put(command[1], value, expiresAt);
        call.Output.Integer(value.Length);
    }

    private static void GetRange(DataCall call, RespCommand command)
    {
        if (!RespNumber.TryRead(command[2], out long first) || !RespNumber.TryRead(command[3], out long last))
        {
            call.Output.Error(RespErrors.NoInteger);
            return;
        }

        using ValueLease lease = call.Read(command[1]);
        long length = lease.Value.Length;
        bool isEmpty = length == 0 || (first < 0 && last < 0 && first > last);
        first = Math.Max(0, first < 0 ? length + first : first);
        last = Math.Min(length - 1, Math.Max(0, last < 0 ? length + last : last));
        call.Output.Bulk(isEmpty || first > last ? default : lease.Value[(int)first..(int)(last + 1)]);
    }

    private static void SetRange(DataCall call, RespCommand command)
    {
        if (!RespNumber.TryRead(command[2], out long offset))
        {
            call.Output.Error(RespErrors.NoInteger);
            return;
        }

        if (offset < 0)
        {
            call.Output.Error("ERR offset is out of range");
            return;
        }

        byte[] old = call.ReadCopy(command[1], out long expiresAt) ?? [];
        ReadOnlySpan<byte> piece = command[3];
        if (piece.IsEmpty)
        {
            call.Output.Integer(old.Length);
            return;
        }

        int most = call.Door.Store.Options.MaxValueBytes;
        if (offset > most - piece.Length)
        {
            call.Output.Error($"ERR string exceeds maximum allowed size (max-value-bytes, {most})");
            return;
        }

        byte[] value = new byte[Math.Max(old.Length, (int)offset + piece.Length)];
        old.CopyTo(value, 0);
        piece.CopyTo(value.AsSpan((int)offset));
        call.Put(command[1], value, expiresAt);
        call.Output.Integer(value.Length);
    }
}
