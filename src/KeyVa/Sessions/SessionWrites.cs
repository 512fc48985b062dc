using KeyVa.Partitions;

namespace KeyVa.Sessions;

/// <summary>Applies commands of sessions: once, however often they come. As deterministic as <see cref="CommandApplier"/>. Writer only; stateless.</summary>
internal static class SessionWrites
{
    /// <summary>Opens a session, or applies a write of one and keeps its result, or answers with the result that was kept.</summary>
    public static WriteResult Apply(PartitionState state, SessionHead session, ReadOnlySpan<byte> operations, long version, long stamp, in WriteReceipt receipt)
    {
        SessionTable table = state.Engine.Sessions;
        if (session.Sequence == 0)
        {
            table.Open(session.Client, stamp);
            return new WriteResult { Status = Status.Ok, Version = version, FailedOperation = -1, Receipt = receipt };
        }

        switch (table.Look(session.Client, session.Sequence, stamp, out ReadOnlyMemory<byte> kept))
        {
            case SessionVerdict.Repeat:
                return SessionResult.Decode(kept.Span) with { Receipt = receipt };
            case SessionVerdict.Unknown:
                return Refusals.NoSession(session.Client);
            default:
                WriteResult result = ApplyNow(state, operations, version, stamp, receipt);
                table.Record(session.Client, session.Sequence, stamp, SessionResult.Encode(result));
                return result;
        }
    }

    private static WriteResult ApplyNow(PartitionState state, ReadOnlySpan<byte> operations, long version, long stamp, in WriteReceipt receipt)
    {
        (int count, int removals, int merges) = (0, 0, 0);
        ReadOnlySpan<byte> rest = operations;
        while (OperationEncoding.TryRead(ref rest, out Operation operation))
        {
            count++;
            merges += operation.IsMerge ? 1 : 0;
            removals += operation.IsRange || (operation.IsWrite && !operation.IsPut && !operation.IsMerge) ? 1 : 0;
        }

        var outcome = new CommandOutcome { FailedOperation = -1 };
        bool[]? removed = null;
        if (CommandApplier.Check(state, operations, version, stamp, ref outcome) && state.Allows(operations, version, stamp, ref outcome))
        {
            removed = removals > 0 && count > 1 ? new bool[count] : null;
            CommandApplier.Write(state, operations, version, stamp, removed, ref outcome);
        }

        WriteResult result = Refusals.FromOutcome(outcome, count, removals > 0, version, removed, receipt);
        return merges > 0 && result.IsOk ? result with { Merged = state.Merges.Copy() } : result;
    }
}
