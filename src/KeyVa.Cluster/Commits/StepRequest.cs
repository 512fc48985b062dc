using KeyVa.Commits;
using KeyVa.Partitions;

namespace KeyVa.Cluster.Commits;

/// <summary>A step of a commit on its way through a partition's log; whoever asked hears what it came to, on the driver's loop.</summary>
internal sealed class StepRequest : WriteRequest
{
    private readonly Action<WriteResult> _done;

    public StepRequest(CommitStep step, ReadOnlySpan<byte> operations, Action<WriteResult> done)
    {
        Command = new CommandBuilder { Step = step };
        Command.Buffer.Append(operations);
        _done = done;
    }

    public CommitStep Step => Command!.Step!;

    public override void Complete()
    {
        Command!.Dispose();
        _done(Result);
    }
}
