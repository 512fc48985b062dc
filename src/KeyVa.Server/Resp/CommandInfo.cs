using KeyVa.Protocol.Resp;
using KeyVa.Server.Identity;

namespace KeyVa.Server.Resp;

/// <summary>What a command does, as COMMAND tells it, and what it may be used for.</summary>
[Flags]
internal enum CommandFlags
{
    None = 0,
    ReadOnly = 1,
    Write = 2,

    /// <summary>Costs about the same whatever it is asked for.</summary>
    Fast = 4,

    /// <summary>Not inside MULTI.</summary>
    NoMulti = 8,

    /// <summary>Also while a RESP2 connection is subscribed.</summary>
    WhileSubscribed = 16,

    /// <summary>Is about this connection's transaction, so MULTI does not queue it.</summary>
    NotQueued = 32,

    /// <summary>Reads more than the keys that its arguments name.</summary>
    ReadsAll = 64,

    /// <summary>Opens a scan, and reads little of it.</summary>
    Scans = 512,

    Admin = 128,
    PubSub = 256,
}

/// <summary>Does something about the connection or the server, or writes by a way of its own. Called outside of transactions.</summary>
internal delegate void SessionHandler(RespSession session, RespCommand command);

/// <summary>Reads or writes keys, and writes one reply.</summary>
internal delegate void DataHandler(DataCall call, RespCommand command);

/// <summary>One command. Immutable.</summary>
internal sealed class CommandInfo
{
    /// <summary>In lower case; of a subcommand <c>client|id</c>.</summary>
    public required string Name { get; init; }

    /// <summary>Arguments with the name; negative: at least so many.</summary>
    public required int Arity { get; init; }

    public CommandFlags Flags { get; init; }

    /// <summary>Where the first key stands; 0: it has none.</summary>
    public int FirstKey { get; init; }

    /// <summary>Where the last key stands; negative: from the end.</summary>
    public int LastKey { get; init; }

    public int KeyStep { get; init; } = 1;

    /// <summary>What it does where it is no matter of a transaction.</summary>
    public SessionHandler? Session { get; init; }

    /// <summary>What it does with keys: in a transaction, or straight on the store if it only reads.</summary>
    public DataHandler? Data { get; init; }

    /// <summary>The subcommands of a command that is nothing by itself.</summary>
    public CommandInfo[] Subcommands { get; init; } = [];

    /// <summary>
    /// Whether a pipeline may go on behind it before it is on the disk: one write, whose reply comes with it (<see cref="RespSession.Await(ValueTask{WriteResult}, Action{RespOutput, WriteResult})"/>).
    /// Null: never.
    /// </summary>
    public Func<RespSession, RespCommand, bool>? Pipelines { get; init; }

    /// <summary>Whether it leaves a whole number where there was one.</summary>
    public bool IsCounter { get; init; }

    /// <summary>What it counts as in metrics.</summary>
    public Operation Operation { get; private set; }

    /// <summary>Decides what it and its subcommands count as.</summary>
    public void Classify()
    {
        Operation = Name switch
        {
            "set" or "setnx" or "setex" or "psetex" => Operation.Upsert,
            "del" or "unlink" or "getdel" or "flushdb" or "flushall" => Operation.Remove,
            "exec" => Operation.Commit,
            _ when IsWrite => Operation.Write,
            _ when Is(CommandFlags.Scans) || Is(CommandFlags.ReadsAll) => Operation.Scan,
            _ when Is(CommandFlags.ReadOnly) && FirstKey > 0 => Operation.Get,
            _ => Operation.Other,
        };
        foreach (CommandInfo subcommand in Subcommands)
        {
            subcommand.Classify();
        }
    }

    /// <summary>What it takes to be allowed it; the table of commands sets it, from the table of permissions.</summary>
    public Permission Permission { get; set; } = PermissionTable.Missing;

    public bool IsWrite => (Flags & CommandFlags.Write) != 0;

    public bool Is(CommandFlags flag) => (Flags & flag) != 0;

    public bool TakesArguments(int count) => Arity >= 0 ? count == Arity : count >= -Arity;

    /// <summary>Where the last key of a command with so many arguments stands.</summary>
    public int LastKeyOf(int count) => FirstKey == 0 ? -1 : LastKey < 0 ? count + LastKey : LastKey;
}
