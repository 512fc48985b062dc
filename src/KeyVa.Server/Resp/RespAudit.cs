using System.Text;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>Lines of the audit log about commands of Redis clients: whose, from where, which, to what, with what outcome. Stateless.</summary>
internal static class RespAudit
{
    private const string Aborted = "aborted";
    private const int LongestCode = 32;

    /// <summary>A command has ended with a reply; empty: nobody will know.</summary>
    public static void Done(RespSession session, CommandInfo info, RespCommand command, ReadOnlySpan<byte> reply, TimeSpan took) =>
        Note(session, info, command, reply.IsEmpty ? Aborted : reply[0] == (byte)'-' ? OutcomeOf(Encoding.Latin1.GetString(reply[1..Math.Min(reply.Length, LongestCode)])) : "ok", took);

    /// <summary>A command was refused before it began.</summary>
    public static void Refused(RespSession session, CommandInfo info, RespCommand command, string error) => Note(session, info, command, OutcomeOf(error), TimeSpan.Zero);

    /// <summary>A command was queued, and its transaction came to nothing.</summary>
    public static void Undone(RespSession session, CommandInfo info, RespCommand command) => Note(session, info, command, Aborted, TimeSpan.Zero);

    private static void Note(RespSession session, CommandInfo info, RespCommand command, string outcome, TimeSpan took)
    {
        if (info.Permission.IsAudited)
        {
            session.Door.Audit.Note(session.Caller, info.Permission, info.Permission.Target?.Invoke(command) ?? "", outcome, took);
        }
    }

    /// <summary>As the other doors call it, where they have a word for it; otherwise the error's own.</summary>
    private static string OutcomeOf(string error)
    {
        int end = error.AsSpan().IndexOfAnyExceptInRange('A', 'Z');
        return (end < 0 ? error : error[..end]) switch
        {
            "NOAUTH" => StatusNames.Wire(Status.Unauthenticated),
            "NOPERM" or "WRONGPASS" => StatusNames.Wire(Status.PermissionDenied),
            "BUSY" => StatusNames.Wire(Status.RateLimited),
            "" => "error",
            var code => code,
        };
    }
}
