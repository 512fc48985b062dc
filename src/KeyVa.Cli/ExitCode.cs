namespace KeyVa.Cli;

/// <summary>What <c>keyva</c> ends with; a contract with scripts.</summary>
internal static class ExitCode
{
    /// <summary>Done.</summary>
    public const int Done = 0;

    /// <summary>A key, a partition or an index asked for is not there.</summary>
    public const int NotFound = 1;

    /// <summary>The command line, the configuration or a local file it names is wrong; nothing was begun.</summary>
    public const int Usage = 2;

    /// <summary>The server cannot be reached, or did not answer in time.</summary>
    public const int Unreachable = 3;

    /// <summary>The store understood and refused: a condition, a limit, a key this node does not own, a full disk.</summary>
    public const int Refused = 4;

    /// <summary>Damage was found in a data folder.</summary>
    public const int Damage = 5;

    /// <summary>Interrupted by Ctrl-C, as shells count it: 128 + SIGINT.</summary>
    public const int Interrupted = 130;

    /// <summary>The reader of the output went away, as shells count it: 128 + SIGPIPE.</summary>
    public const int BrokenPipe = 141;

    /// <summary>How a refusal of the store ends the command.</summary>
    public static int Of(Status status) => status switch
    {
        Status.Ok => Done,
        Status.NotFound => NotFound,
        Status.Invalid => Usage,
        _ => Refused,
    };
}

/// <summary>Ends a command with an exit code and a message for the person who typed it.</summary>
internal sealed class CommandException : Exception
{
    /// <summary>Says what happened, to what, and what to do.</summary>
    public CommandException(int exitCode, string message)
        : base(message) => Code = exitCode;

    /// <summary>One of <see cref="ExitCode"/>.</summary>
    public int Code { get; }

    /// <summary>The status with which the store refused; Ok if it was not the store.</summary>
    public Status Status { get; private init; }

    /// <summary>A wrong command line.</summary>
    public static CommandException Usage(string message) => new(ExitCode.Usage, message);

    /// <summary>The store refused.</summary>
    public static CommandException Refused(Status status, string? detail) =>
        new(ExitCode.Of(status), detail ?? Explain(status)) { Status = status };

    private static string Explain(Status status) => status switch
    {
        Status.NotFound => "the key is not there",
        Status.ConditionFailed => "the condition does not hold; nothing was written",
        Status.Invalid => "the request is not valid",
        Status.TooLarge => "a key, a value or the whole batch is larger than the server allows",
        Status.BadNode => "this server owns no partition for the key; see 'keyva admin partition list'",
        Status.Full => "the server's disk is full; nothing was written. Removals still work, and writes go on when there is room",
        Status.Busy => "the server is busy; try again in a moment",
        Status.Unsupported => "the partition's engine cannot do this",
        Status.Conflict => "another transaction has changed what this one has read or written; try it again",
        Status.Deadlock => "the transaction was rolled back to end a deadlock; try it again",
        Status.LockTimeout => "another transaction holds the key; try again in a moment",
        Status.Expired => "the transaction reached its time limit and was rolled back",
        Status.Compacted => "the version or time asked for has been forgotten",
        Status.MergeRefused => "the function cannot make a value of what the key holds and the operand; nothing was written",
        Status.NotUnique => "a unique index has the value already; nothing was written",
        Status.NotIndexable => "a strict index cannot read the value; nothing was written",
        Status.NotReady => "the index is being filled; try again later",
        Status.Unavailable => "no leader of the partition can be reached; nothing was done, try again in a moment",
        Status.Unknown => "the write may have been done or may not; read before you write again",
        Status.Unauthenticated => "the server has users; name yours with --user, or use a profile ('keyva profile --help')",
        Status.PermissionDenied => "the user may not do this, or not with these keys",
        Status.RateLimited => "a limit of requests or bytes is reached; try again later",
        Status.Failed => "the server's store has stopped after a failure of its disk; see its log",
        _ => $"the server answered {status}",
    };
}
