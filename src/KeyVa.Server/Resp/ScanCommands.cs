using System.Text;
using KeyVa.Protocol.Resp;
using KeyVa.Server.Identity;

namespace KeyVa.Server.Resp;

/// <summary>Commands about all keys. Stateless.</summary>
internal static class ScanCommands
{
    private const int DefaultCount = 10;

    /// <summary>Keys that one SCAN looks at, at most, whatever COUNT asks for: others of the same thread wait meanwhile.</summary>
    private const int MaxCount = 10_000;

    /// <summary>Of an ordered partition RANDOMKEY takes one of so many keys behind a random place.</summary>
    private const int RandomChoices = 64;

    private const int RandomPlaceBytes = 8;

    public static CommandInfo[] All { get; } =
    [
        new() { Name = "keys", Arity = 2, Flags = CommandFlags.ReadOnly | CommandFlags.ReadsAll, Data = Keys },
        new() { Name = "scan", Arity = -2, Flags = CommandFlags.ReadOnly | CommandFlags.Scans, Data = Scan },
        new() { Name = "dbsize", Arity = 1, Flags = CommandFlags.ReadOnly | CommandFlags.ReadsAll, Data = Size },
        new() { Name = "randomkey", Arity = 1, Flags = CommandFlags.ReadOnly | CommandFlags.Scans, Data = RandomKey },
        new() { Name = "flushdb", Arity = -1, Flags = CommandFlags.Write, Data = RemoveAll, Session = RemoveAllNow },
        new() { Name = "flushall", Arity = -1, Flags = CommandFlags.Write, Data = RemoveAll, Session = RemoveAllNow },
    ];

    private static void Keys(DataCall call, RespCommand command)
    {
        ReadOnlySpan<byte> pattern = command[1];
        int literal = call.Door.IsOrdered ? RespPattern.LiteralPrefix(pattern) : 0;
        ReadOnlyMemory<byte> prefix = command.Memory(1)[..Math.Min(literal, Limits.MaxKeyBytes)];
        if (call.Door.IsOrdered && call.Rights.OnlyPrefix(Level.Read) is { } own && own.AsSpan().StartsWith(prefix.Span))
        {
            prefix = own;
        }

        using ScanCursor cursor = call.Scan(new ScanOptions { KeysOnly = true, Unordered = !call.Door.IsOrdered, Prefix = prefix });
        if (!IsOpen(call, cursor))
        {
            return;
        }

        using RespOutput found = new() { Version = call.Output.Version, Most = call.Output.Most };
        long count = 0;
        while (!found.IsOverflown && cursor.MoveNext())
        {
            if (RespPattern.Matches(pattern, cursor.Key) && call.Rights.Allows(Level.Read, cursor.Key))
            {
                found.Bulk(cursor.Key);
                count++;
            }
        }

        if (found.IsOverflown)
        {
            call.Output.Error($"ERR the keys come to more than {found.Most} bytes, which is the longest reply; use SCAN");
            return;
        }

        call.Output.Array(count);
        call.Output.Raw(found.Unsent);
    }

    private static void Scan(DataCall call, RespCommand command)
    {
        if (!RespNumber.TryRead(command[1], out long number))
        {
            if (!ulong.TryParse(command[1], out ulong unsigned))
            {
                call.Output.Error(RespErrors.NoCursor);
                return;
            }

            // From 2^63 on negative, which none of ours is.
            number = unchecked((long)unsigned);
        }

        if (!TryOptions(command, out long count, out int pattern, out bool anyType, out string? error))
        {
            call.Output.Error(error!);
            return;
        }

        if (!call.Door.Cursors.TryFind(number, out byte[] after))
        {
            call.Output.Error("ERR invalid cursor: it is not kept any more, begin again with 0");
            return;
        }

        using ScanCursor cursor = call.Scan(new ScanOptions { KeysOnly = true, Unordered = !call.Door.IsOrdered, After = after });
        if (!IsOpen(call, cursor))
        {
            return;
        }

        using RespOutput found = new() { Version = call.Output.Version };
        int matches = 0;
        int looked = 0;
        byte[]? last = null;
        while (cursor.MoveNext())
        {
            if (anyType && call.Rights.Allows(Level.Read, cursor.Key) && (pattern == 0 || RespPattern.Matches(command[pattern], cursor.Key)))
            {
                found.Bulk(cursor.Key);
                matches++;
            }

            if (++looked >= Math.Min(count, MaxCount))
            {
                last = cursor.Key.ToArray();
                break;
            }
        }

        call.Output.Array(2);
        call.Output.BulkNumber(last is null ? 0 : call.Door.Cursors.Keep(last));
        call.Output.Array(matches);
        call.Output.Raw(found.Unsent);
    }

