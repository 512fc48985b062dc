using System.Text;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>Commands about keys, whatever their values. Stateless.</summary>
internal static class KeyCommands
{
    private const CommandFlags Read = CommandFlags.ReadOnly | CommandFlags.Fast;
    private const CommandFlags Write = CommandFlags.Write | CommandFlags.Fast;

    // What Redis says of numbers up to 9,999, which it keeps once for all.
    private const int SharedReferences = int.MaxValue;
    private const int SharedIntegers = 10_000;
    private const int MaxEmbedded = 44;

    /// <summary>About what the memory engine holds beside key and value.</summary>
    private const int NodeBytes = 56;

    public static CommandInfo[] All { get; } =
    [
        new() { Name = "del", Pipelines = static (session, command) => command.Count == 2 || session.Door.HasOnePartition, Arity = -2, Flags = CommandFlags.Write, FirstKey = 1, LastKey = -1, Session = RemoveNow, Data = Remove },
        new() { Name = "unlink", Pipelines = static (session, command) => command.Count == 2 || session.Door.HasOnePartition, Arity = -2, Flags = Write, FirstKey = 1, LastKey = -1, Session = RemoveNow, Data = Remove },
        new() { Name = "exists", Arity = -2, Flags = Read, FirstKey = 1, LastKey = -1, Data = Count },
        new() { Name = "touch", Arity = -2, Flags = Read, FirstKey = 1, LastKey = -1, Data = Count },
        new() { Name = "type", Arity = 2, Flags = Read, FirstKey = 1, LastKey = 1, Data = Type },
        new() { Name = "rename", Arity = 3, Flags = CommandFlags.Write, FirstKey = 1, LastKey = 2, Data = Rename },
        new() { Name = "renamenx", Arity = 3, Flags = Write, FirstKey = 1, LastKey = 2, Data = Rename },
        new() { Name = "copy", Arity = -3, Flags = CommandFlags.Write, FirstKey = 1, LastKey = 2, Data = Copy },
        new()
        {
            Name = "object", Arity = -2, Flags = CommandFlags.ReadOnly,
            Subcommands =
            [
                new() { Name = "object|encoding", Arity = 3, Flags = Read, FirstKey = 2, LastKey = 2, Data = Encoding },
                new() { Name = "object|refcount", Arity = 3, Flags = Read, FirstKey = 2, LastKey = 2, Data = References },
                new() { Name = "object|idletime", Arity = 3, Flags = Read, FirstKey = 2, LastKey = 2, Data = IdleTime },
                new() { Name = "object|freq", Arity = 3, Flags = Read, FirstKey = 2, LastKey = 2, Data = Frequency },
            ],
        },
        new()
        {
            Name = "memory", Arity = -2, Flags = CommandFlags.ReadOnly,
            Subcommands =
            [
                new() { Name = "memory|usage", Arity = -3, Flags = CommandFlags.ReadOnly, FirstKey = 2, LastKey = 2, Data = Usage },
                new() { Name = "memory|doctor", Arity = 2, Flags = CommandFlags.ReadOnly, Session = ServerCommands.MemoryDoctor },
                new() { Name = "memory|stats", Arity = 2, Flags = CommandFlags.ReadOnly, Session = ServerCommands.MemoryStats },
            ],
        },
    ];

    private static void RemoveNow(RespSession session, RespCommand command)
    {
        if (command.Count == 2)
        {
            session.Await(session.Door.Store.RemoveAsync(command.Memory(1)), static (output, result) =>
            {
                if (result.Status is Status.Invalid or Status.TooLarge)
                {
                    // No such key can be there.
                    output.Integer(0);
                }
                else if (StringWrites.Succeeded(output, result))
                {
                    output.Integer(result.IsOk ? 1 : 0);
                }
            });
            return;
        }

        WriteBatch batch = new();
        KeySet seen = new(command.Count);
        for (int i = 1; i < command.Count; i++)
        {
            if (command[i].Length is > 0 and <= Limits.MaxKeyBytes && seen.Add(command.Memory(i)))
            {
                batch.Remove(command[i]);
            }
        }

        if (batch.Count == 0)
        {
            batch.Dispose();
            session.Output.Integer(0);
            return;
        }

        session.Await(session.Door.Store.WriteAsync(batch), batch, static (output, result) =>
        {
            if (StringWrites.Succeeded(output, result))
            {
                // Of a batch of one removal the status alone tells.
                output.Integer(result.Removed.IsEmpty ? (result.IsOk ? 1 : 0) : result.Removed.Span.Count(true));
            }
        });
    }

