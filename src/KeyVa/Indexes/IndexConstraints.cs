using KeyVa.Io;
using KeyVa.Merges;
using KeyVa.Partitions;

namespace KeyVa.Indexes;

/// <summary>
/// What strict and unique indexes ask of a command: evaluated when it is applied, in log order, as its conditions are. One
/// partition's; its writer's.
/// </summary>
/// <remarks>
/// A command is looked at as a whole: a record that it rewrites or removes does not count with what it had before, so two records
/// may swap their values. The companion is read as it was before the command, so a replay into one that is ahead comes to the same
/// (<see cref="Engines.EngineContext.Retained"/>). Merges count with what they come to. Rolling back is refused altogether: what it would write
/// is not known before it is done, and others may have taken the values since.
/// </remarks>
internal sealed class IndexConstraints
{
    private const int KeptBytes = 64 << 10;

    private readonly IndexEntries _entries = new();
    private readonly List<(int Offset, int Length, int Operation)> _places = [];

    private NativeBuffer Tuples { get; } = new(64);

    /// <summary>Whether any of these indexes constrains writes.</summary>
    public static bool Any(PartitionIndex[] indexes) =>
        Array.Exists(indexes, static index => index.IsActive && (index.Definition.Unique || index.Definition.Strict));

    /// <summary>
    /// Whether the command may be applied; if not, the outcome says which index forbids it. <paramref name="merges"/>: what its merges come to.
    /// </summary>
    public bool Allow(PartitionIndex[] indexes, MergeEvaluator merges, ReadOnlySpan<byte> command, long version, long stamp, ref CommandOutcome outcome)
    {
        foreach (PartitionIndex index in indexes)
        {
            if (index.IsActive && (index.Definition.Unique || index.Definition.Strict) && !Allow(index, merges, command, version, stamp, ref outcome))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Whether a command puts, merges, removes, or removes with a range, this key.</summary>
    public static bool Rewrites(ReadOnlySpan<byte> command, ReadOnlySpan<byte> key)
    {
        while (OperationEncoding.TryRead(ref command, out Operation operation))
        {
            bool isIt = operation.IsRange
                ? key.SequenceCompareTo(operation.Key) >= 0 && (operation.To.IsEmpty || key.SequenceCompareTo(operation.To) < 0)
                : operation.IsWrite && operation.Key.SequenceEqual(key);
            if (isIt)
            {
                return true;
            }
        }

        return false;
    }

    private bool Allow(PartitionIndex index, MergeEvaluator merges, ReadOnlySpan<byte> command, long version, long stamp, ref CommandOutcome outcome)
    {
        Tuples.Clear(KeptBytes);
        _places.Clear();
        ReadOnlySpan<byte> rest = command;
        int merge = 0;
        for (int i = 0; OperationEncoding.TryRead(ref rest, out Operation operation); i++)
        {
            if (operation.IsRollBack)
            {
                outcome.Status = Status.Unsupported;
                outcome.FailedOperation = i;
                outcome.Detail = IndexRefusals.RollBack(index.Definition.Name);
                return false;
            }

            if (!operation.IsPut && !operation.IsMerge)
            {
                continue;
            }

            index.Read(operation.Key, operation.IsMerge ? merges.Value(merge++) : operation.Value, _entries);
            if (_entries.IsRejected && index.Definition.Strict)
            {
                outcome.Status = Status.NotIndexable;
                outcome.FailedOperation = i;
                outcome.Index = index.Definition.Name;
                return false;
            }

            if (index.Definition.Unique && !_entries.IsRejected && !AllowTuples(index, operation.Key, command, version, stamp, i, ref outcome))
            {
                return false;
            }
        }

        return _places.Count < 2 || AllowTogether(index, ref outcome);
    }

    private bool AllowTuples(PartitionIndex index, ReadOnlySpan<byte> key, ReadOnlySpan<byte> command, long version, long stamp, int operation, ref CommandOutcome outcome)
    {
        for (int i = 0; i < _entries.Count; i++)
        {
            ReadOnlySpan<byte> tuple = _entries[i][..^key.Length];
            if (IndexValueEncoding.HasNull(tuple))
            {
                continue;
            }

            _places.Add((Tuples.Length, tuple.Length, operation));
            Tuples.Append(tuple);
            byte[]? other = index.FindOther(tuple, key, version - 1, stamp, command);
            if (other is not null)
            {
                Refuse(index, operation, other, ref outcome);
                return false;
            }
        }

        return true;
    }

    /// <summary>Whether the command's own records differ.</summary>
    private bool AllowTogether(PartitionIndex index, ref CommandOutcome outcome)
    {
        _places.Sort((a, b) =>
        {
            int order = Tuples.Slice(a.Offset, a.Length).SequenceCompareTo(Tuples.Slice(b.Offset, b.Length));
            return order != 0 ? order : a.Operation.CompareTo(b.Operation);
        });
        for (int i = 1; i < _places.Count; i++)
        {
            (int offset, int length, int operation) = _places[i];
            if (operation != _places[i - 1].Operation
                && Tuples.Slice(offset, length).SequenceEqual(Tuples.Slice(_places[i - 1].Offset, _places[i - 1].Length)))
            {
                Refuse(index, operation, null, ref outcome);
                return false;
            }
        }

        return true;
    }

    private static void Refuse(PartitionIndex index, int operation, byte[]? other, ref CommandOutcome outcome)
    {
        outcome.Status = Status.NotUnique;
        outcome.FailedOperation = operation;
        outcome.Index = index.Definition.Name;
        outcome.OtherKey = other;
    }
}
