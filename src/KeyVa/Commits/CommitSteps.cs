using System.Globalization;
using KeyVa.Engines;
using KeyVa.Partitions;

namespace KeyVa.Commits;

/// <summary>
/// Applies the steps of commits over several partitions (docs/decisions/commits-over-partitions.md). As deterministic as <see cref="CommandApplier"/>: by the partition's state,
/// the step, its version and its stamp alone. Writer only; stateless.
/// </summary>
/// <remarks>
/// Invariant: while a part is prepared nothing else is written in its partition and its visible version stays at that of the prepare. The commit's version is above it. So versions
/// rise along each log, and what a reader sees at a version that a partition has reached never changes.
/// </remarks>
internal static class CommitSteps
{
    /// <summary>Applies a step; its result is the coordinator's. <paramref name="newest"/>: the newest version that readers of the partition see, which may rise.</summary>
    public static WriteResult Apply(PartitionState state, CommitStep step, ReadOnlySpan<byte> operations, long version, long stamp, in WriteReceipt receipt, ref long newest)
    {
        CommitTable table = state.Engine.Commits;
        switch (step.Kind)
        {
            case StepKind.Prepare:
                return Prepare(state, table, step, operations, version, stamp, receipt, ref newest);
            case StepKind.Decide:
                return Decide(state, table, step, operations, version, stamp, receipt, ref newest);
            case StepKind.Finish:
                Finish(state, table, step, ref newest);
                return Done(0, receipt);
            case StepKind.Forget:
                table.Forget(step.Id);
                return Done(0, receipt);
            case StepKind.Resolve:
                return Resolve(table, step, stamp, receipt);
            default:
                // Whoever asks waits until it is visible; the leader proposes none while something is prepared.
                if (table.PreparedNow is not null)
                {
                    return Held;
                }

                // No further than was asked for: each entry would else put all other partitions behind, which would have to be brought up in their turn.
                newest = Math.Max(newest, step.Floor);
                return Done(newest, receipt);
        }
    }

    /// <summary>What a command is told that meets a prepared part in the log; leaders keep it out of there.</summary>
    public static WriteResult Held { get; } = new()
    {
        Status = Status.Busy,
        FailedOperation = -1,
        Detail = "a commit over several partitions is about to end in this partition; nothing was done, try again in a moment",
    };

    private static WriteResult TooLate { get; } = new()
    {
        Status = Status.Unavailable,
        FailedOperation = -1,
        Detail = "the commit took so long that it was given up; nothing was done, try again",
    };

    // Its writes were told what they come to the first time; what removals found then and merges came to is not kept. Whoever asked has the others wait for whoever finishes.
    private static WriteResult DecidedBefore { get; } = new()
    {
        Status = Status.Unknown,
        FailedOperation = -1,
        Detail = "the commit was decided before, and the answer was lost; it is done",
    };

    private static WriteResult Done(long version, in WriteReceipt receipt) => new() { Status = Status.Ok, Version = version, FailedOperation = -1, Receipt = receipt };

    private static WriteResult Prepare(
        PartitionState state, CommitTable table, CommitStep step, ReadOnlySpan<byte> operations, long version, long stamp, in WriteReceipt receipt, ref long newest)
    {
        if (table.PreparedNow is not null)
        {
            return Held;
        }

        if (stamp > step.Deadline)
        {
            return TooLate;
        }

        var outcome = new CommandOutcome { FailedOperation = -1 };
        if (!CommandApplier.Check(state, operations, version, stamp, ref outcome) || !state.Allows(operations, version, stamp, ref outcome))
        {
            newest = version;
            return Refusals.FromFailed(outcome, outcome.FailedOperation);
        }

        WriteResult foretold = Foretell(state, operations, stamp);
        table.Prepare(new PreparedPart(step.Id, step.Argument, step.Deadline, version, stamp, state.Engine.AppliedIndex + 1, operations.ToArray()));
        newest = version;
        return foretold with { Version = version, Receipt = receipt };
    }

