using KeyVa.Protocol.Resp;
using KeyVa.Server.Identity;

namespace KeyVa.Server.Resp;

/// <summary>Holds commands and their keys against what a session's user may do. Stateless.</summary>
internal static class RespAccess
{
    /// <summary>The error of a command that may not be run; null: it may.</summary>
    public static string? Refusal(RespSession session, CommandInfo info, RespCommand command)
    {
        Caller caller = session.Caller;
        Permission permission = info.Permission;
        return Authority.Decide(caller, permission) switch
        {
            Verdict.Unknown => RespErrors.NoAuthentication,
            Verdict.Denied => RespErrors.NoPermission(info),
            _ => !AllowsKeys(caller.Data, info, command) ? RespErrors.NoKeyPermission
                : !AllowsChannels(caller.Data, info, command) ? RespErrors.NoChannelPermission
                : null,
        };
    }

    private static bool AllowsKeys(Rights rights, CommandInfo info, RespCommand command)
    {
        Level level = info.Permission.Level;
        if (info.FirstKey == 0 || rights.Everywhere >= level)
        {
            return true;
        }

        int last = info.LastKeyOf(command.Count);
        for (int i = info.FirstKey; i <= last; i += info.KeyStep)
        {
            Level needed = i == info.FirstKey && info.Permission.FirstKey != Level.None ? info.Permission.FirstKey : level;
            if (!rights.Allows(needed, command[i]))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Channels are free to those who may read or write at all, but for those that tell which keys were written: these take reading all keys.</summary>
    private static bool AllowsChannels(Rights rights, CommandInfo info, RespCommand command)
    {
        if (!info.Is(CommandFlags.PubSub) || rights.Everywhere >= Level.Read)
        {
            return true;
        }

        if (info.Name is "subscribe" or "psubscribe")
        {
            for (int i = 1; i < command.Count; i++)
            {
                ReadOnlySpan<byte> literal = info.Name[0] == 'p' ? command[i][..RespPattern.LiteralPrefix(command[i])] : command[i];
                if (MayTellOfKeys(literal, isWhole: info.Name[0] != 'p'))
                {
                    return false;
                }
            }
        }

        return true;
    }

    private static bool MayTellOfKeys(ReadOnlySpan<byte> literal, bool isWhole)
    {
        ReadOnlySpan<byte> keys = "__key"u8;
        return literal.StartsWith(keys) || (!isWhole && keys.StartsWith(literal));
    }
}
