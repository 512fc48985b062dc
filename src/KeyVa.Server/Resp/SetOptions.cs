using System.Text;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>The options of SET and GETEX (Redis: t_string.c, parseExtendedStringArgumentsOrReply).</summary>
internal struct SetOptions
{
    public bool IfAbsent;
    public bool IfPresent;
    public bool Get;
    public bool KeepTtl;
    public bool Persist;

    /// <summary>The argument that says when the key expires; 0: none.</summary>
    public int ExpiryAt;
    public bool InSeconds;
    public bool IsRelative;

    /// <summary>Reads the options from an argument on; false: a syntax error.</summary>
    public static bool TryParse(RespCommand command, int from, bool isGetEx, out SetOptions options)
    {
        options = default;
        for (int i = from; i < command.Count; i++)
        {
            if (!options.TryTake(command, ref i, isGetEx))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The moment of expiry as the store takes it. False: there is no such moment, and <paramref name="error"/> says why.</summary>
    public readonly bool TryExpiry(RespCommand command, long now, string name, out Expiry expiry, out string? error)
    {
        expiry = default;
        error = null;
        if (ExpiryAt == 0)
        {
            return true;
        }

        if (!TryMoment(command[ExpiryAt], InSeconds, IsRelative, now, name, out long moment, out error))
        {
            return false;
        }

        // Relative ones stay so: the store counts from when it accepts the write.
        expiry = IsRelative ? Expiry.InMilliseconds(moment - now) : Expiry.AtUnixMilliseconds(moment);
        return true;
    }

    /// <summary>The same in milliseconds since 1970-01-01 UTC; 0: none was given.</summary>
    public readonly bool TryMoment(RespCommand command, long now, string name, out long moment, out string? error)
    {
        moment = 0;
        error = null;
        return ExpiryAt == 0 || TryMoment(command[ExpiryAt], InSeconds, IsRelative, now, name, out moment, out error);
    }

    /// <summary>A time above zero, as a moment.</summary>
    public static bool TryMoment(ReadOnlySpan<byte> text, bool inSeconds, bool isRelative, long now, string name, out long moment, out string? error)
    {
        error = null;
        if (!RespNumber.TryRead(text, out moment))
        {
            error = RespErrors.NoInteger;
            return false;
        }

        if (moment <= 0 || (inSeconds && moment > long.MaxValue / 1000))
        {
            error = RespErrors.ExpireTime(name);
            return false;
        }

        moment = inSeconds ? moment * 1000 : moment;
        if (isRelative && moment > long.MaxValue - now)
        {
            error = RespErrors.ExpireTime(name);
            return false;
        }

        moment = isRelative ? moment + now : moment;
        return true;
    }

    private bool TryTake(RespCommand command, ref int i, bool isGetEx)
    {
        ReadOnlySpan<byte> option = command[i];
        if (!isGetEx)
        {
            if (Ascii.EqualsIgnoreCase(option, "nx"u8) && !IfPresent)
            {
                return IfAbsent = true;
            }

            if (Ascii.EqualsIgnoreCase(option, "xx"u8) && !IfAbsent)
            {
                return IfPresent = true;
            }

            if (Ascii.EqualsIgnoreCase(option, "get"u8))
            {
                return Get = true;
            }

            if (Ascii.EqualsIgnoreCase(option, "keepttl"u8) && ExpiryAt == 0)
            {
                return KeepTtl = true;
            }
        }
        else if (Ascii.EqualsIgnoreCase(option, "persist"u8) && ExpiryAt == 0)
        {
            return Persist = true;
        }

        return !KeepTtl && !Persist && i + 1 < command.Count && TryTakeExpiry(option, ref i);
    }

    private bool TryTakeExpiry(ReadOnlySpan<byte> option, ref int i)
    {
        bool inSeconds = Ascii.EqualsIgnoreCase(option, "ex"u8);
        bool isRelative = inSeconds || Ascii.EqualsIgnoreCase(option, "px"u8);
        if (!isRelative)
        {
            inSeconds = Ascii.EqualsIgnoreCase(option, "exat"u8);
            if (!inSeconds && !Ascii.EqualsIgnoreCase(option, "pxat"u8))
            {
                return false;
            }
        }

        // The same option twice is taken, and the last one counts; two kinds are not.
        if (ExpiryAt != 0 && (inSeconds != InSeconds || isRelative != IsRelative))
        {
            return false;
        }

        InSeconds = inSeconds;
        IsRelative = isRelative;
        ExpiryAt = ++i;
        return true;
    }
}
