using System.Diagnostics;
using System.Text;
using KeyVa.Measurements;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>A command of a Redis client that has ended, or several of a pipeline that were done together, for those who observe it.</summary>
/// <param name="session">The connection.</param>
/// <param name="command">The command, or the first of them.</param>
/// <param name="failed">Whether its reply is an error.</param>
/// <param name="times">Where the time of its write went.</param>
/// <param name="reads">Where the time of its read went.</param>
/// <param name="together">So many were done together.</param>
internal readonly struct RespObservation(RespSession session, RespCommand command, bool failed, WriteTimes? times, ReadTimes? reads = null, int together = 1) : IObservedRequest
{
    private static readonly string[] Secretive = ["auth", "hello", "acl"];

    public string Peer => session.Peer;

    public string ClientName => session.Name;

    public string Outcome => failed ? "error" : "ok";

    public ActivityContext Parent => default;

    public WriteTimes? Times => times;

    public ReadTimes? Reads => reads;

    public bool HasSecrets
    {
        get
        {
            foreach (string name in Secretive)
            {
                if (command.Count > 0 && Ascii.EqualsIgnoreCase(command[0], name))
                {
                    return true;
                }
            }

            return false;
        }
    }

    public byte[][] Arguments()
    {
        int more = together > 1 ? 1 : 0;
        byte[][] arguments = new byte[command.Count + more][];
        for (int i = 0; i < command.Count; i++)
        {
            arguments[i] = command[i].ToArray();
        }

        if (more > 0)
        {
            arguments[^1] = Encoding.ASCII.GetBytes(More());
        }

        return arguments;
    }

    // Values never: the operation log may be read by those who may not read data.
    public string Target()
    {
        CommandInfo? info = CommandTable.Find(command[0]);
        string name = GrpcObservation.Shown(command[0]);
        string key = info is { FirstKey: > 0 } && info.FirstKey < command.Count ? $"{name} {GrpcObservation.Shown(command[info.FirstKey])}" : name;
        return together > 1 ? $"{key} {More()}" : key;
    }

    private string More() => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"... (with {together - 1} more of the pipeline)");
}

/// <summary>GETs of a pipeline that were answered together, for those who observe them.</summary>
/// <param name="session">The connection.</param>
/// <param name="key">The first key.</param>
/// <param name="count">How many there were.</param>
/// <param name="reads">Where the time went.</param>
internal readonly struct GetsObservation(RespSession session, ReadOnlyMemory<byte> key, int count, ReadTimes? reads) : IObservedRequest
{
    public string Peer => session.Peer;

    public string ClientName => session.Name;

    public string Outcome => "ok";

    public ActivityContext Parent => default;

    public WriteTimes? Times => null;

    public ReadTimes? Reads => reads;

    public bool HasSecrets => false;

    public byte[][] Arguments() => count == 1 ? ["GET"u8.ToArray(), key.ToArray()] : ["GET"u8.ToArray(), key.ToArray(), Encoding.ASCII.GetBytes(More())];

    public string Target() => count == 1 ? $"GET {GrpcObservation.Shown(key.Span)}" : $"GET {GrpcObservation.Shown(key.Span)} {More()}";

    private string More() => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"... (with {count - 1} more of the pipeline)");
}

/// <summary>SETs of a pipeline that were written together, for those who observe them.</summary>
/// <param name="session">The connection.</param>
/// <param name="sets">The SETs, not forgotten yet.</param>
internal readonly struct SetsObservation(RespSession session, PipelinedSets sets) : IObservedRequest
{
    public string Peer => session.Peer;

    public string ClientName => session.Name;

    public string Outcome => "ok";

    public ActivityContext Parent => default;

    public WriteTimes? Times => sets.Times;

    public ReadTimes? Reads => null;

    public bool HasSecrets => false;

    public byte[][] Arguments() =>
        sets.Count == 1 ? ["SET"u8.ToArray(), sets.FirstKey()] : ["SET"u8.ToArray(), sets.FirstKey(), Encoding.ASCII.GetBytes(More())];

    public string Target() => sets.Count == 1 ? $"SET {GrpcObservation.Shown(sets.FirstKey())}" : $"SET {GrpcObservation.Shown(sets.FirstKey())} {More()}";

    private string More() => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"... (with {sets.Count - 1} more of the pipeline)");
}
