using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>
/// Which of a connection's commands may read where they stand, where partitions are replicated: those that had come when this node asked how far the leader is,
/// and now has as much. So one question is enough for all reads of a pipeline, and no thread waits for its answer. One thread at a time.
/// </summary>
internal sealed class ConfirmedReads(RespSession session)
{
    // A place in the conversation, in bytes from its beginning: commands before it are covered.
    private long _coveredTo;
    private Status _status;

    /// <summary>Whether a command that stands at a place has to wait for a question.</summary>
    public bool IsAsked(long place) => place < _coveredTo;

    /// <summary>Whether it may read.</summary>
    public bool Allows(long place) => place < _coveredTo && _status == Status.Ok;

    /// <summary>What is said of a read that may not.</summary>
    public string Refusal => RespErrors.Of(_status, ConsistentReads.Detail(_status));

    /// <summary>Whether a command reads keys where it stands. What runs as a transaction asks by itself.</summary>
    public static bool Concerns(RespCommand command) =>
        command.Count > 0 && CommandTable.Find(command[0]) is { } info
        && (info.Data is not null || info.FirstKey > 0) && !info.IsWrite && info.TakesArguments(command.Count);

    /// <summary>Asks for everything that has come, which ends at a place.</summary>
    public async Task AskAsync(long end)
    {
        _coveredTo = end;
        _status = await AwaitAsync();
    }

    /// <summary>Waits until this node has everything that was acknowledged anywhere before; a store that is alone always has.</summary>
    public ValueTask<Status> AwaitAsync() =>
        session.Door.ConfirmsReads ? session.Door.Cluster!.ConfirmReadsAsync(null, session.Door.Stopping) : ValueTask.FromResult(Status.Ok);
}
