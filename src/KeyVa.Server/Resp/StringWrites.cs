using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>
/// Writes that need no transaction, since the store has what they are: a put, a put under a condition, a merge, a batch. Called outside of MULTI alone.
/// Stateless.
/// </summary>
internal static class StringWrites
{
    /// <summary>SET as it comes; those that need the value or the expiry that the key has are transactions.</summary>
    public static void Set(RespSession session, RespCommand command)
    {
        if (!SetOptions.TryParse(command, 3, isGetEx: false, out SetOptions options) || options.Get || options.KeepTtl)
        {
            session.RunInTransaction(CommandTable.Set, command);
            return;
        }

        if (!options.TryExpiry(command, session.Door.Now(), "set", out Expiry expiry, out string? error))
        {
            session.Output.Error(error!);
            return;
        }

        Condition condition = options.IfAbsent ? Condition.IfAbsent : options.IfPresent ? Condition.IfPresent : default;
        ValueTask<WriteResult> write = session.Door.Store.UpsertAsync(
            command.Memory(1), command.Memory(2), new WriteOptions { Expiry = expiry, Condition = condition });
        session.Await(write, static (output, result) =>
        {
            if (result.Status == Status.ConditionFailed)
            {
                output.Null();
            }
            else if (Succeeded(output, result))
            {
                output.Ok();
            }
        });
    }

    /// <summary>Whether a SET is one write: not if it needs what the key holds.</summary>
    public static bool Pipelines(RespSession session, RespCommand command) =>
        command.Count == 3 || (SetOptions.TryParse(command, 3, isGetEx: false, out SetOptions options) && !options.Get && !options.KeepTtl);

    /// <summary>SETEX and PSETEX.</summary>
    public static void SetWithExpiry(RespSession session, RespCommand command)
    {
        bool inSeconds = command[0].Length == 5;
        long now = session.Door.Now();
        if (!SetOptions.TryMoment(command[2], inSeconds, isRelative: true, now, inSeconds ? "setex" : "psetex", out long moment, out string? error))
        {
            session.Output.Error(error!);
            return;
        }

        ValueTask<WriteResult> write = session.Door.Store.UpsertAsync(
            command.Memory(1), command.Memory(3), new WriteOptions { Expiry = Expiry.InMilliseconds(moment - now) });
        session.Await(write, static (output, result) =>
        {
            if (Succeeded(output, result))
            {
                output.Ok();
            }
        });
    }

    public static void SetIfAbsent(RespSession session, RespCommand command)
    {
        ValueTask<WriteResult> write = session.Door.Store.UpsertAsync(
            command.Memory(1), command.Memory(2), new WriteOptions { Condition = Condition.IfAbsent });
        session.Await(write, static (output, result) =>
        {
            if (result.Status == Status.ConditionFailed || Succeeded(output, result))
            {
                output.Integer(result.IsOk ? 1 : 0);
            }
        });
    }

    /// <summary>MSET; of a key that is named twice the last value counts.</summary>
    public static void SetMany(RespSession session, RespCommand command)
    {
        if ((command.Count & 1) == 0)
        {
            session.Output.Error("ERR wrong number of arguments for 'mset' command");
            return;
        }

        WriteBatch batch = new();
        KeySet seen = new(command.Count / 2);
        for (int i = command.Count - 2; i > 0; i -= 2)
        {
            if (seen.Add(command.Memory(i)))
            {
                batch.Put(command[i], command[i + 1]);
            }
        }

        session.Await(session.Door.Store.WriteAsync(batch), batch, static (output, result) =>
        {
            if (Succeeded(output, result))
            {
                output.Ok();
            }
        });
    }

    public static void Append(RespSession session, RespCommand command) => session.Await(
        session.Door.Store.MergeAsync(command.Memory(1), MergeFunction.Append, command.Memory(2)),
        static (output, result) =>
        {
            if (Succeeded(output, result))
            {
                output.Integer(result.Merged[0].Length);
            }
        });

    /// <summary>Replies the error that a write ended with; true if it ended well.</summary>
    public static bool Succeeded(RespOutput output, in WriteResult result)
    {
        bool done = result.Status is Status.Ok or Status.NotFound;
        if (!done)
        {
            output.Error(RespErrors.Of(result.Status, result.Detail));
        }

        return done;
    }
}

/// <summary>Keys of one command, to see which are named twice.</summary>
internal readonly struct KeySet(int count)
{
    private readonly HashSet<ReadOnlyMemory<byte>> _keys = new(count, ByContent.Instance);

    /// <summary>False: it was there.</summary>
    public bool Add(ReadOnlyMemory<byte> key) => _keys.Add(key);

    private sealed class ByContent : IEqualityComparer<ReadOnlyMemory<byte>>
    {
        public static readonly ByContent Instance = new();

        public bool Equals(ReadOnlyMemory<byte> x, ReadOnlyMemory<byte> y) => x.Span.SequenceEqual(y.Span);

        public int GetHashCode(ReadOnlyMemory<byte> key)
        {
            // Seeded per process, so nobody can choose keys that collide.
            HashCode hash = default;
            hash.AddBytes(key.Span);
            return hash.ToHashCode();
        }
    }
}
