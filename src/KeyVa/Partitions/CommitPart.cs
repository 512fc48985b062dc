using System.Diagnostics;

namespace KeyVa.Partitions;

/// <summary>What of the batch lies in one partition.</summary>
internal sealed class CommitPart(PartitionWriter writer)
{
    private readonly List<int> _operations = [];

    public PartitionWriter Writer { get; } = writer;

    public Io.NativeBuffer Command { get; } = new();

    /// <summary>Which operation of the batch each of the part's operations is.</summary>
    public List<int> Operations => _operations;

    /// <summary>Which of them are merges.</summary>
    public List<int> Merges { get; } = [];

    /// <summary>Whether it has more than checks.</summary>
    public bool HasWrites { get; private set; }

    /// <summary>What of the batch lies in each partition, by rising partition number; false with the reason if this node does not own all of it.</summary>
    public static bool TrySplit(CommandBuilder command, PartitionMap map, out CommitPart[] ordered, out WriteResult refusal)
    {
        var parts = new SortedDictionary<long, CommitPart>();
        ReadOnlySpan<byte> bytes = command.Buffer.Written;
        ordered = [];
        refusal = default;
        for (int i = 0; ; i++)
        {
            ReadOnlySpan<byte> before = bytes;
            if (!OperationEncoding.TryRead(ref bytes, out Operation operation))
            {
                break;
            }

            bool isOwned;
            if (operation.IsRange || operation.IsRollBack)
            {
                isOwned = AddRange(parts, map, operation, i);
            }
            else
            {
                Partition? owner = map.Find(operation.Key);
                isOwned = owner is not null && !(operation.SpansRange && PartitionMap.EndsBehind(operation.To, owner));
                if (isOwned)
                {
                    PartOf(parts, owner!).Add(before[..^bytes.Length], i, operation);
                }
            }

            if (!isOwned)
            {
                refusal = Refusals.BadNode(i);
                foreach (CommitPart part in parts.Values)
                {
                    part.Command.Dispose();
                }

                return false;
            }
        }

        ordered = [.. parts.Values];
        return true;
    }

    private static CommitPart PartOf(SortedDictionary<long, CommitPart> parts, Partition owner)
    {
        if (!parts.TryGetValue(owner.Id, out CommitPart? part))
        {
            parts.Add(owner.Id, part = new CommitPart(owner.Writer));
        }

        return part;
    }

    /// <summary>
    /// Splits a range by the partitions that own it; false if this node does not own all of it (all keys: all it owns).
    /// </summary>
    private static bool AddRange(SortedDictionary<long, CommitPart> parts, PartitionMap map, in Operation operation, int number)
    {
        bool isEverything = operation.Key.IsEmpty && operation.To.IsEmpty;
        ArraySegment<Partition> owners = map.Cover(operation.Key, operation.To, out bool complete);
        foreach (Partition owner in owners)
        {
            PartOf(parts, owner).AddRange(owner.Range, operation, number);
        }

        return owners.Count > 0 && (complete || isEverything);
    }

    public void Add(ReadOnlySpan<byte> bytes, int number, in Operation operation)
    {
        Command.Append(bytes);
        _operations.Add(number);
        HasWrites |= !operation.IsCheck;
        if (operation.IsMerge)
        {
            Merges.Add(number);
        }
    }

    /// <summary>Adds what a removed range and the partition's own have in common.</summary>
    public void AddRange(KeyRange own, in Operation operation, int number)
    {
        ReadOnlySpan<byte> from = operation.Key;
        ReadOnlySpan<byte> to = operation.To;
        ReadOnlySpan<byte> ownTo = own.To.Span;
        HasWrites = true;
        bool endsHere = !to.IsEmpty && (ownTo.IsEmpty || to.SequenceCompareTo(ownTo) < 0);
        from = from.SequenceCompareTo(own.From.Span) > 0 ? from : own.From.Span;
        to = endsHere ? to : ownTo;
        if (operation.IsRollBack)
        {
            OperationEncoding.AppendRollBack(Command, from, to, operation.TargetVersion);
        }
        else
        {
            OperationEncoding.AppendRemoveRange(Command, from, to);
        }

        _operations.Add(number);
    }

    public void Write(long version, long stamp, bool[] removed, RollBackTally? tally)
    {
        var outcome = default(CommandOutcome);
        var mine = new bool[_operations.Count];
        CommandApplier.Write(Writer.State, Command.Written, version, stamp, mine, ref outcome);
        Debug.Assert(outcome.Status == Status.Ok, "it was checked");
        if (tally is not null)
        {
            tally.Changed += outcome.ChangedCount;
        }

        for (int i = 0; i < mine.Length; i++)
        {
            removed[_operations[i]] = mine[i];
        }
    }
}