    private static bool TryOptions(RespCommand command, out long count, out int pattern, out bool anyType, out string? error)
    {
        count = DefaultCount;
        pattern = 0;
        anyType = true;
        error = null;
        for (int i = 2; i < command.Count && error is null; i += 2)
        {
            ReadOnlySpan<byte> option = command[i];
            if (i + 1 >= command.Count)
            {
                error = RespErrors.Syntax;
            }
            else if (Ascii.EqualsIgnoreCase(option, "count"u8))
            {
                error = !RespNumber.TryRead(command[i + 1], out count) ? RespErrors.NoInteger : count < 1 ? RespErrors.Syntax : null;
            }
            else if (Ascii.EqualsIgnoreCase(option, "match"u8))
            {
                pattern = i + 1;
            }
            else if (Ascii.EqualsIgnoreCase(option, "type"u8))
            {
                anyType = Ascii.EqualsIgnoreCase(command[i + 1], "string"u8);
            }
            else
            {
                error = RespErrors.Syntax;
            }
        }

        return error is null;
    }

    private static void Size(DataCall call, RespCommand command)
    {
        if (call.Transaction is null && call.Door.CountsExactly && call.Rights.Everywhere >= Level.Read)
        {
            call.Output.Integer(call.Door.Store.Partitions.List().Sum(static partition => partition.Keys));
            return;
        }

        using ScanCursor cursor = call.Scan(new ScanOptions { KeysOnly = true, Unordered = !call.Door.IsOrdered });
        if (IsOpen(call, cursor))
        {
            long count = 0;
            while (cursor.MoveNext())
            {
                count += call.Rights.Allows(Level.Read, cursor.Key) ? 1 : 0;
            }

            call.Output.Integer(count);
        }
    }

    private static void RandomKey(DataCall call, RespCommand command)
    {
        byte[] place = new byte[RandomPlaceBytes];
        Random.Shared.NextBytes(place);

        // Of one prefix, only there is anything to be found.
        byte[] own = call.Door.IsOrdered ? call.Rights.OnlyPrefix(Level.Read) ?? [] : [];
        byte[]? key = RandomBehind(call, own, [.. own, .. place]) ?? RandomBehind(call, own, []);
        if (key is null)
        {
            call.Output.Null();
        }
        else
        {
            call.Output.Bulk(key);
        }
    }

    private static byte[]? RandomBehind(DataCall call, byte[] prefix, byte[] place)
    {
        using ScanCursor cursor = call.Scan(new ScanOptions { KeysOnly = true, Unordered = !call.Door.IsOrdered, Prefix = prefix, After = place });
        byte[]? key = null;
        int passed = call.Door.IsOrdered ? Random.Shared.Next(RandomChoices) : 0;
        for (int looked = 0; IsOpen(call, cursor) && passed >= 0 && looked < MaxCount && cursor.MoveNext(); looked++)
        {
            if (call.Rights.Allows(Level.Read, cursor.Key))
            {
                key = cursor.Key.ToArray();
                passed--;
            }
        }

        return key;
    }

    private static void RemoveAll(DataCall call, RespCommand command)
    {
        if (TakesFlush(call.Output, command))
        {
            call.RemoveAll();
            call.Output.Ok();
        }
    }

    private static void RemoveAllNow(RespSession session, RespCommand command)
    {
        if (TakesFlush(session.Output, command))
        {
            session.Await(session.Door.Store.RemoveRangeAsync(default, default), static (output, result) =>
            {
                if (StringWrites.Succeeded(output, result))
                {
                    output.Ok();
                }
            });
        }
    }

    private static bool TakesFlush(RespOutput output, RespCommand command)
    {
        bool takes = command.Count == 1
            || (command.Count == 2 && (Ascii.EqualsIgnoreCase(command[1], "async"u8) || Ascii.EqualsIgnoreCase(command[1], "sync"u8)));
        if (!takes)
        {
            output.Error(RespErrors.Syntax);
        }

        return takes;
    }

    private static bool IsOpen(DataCall call, in ScanCursor cursor)
    {
        if (cursor.Status != Status.Ok)
        {
            call.Refuse(cursor.Status, cursor.Detail);
        }

        return cursor.Status == Status.Ok;
    }
}
