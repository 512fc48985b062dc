using System.Text;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>When keys expire. Setting it writes the key anew, with the value that it has: expiry is part of a version. Stateless.</summary>
internal static class ExpiryCommands
{
    private const CommandFlags Read = CommandFlags.ReadOnly | CommandFlags.Fast;
    private const CommandFlags Write = CommandFlags.Write | CommandFlags.Fast;

    public static CommandInfo[] All { get; } =
    [
        Setter("expire", static (call, command) => Expire(call, command, "expire", inSeconds: true, isRelative: true)),
        Setter("pexpire", static (call, command) => Expire(call, command, "pexpire", inSeconds: false, isRelative: true)),
        Setter("expireat", static (call, command) => Expire(call, command, "expireat", inSeconds: true, isRelative: false)),
        Setter("pexpireat", static (call, command) => Expire(call, command, "pexpireat", inSeconds: false, isRelative: false)),
        Getter("ttl", static (call, expiresAt) => Seconds(Math.Max(0, expiresAt - call.Now))),
        Getter("pttl", static (call, expiresAt) => Math.Max(0, expiresAt - call.Now)),
        Getter("expiretime", static (_, expiresAt) => Seconds(expiresAt)),
        Getter("pexpiretime", static (_, expiresAt) => expiresAt),
        new() { Name = "persist", Arity = 2, Flags = Write, FirstKey = 1, LastKey = 1, Data = Persist },
    ];

    /// <summary>Rounded, of times up to the last there is.</summary>
    private static long Seconds(long milliseconds) => (long)(((ulong)milliseconds + 500) / 1000);

    private static CommandInfo Setter(string name, DataHandler handler) =>
        new() { Name = name, Arity = -3, Flags = Write, FirstKey = 1, LastKey = 1, Data = handler };

    private static CommandInfo Getter(string name, Func<DataCall, long, long> shown) => new()
    {
        Name = name,
        Arity = 2,
        Flags = Read,
        FirstKey = 1,
        LastKey = 1,
        Data = (call, command) =>
        {
            using ValueLease lease = call.Read(command[1]);
            long expiresAt = lease.ExpiresAtUnixMilliseconds;
            call.Output.Integer(!lease.Found ? -2 : expiresAt == 0 ? -1 : shown(call, expiresAt));
        },
    };

    private static void Expire(DataCall call, RespCommand command, string name, bool inSeconds, bool isRelative)
    {
        if (!Rules.TryParse(command, out Rules rules, out string? error) || !TryMoment(call, command[2], name, inSeconds, isRelative, out long when, out error))
        {
            call.Output.Error(error!);
            return;
        }

        byte[]? value = call.ReadCopy(command[1], out long present);
        if (value is null || !rules.Allow(present, when))
        {
            call.Output.Integer(0);
            return;
        }

        if (when <= call.Now)
        {
            call.Remove(command[1]);
        }
        else
        {
            call.Put(command[1], value, when);
        }

        call.Output.Integer(1);
    }

    private static bool TryMoment(DataCall call, ReadOnlySpan<byte> text, string name, bool inSeconds, bool isRelative, out long when, out string? error)
    {
        error = null;
        if (!RespNumber.TryRead(text, out when))
        {
            error = RespErrors.NoInteger;
            return false;
        }

        if (inSeconds && when is > long.MaxValue / 1000 or < long.MinValue / 1000)
        {
            error = RespErrors.ExpireTime(name);
            return false;
        }

        when = inSeconds ? when * 1000 : when;
        if (isRelative && when > long.MaxValue - call.Now)
        {
            error = RespErrors.ExpireTime(name);
            return false;
        }

        when = isRelative ? when + call.Now : when;
        return true;
    }

    private static void Persist(DataCall call, RespCommand command)
    {
        byte[]? value = call.ReadCopy(command[1], out long expiresAt);
        bool persists = value is not null && expiresAt != 0;
        if (persists)
        {
            call.Put(command[1], value, 0);
        }

        call.Output.Integer(persists ? 1 : 0);
    }

    /// <summary>Under which conditions a key gets the expiry.</summary>
    private readonly record struct Rules(bool IfNone, bool IfAny, bool IfLater, bool IfEarlier)
    {
        public static bool TryParse(RespCommand command, out Rules rules, out string? error)
        {
            rules = default;
            error = null;
            for (int i = 3; i < command.Count; i++)
            {
                ReadOnlySpan<byte> option = command[i];
                if (Ascii.EqualsIgnoreCase(option, "nx"u8))
                {
                    rules = rules with { IfNone = true };
                }
                else if (Ascii.EqualsIgnoreCase(option, "xx"u8))
                {
                    rules = rules with { IfAny = true };
                }
                else if (Ascii.EqualsIgnoreCase(option, "gt"u8))
                {
                    rules = rules with { IfLater = true };
                }
                else if (Ascii.EqualsIgnoreCase(option, "lt"u8))
                {
                    rules = rules with { IfEarlier = true };
                }
                else
                {
                    error = $"ERR Unsupported option {System.Text.Encoding.Latin1.GetString(option)}";
                    return false;
                }
            }

            error = rules.IfNone && (rules.IfAny || rules.IfLater || rules.IfEarlier)
                ? "ERR NX and XX, GT or LT options at the same time are not compatible"
                : rules.IfLater && rules.IfEarlier
                    ? "ERR GT and LT options at the same time are not compatible"
                    : null;
            return error is null;
        }

        /// <summary><paramref name="present"/>: when it expires now; 0: never.</summary>
        public bool Allow(long present, long when) =>
            !((IfNone && present != 0)
            || (IfAny && present == 0)
            || (IfLater && (present == 0 || when <= present))
            || (IfEarlier && present != 0 && when >= present));
    }
}
