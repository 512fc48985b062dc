using System.Diagnostics;
using KeyVa.Engines;

namespace KeyVa.Partitions;

/// <summary>
/// The state machine: evaluates a command against the engine's newest state and writes its changes. Deterministic: it
/// reads the engine, the command, its version and its stamp, and nothing else, so that a replay and a replica come to
/// the same result. Writer only.
/// </summary>
internal static class CommandApplier
{
    /// <summary>
    /// Whether every condition of a command holds; if not, the outcome says which one does not. Nothing is changed.
    /// </summary>
    public static bool Check(Engine engine, ReadOnlySpan<byte> command, long stamp, ref CommandOutcome outcome)
    {
        for (int i = 0; OperationEncoding.TryRead(ref command, out Operation operation); i++)
        {
            if (operation.Condition != ConditionKind.None && !Holds(engine, operation, stamp, out long current))
            {
                outcome.Status = Status.ConditionFailed;
                outcome.FailedOperation = i;
                outcome.CurrentVersion = current;
                return false;
            }
        }

        return true;
    }

    /// <summary>
    /// Writes a command whose conditions hold. <paramref name="removed"/>, if not empty, gets for each operation whether
    /// it removed a key; a removal of a range does not look, and always counts as one.
    /// </summary>
    /// <remarks>
    /// A range takes what was there before the command: its puts stay, and its removals of single keys say whether the
    /// key was there, wherever they stand. So ranges come last, and pass over what has the command's version.
    /// </remarks>
    public static void Write(PartitionState state, ReadOnlySpan<byte> command, long version, long stamp, Span<bool> removed, ref CommandOutcome outcome)
    {
        ReadOnlySpan<byte> whole = command;
        bool hasRanges = false;
        for (int i = 0; OperationEncoding.TryRead(ref command, out Operation operation); i++)
        {
            if (operation.IsPut)
            {
                state.Put(operation.Key, version, stamp, operation.ExpiresAt(stamp), operation.Value);
            }
            else if (operation.IsRange)
            {
                hasRanges = true;
                outcome.RemovedCount++;
                if (!removed.IsEmpty)
                {
                    removed[i] = true;
                }
            }
            else if (operation.IndexAction != Indexes.IndexAction.None)
            {
                state.Indexes?.Apply(operation, version, stamp);
            }
            else if (operation.IsBlind || Exists(state.Engine, operation.Key, stamp))
            {
                state.Remove(operation.Key, version, stamp);
                outcome.RemovedCount++;
                if (!removed.IsEmpty)
                {
                    removed[i] = true;
                }
            }
        }

        Debug.Assert(command.IsEmpty, "a command is operations and nothing else");
        if (hasRanges)
        {
            WriteRanges(state, whole, version, stamp);
        }

        outcome.Status = Status.Ok;
    }

    private static void WriteRanges(PartitionState state, ReadOnlySpan<byte> command, long version, long stamp)
    {
        while (OperationEncoding.TryRead(ref command, out Operation operation))
        {
            if (operation.IsRange)
            {
                state.RemoveRange(operation.Key, operation.To, version, stamp);
            }
        }
    }

    private static bool Exists(Engine engine, ReadOnlySpan<byte> key, long stamp)
    {
        bool found = engine.TryGet(key, ReadVersion.Newest, out ValueLease lease);
        using (lease)
        {
            return found && !IsExpired(lease, stamp);
        }
    }

    private static bool Holds(Engine engine, in Operation operation, long stamp, out long currentVersion)
    {
        bool found = engine.TryGet(operation.Key, ReadVersion.Newest, out ValueLease lease);
        using (lease)
        {
            bool exists = found && !IsExpired(lease, stamp);
            currentVersion = exists ? lease.Version : 0;
            return operation.Condition switch
            {
                ConditionKind.IfAbsent => !exists,
                ConditionKind.IfPresent => exists,
                ConditionKind.IfVersion => exists && lease.Version == operation.ConditionVersion,
                ConditionKind.IfValue => exists && lease.Value.SequenceEqual(operation.ConditionValue),
                _ => throw new UnreachableException($"condition {operation.Condition}"),
            };
        }
    }

    private static bool IsExpired(in ValueLease lease, long stamp) =>
        lease.ExpiresAtUnixMilliseconds != 0 && lease.ExpiresAtUnixMilliseconds <= stamp;
}
