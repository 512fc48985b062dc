using System.Globalization;
using System.Text;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>
/// LATENCY, from what telemetry has: commands that took long are the slow log's, and make up the one event <c>command</c>; histograms are those of the
/// metrics, by operation. Stateless.
/// </summary>
internal static class LatencyCommands
{
    /// <summary>What Redis calls a command that took long.</summary>
    private const string Event = "command";

    /// <summary>Entries of a history (Redis: latency.h).</summary>
    private const int MostEntries = 160;

    public static CommandInfo Latency { get; } = new()
    {
        Name = "latency",
        Arity = -2,
        Flags = CommandFlags.Admin,
        Subcommands =
        [
            new() { Name = "latency|latest", Arity = 2, Flags = CommandFlags.Admin, Session = Latest },
            new() { Name = "latency|history", Arity = 3, Flags = CommandFlags.Admin, Session = History },
            new() { Name = "latency|reset", Arity = -2, Flags = CommandFlags.Admin, Session = Reset },
            new() { Name = "latency|doctor", Arity = 2, Flags = CommandFlags.Admin, Session = Doctor },
            new() { Name = "latency|histogram", Arity = -2, Flags = CommandFlags.Admin, Session = Histogram },
        ],
    };

    /// <summary>The longest of each second, the oldest first.</summary>
    private static List<(long Second, long Milliseconds)> Spikes(RespDoor door)
    {
        List<(long Second, long Milliseconds)> spikes = [];
        foreach (SlowRequest one in door.SlowLog.Newest(int.MaxValue).Where(one => one.Number >= door.LatencySince && one.Door == door.Meter.Door).Reverse())
        {
            long second = one.UnixMilliseconds / 1000;
            long milliseconds = (long)one.Duration.TotalMilliseconds;
            if (spikes.Count > 0 && spikes[^1].Second == second)
            {
                spikes[^1] = (second, Math.Max(spikes[^1].Milliseconds, milliseconds));
            }
            else
            {
                spikes.Add((second, milliseconds));
            }
        }

        return spikes.Count > MostEntries ? spikes[^MostEntries..] : spikes;
    }

    private static void Latest(RespSession session, RespCommand command)
    {
        List<(long Second, long Milliseconds)> spikes = Spikes(session.Door);
        RespOutput output = session.Output;
        if (spikes.Count == 0)
        {
            output.Array(0);
            return;
        }

        output.Array(1);
        output.Array(4);
        output.Bulk(Event);
        output.Integer(spikes[^1].Second);
        output.Integer(spikes[^1].Milliseconds);
        output.Integer(spikes.Max(static one => one.Milliseconds));
    }

    private static void History(RespSession session, RespCommand command)
    {
        List<(long Second, long Milliseconds)> spikes = IsEvent(command[2]) ? Spikes(session.Door) : [];
        session.Output.Array(spikes.Count);
        foreach ((long second, long milliseconds) in spikes)
        {
            session.Output.Array(2);
            session.Output.Integer(second);
            session.Output.Integer(milliseconds);
        }
    }

    /// <summary>Forgets the event, and leaves the slow log as it is; tells how many events there were.</summary>
    private static void Reset(RespSession session, RespCommand command)
    {
        bool isMeant = command.Count == 2;
        for (int i = 2; i < command.Count; i++)
        {
            isMeant |= IsEvent(command[i]);
        }

        bool hadAny = isMeant && Spikes(session.Door).Count > 0;
        if (isMeant)
        {
            session.Door.LatencySince = session.Door.SlowLog.Total;
        }

        session.Output.Integer(hadAny ? 1 : 0);
    }

    private static void Doctor(RespSession session, RespCommand command)
    {
        List<(long Second, long Milliseconds)> spikes = Spikes(session.Door);
        string threshold = session.Door.Configuration.Options.Telemetry.SlowLog.Text;
        session.Output.Verbatim(spikes.Count == 0
            ? $"No command took long (slow-log is {threshold}) since the start, the last LATENCY RESET, or as far back as the slow log goes."
            : string.Create(
                CultureInfo.InvariantCulture,
                $"In {spikes.Count} seconds commands took long (slow-log is {threshold}): {spikes.Average(static one => one.Milliseconds):F0} ms on average, {spikes.Max(static one => one.Milliseconds)} ms at most. SLOWLOG GET shows them with their arguments, 'keyva slowlog' also where the time of their writes went: queue, log, sync or apply."));
    }

    private static void Histogram(RespSession session, RespCommand command)
    {
        SortedSet<Operation> asked = [];
        for (int i = 2; i < command.Count; i++)
        {
            if (CommandTable.Find(command[i]) is { Operation: < Operation.Other } known)
            {
                asked.Add(known.Operation);
            }
        }

        List<(string Operation, long[] Counts)> found = [];
        for (Operation operation = 0; operation < Operation.Other; operation++)
        {
            if ((command.Count == 2 || asked.Contains(operation)) && session.Door.Meter.ByMicroseconds(operation) is var counts && counts.Any(static count => count > 0))
            {
                found.Add((RequestMeter.WordOf(operation), counts));
            }
        }

        RespOutput output = session.Output;
        output.Map(found.Count);
        foreach ((string operation, long[] counts) in found)
        {
            output.Bulk(operation);
            output.Map(2);
            output.Bulk("calls"u8);
            output.Integer(counts.Sum());
            output.Bulk("histogram_usec"u8);
            output.Map(counts.Count(static count => count > 0));
            long sum = 0;
            for (int i = 0; i < counts.Length; i++)
            {
                sum += counts[i];
                if (counts[i] > 0)
                {
                    output.Integer(1L << i);
                    output.Integer(sum);
                }
            }
        }
    }

    private static bool IsEvent(ReadOnlySpan<byte> name) => Ascii.EqualsIgnoreCase(name, Event);
}