    private static WriteResult Decide(
        PartitionState state, CommitTable table, CommitStep step, ReadOnlySpan<byte> operations, long version, long stamp, in WriteReceipt receipt, ref long newest)
    {
        // Before anything else: what was decided stands, whatever became of the answer.
        if (table.TryFind(step.Id, out Decision? earlier))
        {
            return earlier!.Version > 0 ? DecidedBefore : TooLate;
        }

        if (table.PreparedNow is not null || table.IsFull)
        {
            return Held;
        }

        if (stamp > step.Deadline || version <= step.Floor)
        {
            return TooLate;
        }

        newest = version;
        var outcome = new CommandOutcome { FailedOperation = -1 };
        if (!CommandApplier.Check(state, operations, version, stamp, ref outcome) || !state.Allows(operations, version, stamp, ref outcome))
        {
            return Refusals.FromFailed(outcome, outcome.FailedOperation);
        }

        WriteResult foretold = Foretell(state, operations, stamp);
        CommandApplier.Write(state, operations, version, stamp, default, ref outcome);
        table.Decide(step.Id, new Decision(version, step.Deadline, step.Partitions));
        return foretold with { Version = version, Receipt = receipt };
    }

    private static void Finish(PartitionState state, CommitTable table, CommitStep step, ref long newest)
    {
        if (table.PreparedNow is not { } part || part.Id != step.Id)
        {
            // Somebody else has finished it.
            return;
        }

        long version = step.Argument;
        if (version > 0)
        {
            if (version <= part.Version || part.Version < newest)
            {
                throw new StoreException(string.Create(CultureInfo.InvariantCulture, $"a commit over several partitions is to be written at version {version}, prepared at {part.Version}, over what is at {newest}: the log breaks its own rules"));
            }

            // As of its prepare: nothing was written since, and what has expired since had not then.
            CommandApplier.EvaluateDecided(state, part.Operations, part.Stamp);
            var outcome = default(CommandOutcome);
            CommandApplier.Write(state, part.Operations, version, part.Stamp, default, ref outcome);
            newest = version;
        }

        table.EndPrepared();
    }

    private static WriteResult Resolve(CommitTable table, CommitStep step, long stamp, in WriteReceipt receipt)
    {
        if (table.TryFind(step.Id, out Decision? decision))
        {
            return Done(decision!.Version, receipt);
        }

        // Behind the deadline it cannot be decided any more that it happens, so nothing has to be kept.
        if (stamp <= step.Deadline)
        {
            if (table.IsFull)
            {
                return Held;
            }

            table.Decide(step.Id, new Decision(0, step.Deadline, []));
        }

        return Done(0, receipt);
    }

    /// <summary>What operations that hold will come to: what their removals find, and their merges, which are evaluated. Nothing else is written before.</summary>
    private static WriteResult Foretell(PartitionState state, ReadOnlySpan<byte> operations, long stamp)
    {
        var removed = new List<bool>();
        bool hasMerges = false;
        while (OperationEncoding.TryRead(ref operations, out Operation operation))
        {
            bool removes = operation is { IsPut: false, IsMerge: false, IsCheck: false };
            removed.Add(removes && (operation.IsRange || operation.IsBlind || Exists(state.Engine, operation.Key, stamp)));
            hasMerges |= operation.IsMerge;
        }

        return new WriteResult { Status = Status.Ok, FailedOperation = -1, Removed = removed.ToArray(), Merged = hasMerges ? state.Merges.Copy() : [] };
    }

    private static bool Exists(Engine engine, ReadOnlySpan<byte> key, long stamp)
    {
        bool found = engine.TryGet(key, ReadVersion.Newest, out ValueLease lease);
        using (lease)
        {
            return found && !CommandApplier.IsExpired(lease, stamp);
        }
    }
}
