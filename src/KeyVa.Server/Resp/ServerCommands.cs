using System.Text;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>Commands about the server. Stateless.</summary>
internal static class ServerCommands
{
    private const int DefaultSlowCommands = 10;

    public static CommandInfo[] All { get; } =
    [
        new() { Name = "time", Arity = 1, Flags = CommandFlags.Fast, Session = Time },
        new() { Name = "info", Arity = -1, Session = Info },
        CommandCommands.Command,
        ConfigCommands.Config,
        new()
        {
            Name = "slowlog", Arity = -2, Flags = CommandFlags.Admin,
            Subcommands =
            [
                new() { Name = "slowlog|get", Arity = -2, Flags = CommandFlags.Admin, Session = SlowCommands },
                new() { Name = "slowlog|len", Arity = 2, Flags = CommandFlags.Admin, Session = static (session, _) => session.Output.Integer(session.Door.SlowLog.Count) },
                new() { Name = "slowlog|reset", Arity = 2, Flags = CommandFlags.Admin, Session = ForgetSlowCommands },
            ],
        },
        LatencyCommands.Latency,
    ];

    public static void MemoryDoctor(RespSession session, RespCommand command) => session.Output.Verbatim(
        $"The engines hold {session.Door.Store.GetStatistics().MemoryBytes} bytes outside the GC heap; 'keyva metrics' shows what for.");

    public static void MemoryStats(RespSession session, RespCommand command)
    {
        StoreStatistics figures = session.Door.Store.GetStatistics();
        session.Output.Map(4);
        session.Output.Bulk("total.allocated"u8);
        session.Output.Integer(figures.MemoryBytes + GC.GetTotalMemory(forceFullCollection: false));
        session.Output.Bulk("keys.count"u8);
        session.Output.Integer(figures.Keys);
        session.Output.Bulk("engines.bytes"u8);
        session.Output.Integer(figures.MemoryBytes);
        session.Output.Bulk("heap.bytes"u8);
        session.Output.Integer(GC.GetTotalMemory(forceFullCollection: false));
    }

    private static void Time(RespSession session, RespCommand command)
    {
        long microseconds = (session.Door.Clock.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;
        session.Output.Array(2);
        session.Output.BulkNumber(microseconds / 1_000_000);
        session.Output.BulkNumber(microseconds % 1_000_000);
    }

    private static void Info(RespSession session, RespCommand command)
    {
        List<string> sections = [];
        for (int i = 1; i < command.Count; i++)
        {
            sections.Add(Encoding.ASCII.GetString(command[i]));
        }

        session.Output.Verbatim(InfoText.Of(session.Door, sections));
    }

    private static void SlowCommands(RespSession session, RespCommand command)
    {
        long count = DefaultSlowCommands;
        if (command.Count > 3)
        {
            session.Output.Error(RespErrors.UnknownSubcommand(CommandTable.Find("slowlog"u8)!, command));
            return;
        }

        if (command.Count == 3 && (!RespNumber.TryRead(command[2], out count) || count < -1))
        {
            session.Output.Error("ERR count should be greater than or equal to -1");
            return;
        }

        SlowRequest[] slow = session.Door.SlowLog.Newest(count is -1 or > int.MaxValue ? int.MaxValue : (int)count);
        RespOutput output = session.Output;
        output.Array(slow.Length);
        foreach (SlowRequest one in slow)
        {
            output.Array(6);
            output.Integer(one.Number);
            output.Integer(one.UnixMilliseconds / 1000);
            output.Integer((long)one.Duration.TotalMicroseconds);
            output.Array(one.Arguments.Length);
            foreach (byte[] argument in one.Arguments)
            {
                output.Bulk(argument);
            }

            output.Bulk(one.Peer);
            output.Bulk(one.Name);
        }
    }

    private static void ForgetSlowCommands(RespSession session, RespCommand command)
    {
        session.Door.SlowLog.Clear();
        session.Output.Ok();
    }
}
