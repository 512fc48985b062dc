using System.Diagnostics;
using KeyVa.Engines;
using KeyVa.Indexes;

namespace KeyVa.Partitions;

/// <summary>
/// The state machine: evaluates a command against the engine's newest state and writes its changes. Deterministic: it
/// reads the engine, the command, its version and its stamp, and nothing else, so that a replay and a replica come to
/// the same result. Writer only.
/// </summary>
internal static class CommandApplier
{
    /// <summary>
    /// Whether every condition of a command holds and no merge is refused; if not, the outcome says which operation it was. Nothing is changed; what
    /// the merges come to is kept for <see cref="Write"/>, which must follow. <paramref name="version"/>: the command's.
    /// </summary>
    public static bool Check(PartitionState state, ReadOnlySpan<byte> command, long version, long stamp, ref CommandOutcome outcome)
    {
        int merges = 0;
        for (int i = 0; OperationEncoding.TryRead(ref command, out Operation operation); i++)
        {
            if (operation.Condition != ConditionKind.None && !Holds(state, operation, version, stamp, out long current))
            {
                outcome.Status = Status.ConditionFailed;
                outcome.FailedOperation = i;
                outcome.CurrentVersion = current;
                return false;
            }

            if (operation.IsMerge && !Evaluate(state, operation, merges++, stamp, ref outcome))
            {
                outcome.FailedOperation = i;
                return false;
            }
        }

        return true;
    }

    /// <summary>
    /// Evaluates the merges of a command that is decided, for <see cref="Write"/>. None of them can be refused, as none was when it
    /// was decided over the same state.
    /// </summary>
    public static void EvaluateDecided(PartitionState state, ReadOnlySpan<byte> command, long stamp)
    {
        int merges = 0;
        while (OperationEncoding.TryRead(ref command, out Operation operation))
        {
            var outcome = default(CommandOutcome);
            if (operation.IsMerge && !Evaluate(state, operation, merges++, stamp, ref outcome))
            {
                throw new StoreException($"a merge in the journal that was done is refused when it is done again ({outcome.Detail}): its function does not always come to the same");
            }
        }
    }

    /// <summary>
    /// Writes a command whose conditions hold and whose merges are evaluated. <paramref name="removed"/>, if not empty, gets for each operation whether
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
        int merges = 0;
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
            else if (operation.IsRollBack)
            {
                outcome.ChangedCount += RollBackRun.Apply(state, operation.Key, operation.To, operation.TargetVersion, version, stamp);
            }
            else if (operation.IsMerge)
            {
                state.Put(operation.Key, version, stamp, state.Merges.ExpiresAt(merges), state.Merges.Value(merges));
                merges++;
            }
            else if (operation.IndexAction != IndexAction.None)
            {
                state.Indexes?.Apply(operation, version, stamp);
            }
            else if (operation.IsSetting)
            {
                state.Set(operation.Key, operation.Value);
            }
            else if (!operation.IsCheck && (operation.IsBlind || Exists(state.Engine, operation.Key, stamp)))
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

    private static bool Evaluate(PartitionState state, in Operation operation, int merge, long stamp, ref CommandOutcome outcome)
    {
        if (merge == 0)
        {
            state.Merges.Begin();
        }

        outcome.Status = state.Merges.Evaluate(state.Engine, operation, stamp, out outcome.Detail);
        return outcome.Status == Status.Ok;
    }

    private static bool Exists(Engine engine, ReadOnlySpan<byte> key, long stamp)
    {
        bool found = engine.TryGet(key, ReadVersion.Newest, out ValueLease lease);
        using (lease)
        {
            return found && !IsExpired(lease, stamp);
        }
    }

    private static bool Holds(PartitionState state, in Operation operation, long version, long stamp, out long currentVersion)
    {
        if (operation.IsIndexCheck)
        {
            currentVersion = 0;
            return IndexCheck.Read(operation).Holds(state.Indexes, version, stamp);
        }

        return Holds(state.Engine, operation, stamp, out currentVersion);
    }

    /// <summary>Whether the condition of an operation, but for that of an index, holds; if not, the version that its key has instead.</summary>
    internal static bool Holds(Engine engine, in Operation operation, long stamp, out long currentVersion)
    {
        if (operation.IsRangeCheck)
        {
            currentVersion = 0;
            return RangeCheck.Read(operation).Holds(engine, stamp);
        }

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

    internal static bool IsExpired(in ValueLease lease, long stamp) =>
        lease.ExpiresAtUnixMilliseconds != 0 && lease.ExpiresAtUnixMilliseconds <= stamp;
}
