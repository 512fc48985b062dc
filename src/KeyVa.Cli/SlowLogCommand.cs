using System.CommandLine;
using System.Globalization;
using System.Text;
using KeyVa.Client;

namespace KeyVa.Cli;

/// <summary><c>slowlog</c>: the requests that a server was slow to answer, and where the time went. Stateless.</summary>
internal static class SlowLogCommand
{
    private const int MostShown = 60;

    public static Command Create(Session session)
    {
        Option<int> limit = new("--limit") { Description = "At most so many", HelpName = "N", DefaultValueFactory = static _ => 20 };
        Option<bool> clear = new("--clear") { Description = "Empty it" };
        return CommandTree.Command(
            session,
            "slowlog",
            "Show the requests of all front doors that took long, the newest first (from when on: the setting slow-log)",
            [limit, clear],
            invocation => RunAsync(invocation, invocation.Get(limit), invocation.Get(clear)));
    }

    private static async Task<int> RunAsync(Invocation invocation, int limit, bool clear)
    {
        if (limit < 1)
        {
            throw CommandException.Usage("--limit must be at least 1");
        }

        if (clear)
        {
            await invocation.Control.ClearSlowRequestsAsync(invocation.Cancellation);
            return ExitCode.Done;
        }

        IReadOnlyList<RemoteSlowRequest> slow = await invocation.Control.ListSlowRequestsAsync(limit, invocation.Cancellation);
        if (invocation.Json)
        {
            foreach (RemoteSlowRequest request in slow)
            {
                WriteJson(invocation, request);
            }

            return ExitCode.Done;
        }

        if (slow.Count == 0)
        {
            invocation.Terminal.Say("no request was slow; 'keyva config show slow-log' says from when on one is");
            return ExitCode.Done;
        }

        Table.Write(
            invocation.Terminal,
            [">NUMBER", "TIME", "DOOR", "OPERATION", ">TOOK", ">QUEUE", ">LOG", ">SYNC", ">APPLY", ">GROUP", "OUTCOME", "PEER", "REQUEST"],
            slow.Select(Row));
        return ExitCode.Done;
    }

    private static string[] Row(RemoteSlowRequest request) =>
    [
        request.Number.ToString(CultureInfo.InvariantCulture),
        request.Time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture),
        request.Door,
        request.Operation,
        Milliseconds(request.Duration),
        Part(request.Parts?.Queue),
        Part(request.Parts?.Log),
        Part(request.Parts?.Sync),
        Part(request.Parts?.Apply),
        request.Parts?.GroupSize.ToString(CultureInfo.InvariantCulture) ?? "",
        request.Outcome,
        request.Peer,
        Shortened(string.Join(' ', request.Arguments.Select(static argument => Shown(argument.Span)))),
    ];

    private static string Part(TimeSpan? time) => time is { } known ? Milliseconds(known) : "";

    private static string Milliseconds(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds:0.000} ms");

    private static string Shortened(string text) => text.Length <= MostShown ? text : text[..MostShown] + "...";

    private static string Shown(ReadOnlySpan<byte> bytes) =>
        bytes.IndexOfAnyExceptInRange((byte)' ', (byte)'~') < 0 ? Encoding.ASCII.GetString(bytes) : "0x" + Convert.ToHexStringLower(bytes);

    private static void WriteJson(Invocation invocation, RemoteSlowRequest request) => invocation.WriteJson(json =>
    {
        json.WriteNumber("number"u8, request.Number);
        json.WriteNumber("time"u8, request.Time.ToUnixTimeMilliseconds());
        json.WriteString("door"u8, request.Door);
        json.WriteString("operation"u8, request.Operation);
        json.WriteNumber("microseconds"u8, (long)request.Duration.TotalMicroseconds);
        json.WriteString("outcome"u8, request.Outcome);
        json.WriteString("peer"u8, request.Peer);
        json.WriteString("client"u8, request.ClientName);
        json.WriteStartArray("arguments"u8);
        foreach (ReadOnlyMemory<byte> argument in request.Arguments)
        {
            json.WriteStringValue(Shown(argument.Span));
        }

        json.WriteEndArray();
        if (request.Parts is { } parts)
        {
            json.WriteNumber("partition"u8, parts.Partition);
            json.WriteNumber("group_size"u8, parts.GroupSize);
            json.WriteNumber("queue_microseconds"u8, (long)parts.Queue.TotalMicroseconds);
            json.WriteNumber("log_microseconds"u8, (long)parts.Log.TotalMicroseconds);
            json.WriteNumber("sync_microseconds"u8, (long)parts.Sync.TotalMicroseconds);
            json.WriteNumber("apply_microseconds"u8, (long)parts.Apply.TotalMicroseconds);
        }
    });
}
