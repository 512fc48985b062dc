using KeyVa.Commits;
using KeyVa.Engines;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// Keeps out of a partition's log what must not stand between the prepare of a commit over several partitions and its end (docs/decisions/commits-over-partitions.md). Owned
/// by its replica.
/// </summary>
/// <remarks>
/// Invariant: no ordinary command stands in a log between a prepare that holds and its finish. A leader proposes nothing behind a prepare until that is applied, and from then on
/// sees what is prepared; one that begins to lead has applied everything before its term.
/// </remarks>
internal sealed class PreparedGate
{
    // The index of the newest prepare that was proposed here in this leadership; 0: none.
    private long _proposedAt;

    /// <summary>Whether a command of a kind may go into the log now.</summary>
    public bool Admits(StepKind kind, Engine engine) =>
        kind is StepKind.Finish or StepKind.Forget or StepKind.Resolve || (_proposedAt <= engine.AppliedIndex && engine.Commits.Prepared is null);

    public void Proposed(StepKind kind, long index)
    {
        if (kind == StepKind.Prepare)
        {
            _proposedAt = index;
        }
    }

    /// <summary>What was proposed and is not applied never will be.</summary>
    public void Reset() => _proposedAt = 0;

    /// <summary>For defects: drops what is prepared.</summary>
    public void Forget(Engine engine)
    {
        Reset();
        engine.Commits.EndPrepared();
        engine.Commits.Publish(0);
    }

    /// <summary>Reads that have seen the log up to this index may be answered: one that has seen a prepare waits for what was decided, which others may have seen already.</summary>
    public static long ReadableThrough(long applied, Engine engine) => engine.Commits.Prepared is { } part ? Math.Min(applied, part.Index - 1) : applied;
}
