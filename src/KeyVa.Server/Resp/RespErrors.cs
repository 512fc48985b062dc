using System.Text;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>What clients are told that went wrong: Redis's words where Redis has some, since programs compare them. Stateless.</summary>
internal static class RespErrors
{
    public const string Syntax = "ERR syntax error";
    public const string NoInteger = "ERR value is not an integer or out of range";
    public const string NoFloat = "ERR value is not a valid float";
    public const string Overflow = "ERR increment or decrement would overflow";
    public const string NoKey = "ERR no such key";
    public const string OtherDatabase = "ERR DB index is out of range";
    public const string WrongPassword = "WRONGPASS invalid username-password pair or user is disabled.";
    public const string NoAuthentication = "NOAUTH Authentication required.";
    public const string NoKeyPermission = "NOPERM this user has no permissions to access one of the keys used as arguments";
    public const string NoChannelPermission = "NOPERM this user has no permissions to access one of the channels used as arguments";
    public const string NotInTransaction = "ERR Command not allowed inside a transaction";
    public const string NoCursor = "ERR invalid cursor";

    private const int MostShown = 128;

    /// <summary>The error that a refused write or read of the store is.</summary>
    public static string Of(Status status, string? detail) => status switch
    {
        Status.Busy or Status.LockTimeout or Status.Conflict or Status.Deadlock or Status.Expired => $"TRYAGAIN {detail ?? StatusNames.Title(status)}",
        Status.Failed => $"MISCONF {detail ?? StatusNames.Title(status)}",
        _ => $"ERR {detail ?? StatusNames.Title(status)}",
    };

    /// <summary>Why a text is no number of a database; null: it is one.</summary>
    public static string? OfDatabase(ReadOnlySpan<byte> text, out long database) =>
        !RespNumber.TryRead(text, out database) ? NoInteger
        : database is < int.MinValue or > int.MaxValue ? $"ERR value is out of range, value must between {int.MinValue} and {int.MaxValue}"
        : null;

    public static string NoPermission(CommandInfo command) => $"NOPERM this user has no permissions to run the '{command.Name}' command";

    /// <summary>What is said to whoever comes too often. Redis knows nothing like it; BUSY is what clients take for passing.</summary>
    public static string ComeBack(TimeSpan retryAfter) => $"BUSY a limit of requests or bytes is reached, retry after {(long)Math.Ceiling(retryAfter.TotalMilliseconds)} ms";

    public static string WrongArity(CommandInfo command) => $"ERR wrong number of arguments for '{command.Name}' command";

    public static string ExpireTime(string command) => $"ERR invalid expire time in '{command}' command";

    public static string UnknownSubcommand(CommandInfo command, RespCommand sent) =>
        $"ERR unknown subcommand '{Shown(sent[1], MostShown)}'. Try {command.Name.ToUpperInvariant()} HELP.";

    public static string UnknownCommand(RespCommand sent)
    {
        StringBuilder arguments = new();
        for (int i = 1; i < sent.Count && arguments.Length < MostShown; i++)
        {
            int most = MostShown - arguments.Length;
            arguments.Append('\'').Append(Shown(sent[i], most)).Append("' ");
        }

        return $"ERR unknown command '{Shown(sent[0], MostShown)}', with args beginning with: {arguments}";
    }

    // As C prints it: up to a zero byte.
    private static string Shown(ReadOnlySpan<byte> bytes, int most)
    {
        int zero = bytes.IndexOf((byte)0);
        ReadOnlySpan<byte> text = zero < 0 ? bytes : bytes[..zero];
        return Encoding.Latin1.GetString(text[..Math.Min(text.Length, most)]);
    }
}
