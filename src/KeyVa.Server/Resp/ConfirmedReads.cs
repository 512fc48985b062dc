using System.Diagnostics;
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

    // When this was asked; 0: the read that it was asked for has been told.
    private long _asked;

    /// <summary>Whether a command that stands at a place has to wait for a question.</summary>
    public bool IsAsked(long place) => place < _coveredTo;

    /// <summary>Whether it may read.</summary>
    public bool Allows(long place) => place < _coveredTo && _status == Status.Ok;

    /// <summary>What is said of a read that may not.</summary>
    public string Refusal => RespErrors.Of(_status, ConsistentReads.Detail(_status));

    /// <summary>Whether a command reads keys where it stands. What runs as a transaction asks by itself.</summary>
    public static bool Concerns(RespCommand command) =>
        command.Count > 0 && CommandTable.FindWhole(command) is { } info
        && (info.Data is not null || info.FirstKey > 0) && !info.IsWrite && info.TakesArguments(command.Count);

    /// <summary>Asks for everything that has come, which ends at a place.</summary>
    public async Task AskAsync(long end)
    {
        _coveredTo = end;
        _asked = Stopwatch.GetTimestamp();
        _status = await AwaitAsync();
    }

    /// <summary>When the read began that comes now, if it is the one that this was asked for; 0: it is another.</summary>
    public long TakeAsked()
    {
        long asked = _asked;
        _asked = 0;
        return asked;
    }

    /// <summary>Waits until this node has everything that was acknowledged anywhere before; a store that is alone always has.</summary>
    public ValueTask<Status> AwaitAsync() =>
        session.Door.ConfirmsReads ? session.Door.Cluster!.ConfirmReadsAsync(null, session.Door.Stopping) : ValueTask.FromResult(Status.Ok);
}
