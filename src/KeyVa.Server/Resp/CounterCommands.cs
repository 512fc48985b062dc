using System.Buffers.Text;
using System.Text;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>Counters. Outside of MULTI an increment of a whole number is a merge of the store, which never meets another. Stateless.</summary>
internal static class CounterCommands
{
    private const CommandFlags Flags = CommandFlags.Write | CommandFlags.Fast;

    public static CommandInfo[] All { get; } =
    [
        new() { Name = "incr", IsCounter = true, Pipelines = Pipelines, Arity = 2, Flags = Flags, FirstKey = 1, LastKey = 1, Session = Merge, Data = Add },
        new() { Name = "decr", IsCounter = true, Pipelines = Pipelines, Arity = 2, Flags = Flags, FirstKey = 1, LastKey = 1, Session = Merge, Data = Add },
        new() { Name = "incrby", IsCounter = true, Pipelines = Pipelines, Arity = 3, Flags = Flags, FirstKey = 1, LastKey = 1, Session = Merge, Data = Add },
        new() { Name = "decrby", IsCounter = true, Pipelines = Pipelines, Arity = 3, Flags = Flags, FirstKey = 1, LastKey = 1, Session = Merge, Data = Add },
        new() { Name = "incrbyfloat", Arity = 3, Flags = Flags, FirstKey = 1, LastKey = 1, Data = AddFloat },
    ];

    // Its value is looked at before the merge: a pending write that is none of a counter must have happened then. Where this node may be behind, what it holds refuses nothing.
    private static bool Pipelines(RespSession session, RespCommand command) =>
        !session.Writes.Pending.MayHoldValue(command[1]) && !(session.Door.ConfirmsReads && HoldsNoInteger(session, command));

    private static void Merge(RespSession session, RespCommand command)
    {
        if (!TryDelta(command, out long delta, out string? error))
        {
            session.Output.Error(error!);
            return;
        }

        // The store reads numbers that Redis does not (+5, 007); what is none of Redis's is refused before.
        if (HoldsNoInteger(session, command))
        {
            if (!session.Door.ConfirmsReads)
            {
                session.Output.Error(RespErrors.NoInteger);
                return;
            }

            if (session.Writes.Pending.IsEmpty)
            {
                // It may hold something else by now: a transaction asks before it reads. If it came this moment, behind others that wait, the merge decides.
                session.RunInTransaction(session.LastCommand, command);
                return;
            }
        }

        session.Await(session.Door.Store.IncrementAsync(command.Memory(1), delta), static (output, result) =>
        {
            if (result.Status == Status.MergeRefused)
            {
                output.Error(result.Detail!.Contains("beyond 64 bits", StringComparison.Ordinal) ? RespErrors.Overflow : RespErrors.NoInteger);
            }
            else if (StringWrites.Succeeded(output, result))
            {
                output.Integer(result.MergedNumber);
            }
        });
    }

    private static bool HoldsNoInteger(RespSession session, RespCommand command)
    {
        using ValueLease lease = session.Door.Store.Get(command[1]);
        return lease.Found && !RespNumber.TryRead(lease.Value, out _);
    }

    private static void Add(DataCall call, RespCommand command)
    {
        if (!TryDelta(command, out long delta, out string? error))
        {
            call.Output.Error(error!);
            return;
        }

        long number = 0;
        long expiresAt;
        using (ValueLease lease = call.Read(command[1]))
        {
            expiresAt = lease.ExpiresAtUnixMilliseconds;
            if (lease.Found && !RespNumber.TryRead(lease.Value, out number))
            {
                call.Output.Error(RespErrors.NoInteger);
                return;
            }
        }

        long sum = unchecked(number + delta);
        if (((number ^ sum) & (delta ^ sum)) < 0)
        {
            call.Output.Error(RespErrors.Overflow);
            return;
        }

        Span<byte> text = stackalloc byte[RespNumber.MaxDigits];
        Utf8Formatter.TryFormat(sum, text, out int length);
        call.Put(command[1], text[..length], expiresAt);
        call.Output.Integer(sum);
    }

    private static void AddFloat(DataCall call, RespCommand command)
    {
        byte[]? old = call.ReadCopy(command[1], out long expiresAt);
        LongDouble number = LongDouble.Zero;
        if ((old is not null && !LongDouble.TryParse(old, out number)) || !LongDouble.TryParse(command[2], out LongDouble delta))
        {
            call.Output.Error(RespErrors.NoFloat);
            return;
        }

        LongDouble sum = number + delta;
        if (!sum.IsFinite)
        {
            call.Output.Error("ERR increment would produce NaN or Infinity");
            return;
        }

        byte[] text = Encoding.ASCII.GetBytes(sum.ToString());
        call.Put(command[1], text, expiresAt);
        call.Output.Bulk(text);
    }

    private static bool TryDelta(RespCommand command, out long delta, out string? error)
    {
        bool isDown = (command[0][0] | 0x20) == 'd';
        error = null;
        delta = 1;
        if (command.Count == 3 && !RespNumber.TryRead(command[2], out delta))
        {
            error = RespErrors.NoInteger;
        }
        else if (isDown && delta == long.MinValue)
        {
            error = "ERR decrement would overflow";
        }

        delta = isDown ? unchecked(-delta) : delta;
        return error is null;
    }
}