    private static void Remove(DataCall call, RespCommand command)
    {
        int removed = 0;
        for (int i = 1; i < command.Count; i++)
        {
            if (call.Exists(command[i]))
            {
                call.Remove(command[i]);
                removed++;
            }
        }

        call.Output.Integer(removed);
    }

    private static void Count(DataCall call, RespCommand command)
    {
        int count = 0;
        for (int i = 1; i < command.Count; i++)
        {
            count += call.Exists(command[i]) ? 1 : 0;
        }

        call.Output.Integer(count);
    }

    private static void Type(DataCall call, RespCommand command) =>
        call.Output.Simple(call.Exists(command[1]) ? "string"u8 : "none"u8);

    private static void Rename(DataCall call, RespCommand command)
    {
        bool ifAbsent = command[0].Length == "renamenx".Length;
        byte[]? value = call.ReadCopy(command[1], out long expiresAt);
        if (value is null)
        {
            call.Output.Error(RespErrors.NoKey);
            return;
        }

        bool isSame = command[1].SequenceEqual(command[2]);
        bool moves = !isSame && !(ifAbsent && call.Exists(command[2]));
        if (moves)
        {
            call.Remove(command[1]);
            call.Put(command[2], value, expiresAt);
        }

        if (ifAbsent)
        {
            call.Output.Integer(moves ? 1 : 0);
        }
        else
        {
            call.Output.Ok();
        }
    }

    private static void Copy(DataCall call, RespCommand command)
    {
        bool replaces = false;
        for (int i = 3; i < command.Count; i++)
        {
            if (Ascii.EqualsIgnoreCase(command[i], "replace"u8))
            {
                replaces = true;
            }
            else if (Ascii.EqualsIgnoreCase(command[i], "db"u8) && i + 1 < command.Count)
            {
                if (RespErrors.OfDatabase(command[++i], out long database) is { } error)
                {
                    call.Output.Error(error);
                    return;
                }

                if (database != 0)
                {
                    call.Output.Error(RespErrors.OtherDatabase);
                    return;
                }
            }
            else
            {
                call.Output.Error(RespErrors.Syntax);
                return;
            }
        }

        if (command[1].SequenceEqual(command[2]))
        {
            call.Output.Error("ERR source and destination objects are the same");
            return;
        }

        byte[]? value = call.ReadCopy(command[1], out long expiresAt);
        bool copies = value is not null && (replaces || !call.Exists(command[2]));
        if (copies)
        {
            call.Put(command[2], value, expiresAt);
        }

        call.Output.Integer(copies ? 1 : 0);
    }

    private static void Encoding(DataCall call, RespCommand command)
    {
        using ValueLease lease = call.Read(command[2]);
        if (!lease.Found)
        {
            call.Output.Null();
            return;
        }

        call.Output.Bulk(RespNumber.TryRead(lease.Value, out _) ? "int"u8 : lease.Value.Length <= MaxEmbedded ? "embstr"u8 : "raw"u8);
    }

    private static void References(DataCall call, RespCommand command)
    {
        using ValueLease lease = call.Read(command[2]);
        if (!lease.Found)
        {
            call.Output.Null();
            return;
        }

        bool isShared = RespNumber.TryRead(lease.Value, out long number) && number is >= 0 and < SharedIntegers;
        call.Output.Integer(isShared ? SharedReferences : 1);
    }

    private static void IdleTime(DataCall call, RespCommand command)
    {
        using ValueLease lease = call.Read(command[2]);
        if (!lease.Found)
        {
            call.Output.Null();
            return;
        }

        call.Output.Integer(Math.Max(0, call.Now - lease.ModifiedUnixMilliseconds) / 1000);
    }

    private static void Frequency(DataCall call, RespCommand command)
    {
        if (!call.Exists(command[2]))
        {
            call.Output.Null();
            return;
        }

        call.Output.Error("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.");
    }

    private static void Usage(DataCall call, RespCommand command)
    {
        if (command.Count > 3)
        {
            bool isSamples = command.Count == 5 && Ascii.EqualsIgnoreCase(command[3], "samples"u8);
            if (!isSamples || !RespNumber.TryRead(command[4], out long samples) || samples < 0)
            {
                call.Output.Error(isSamples && !RespNumber.TryRead(command[4], out _) ? RespErrors.NoInteger : RespErrors.Syntax);
                return;
            }
        }

        using ValueLease lease = call.Read(command[2]);
        if (lease.Found)
        {
            call.Output.Integer(NodeBytes + command[2].Length + lease.Value.Length);
        }
        else
        {
            call.Output.Null();
        }
    }
}
