using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Log;
using KeyVa.Merges;

namespace KeyVa.Partitions;

/// <summary>A partition that is being repaired, and how far the journal has brought it.</summary>
internal sealed class RepairedPartition(PartitionDefinition definition, Engine engine, InlineWork work, bool isRebuilt)
{
    public PartitionDefinition Definition { get; } = definition;

    public Engine Engine { get; } = engine;

    public InlineWork Work { get; } = work;

    /// <summary>Up to here the log is known to lack what the engine has not; 0: nothing is.</summary>
    public long LostTo { get; set; }

    /// <summary>Holes in the journal before the last record that was for this partition.</summary>
    public int HolesBefore { get; set; }

    /// <summary>What the engine's files contain is not known by index: each key's version decides.</summary>
    public bool IsRebuilt { get; } = isRebuilt;
}

/// <summary>
/// Applies what is left of a journal to repaired engines: in the order of the log, what their files lack. One thread.
/// </summary>
/// <remarks>
/// Other than a replay it goes on behind a gap, and says which indexes are missing. A change is left out where the engine
/// has one of that version or a newer one, so that nothing old covers something new; a condition on such a key cannot be
/// looked at any more, and counts as met. A merge is done over the value that was saved; where that is not the one that it was done over
/// first, some loss was noted before.
/// </remarks>
internal sealed class JournalSalvageReplay(IReadOnlyDictionary<long, RepairedPartition> partitions, MergeRegistry functions, string journal, string missing, RepairLog log)
{
    private readonly MergeEvaluator _merges = new(functions);

    /// <summary>Where the journal is damaged: what knows its holes.</summary>
    public JournalSalvage? Salvage { get; set; }

    /// <summary>The newest version and stamp in the journal.</summary>
    public long Version { get; private set; }

    public long Stamp { get; private set; }

    public void Visit(in JournalRecord record)
    {
        if (record.Positions.IsEmpty || !GroupReader.TryOpen(record.Payload, out GroupReader group))
        {
            log.Lose(journal, 0, "a record of the journal has an unknown format");
            return;
        }

        bool hasParts = record.Kind is RecordKind.Commit or RecordKind.Ingest;
        Version = Math.Max(Version, hasParts ? group.Version : group.Version + group.Count - 1);
        Stamp = Math.Max(Stamp, group.Stamp);
        bool applied = false;
        foreach (LogPosition position in record.Positions)
        {
            ReadOnlySpan<byte> part = default;
            if (hasParts && !group.TryRead(out part))
            {
                return;
            }

            if (!partitions.TryGetValue(position.Partition, out RepairedPartition? partition))
            {
                continue;
            }

            partition.HolesBefore = Salvage?.Holes ?? 0;
            if (position.Index > partition.Engine.AppliedIndex)
            {
                NoteGap(partition, position.Index);
                Apply(partition, record, group, part, position.Index);
                applied = true;
            }
        }

        log.RecordsReplayed += applied ? 1 : 0;
    }

    /// <summary>A segment begins: what the engines lack of all before it is lost, though no later record may show it.</summary>
    public void Reach(ReadOnlySpan<LogPosition> positions)
    {
        foreach (LogPosition position in positions)
        {
            if (partitions.TryGetValue(position.Partition, out RepairedPartition? partition) && position.Index > Math.Max(partition.Engine.AppliedIndex, partition.LostTo))
            {
                if (Salvage is null && !partition.IsRebuilt)
                {
                    log.Damages.Add(JournalReplay.MissingSegment(missing, position.Partition, position.Index, partition.Engine.AppliedIndex));
                }

                NoteGap(partition, position.Index + 1);
                partition.LostTo = position.Index;
            }
        }
    }

    /// <summary>At the end: what no later index shows to be missing.</summary>
    public void NoteLostEnds()
    {
        foreach (RepairedPartition partition in partitions.Values)
        {
            if (partition.HolesBefore < Salvage!.Holes)
            {
                log.Lose(journal, 0, $"partition {partition.Definition.Id}: writes behind index {partition.Engine.AppliedIndex} may be missing: the journal is damaged behind it");
            }
        }
    }

    private void NoteGap(RepairedPartition partition, long index)
    {
        long next = Math.Max(partition.Engine.AppliedIndex, partition.LostTo) + 1;
        if (index == next)
        {
            return;
        }

        if (partition.IsRebuilt && next == 1)
        {
            log.Notes.Add($"partition {partition.Definition.Id}: the journal begins with index {index}; whether tables have all before it cannot be told");
            return;
        }

        log.Lose(journal, 0, $"partition {partition.Definition.Id}: the log lacks index {next} to {index - 1} (each a group of writes)");
    }

    private void Apply(RepairedPartition partition, in JournalRecord record, GroupReader group, ReadOnlySpan<byte> part, long index)
    {
        Engine engine = partition.Engine;
        engine.Admit(record.Payload.Length);
        partition.Work.RunAll();
        long version = group.Version;
        if (record.Kind == RecordKind.Commit)
        {
            Write(partition, part, version, group.Stamp, checks: false);
        }
        else if (record.Kind == RecordKind.Ingest)
        {
            Ingest(partition, part, new LogMark(index, version, group.Stamp));
        }
        else
        {
            for (int i = 0; i < group.Count && group.TryRead(out ReadOnlySpan<byte> command); i++)
            {
                version = group.Version + i;
                Write(partition, command, version, group.Stamp, checks: true);
            }
        }

        engine.EndGroup(index, Math.Max(version, engine.VisibleVersion), Math.Max(group.Stamp, engine.VisibleStamp));
    }

    private void Ingest(RepairedPartition partition, ReadOnlySpan<byte> part, LogMark mark)
    {
        try
        {
            partition.Engine.Ingestion?.Salvage(part, mark);
        }
        catch (CorruptionException damage)
        {
            log.Damages.Add(damage);
            log.Lose(damage.File, damage.Offset, $"partition {partition.Definition.Id}: a bulk load whose tables are damaged");
        }
    }

    private void Write(RepairedPartition partition, ReadOnlySpan<byte> command, long version, long stamp, bool checks)
    {
        Engine engine = partition.Engine;
        if (checks && !Holds(partition, command, version, stamp))
        {
            return;
        }

        ReadOnlySpan<byte> whole = command;
        while (OperationEncoding.TryRead(ref command, out Operation operation))
        {
            if (operation.IsRollBack)
            {
                RollBack(partition, operation, version, stamp);
                continue;
            }

            if (operation.IsSetting && !engine.Settings.TrySet(operation.Key, operation.Value))
            {
                log.Lose(journal, 0, $"partition {partition.Definition.Id}: the setting '{System.Text.Encoding.UTF8.GetString(operation.Key)}', which this build does not know");
            }

            if (!operation.IsWrite || HasNewer(partition, operation.Key, version))
            {
                continue;
            }

            if (operation.IsMerge)
            {
                Merge(partition, operation, version, stamp);
            }
            else if (operation.IsPut)
            {
                engine.Put(operation.Key, version, stamp, operation.ExpiresAt(stamp), operation.Value);
            }
            else
            {
                engine.Remove(operation.Key, version, stamp);
            }
        }

        // As when it was applied first: behind the rest of the command.
        while (OperationEncoding.TryRead(ref whole, out Operation operation))
        {
            if (operation.IsRange)
            {
                engine.RemoveRange(operation.Key, operation.To, version, stamp);
            }
        }
    }

    private void RollBack(RepairedPartition partition, in Operation operation, long version, long stamp)
    {
        Engine engine = partition.Engine;
        if (partition.IsRebuilt || engine.Context.History.From > operation.TargetVersion)
        {
            log.Lose(journal, 0, $"partition {partition.Definition.Id}: version {version} rolled a range back to version {operation.TargetVersion}, which is not there any more; its keys are as they were before that");
            return;
        }

        RollBackRun.Apply(new PartitionState(engine, functions), operation.Key, operation.To, operation.TargetVersion, version, stamp);
    }

    private void Merge(RepairedPartition partition, in Operation operation, long version, long stamp)
    {
        _merges.Begin();
        if (_merges.Evaluate(partition.Engine, operation, stamp, out string? detail) == Status.Ok)
        {
            partition.Engine.Put(operation.Key, version, stamp, _merges.ExpiresAt(0), _merges.Value(0));
        }
        else
        {
            // Of a decided commit: what it was done over is lost.
            log.Lose(journal, 0, $"partition {partition.Definition.Id}: a merge cannot be done over what was saved ({detail})");
        }
    }

    private bool Holds(RepairedPartition partition, ReadOnlySpan<byte> command, long version, long stamp)
    {
        while (OperationEncoding.TryRead(ref command, out Operation operation))
        {
            // Indexes are filled anew in what was saved: what they held when the command came, nobody knows.
            bool unknown = operation.IsIndexCheck ? true
                : operation.IsRangeCheck ? partition.IsRebuilt
                : (operation.Condition != ConditionKind.None || operation.IsMerge) && HasNewer(partition, operation.Key, version);
            if (unknown)
            {
                continue;
            }

            if (operation.Condition != ConditionKind.None && !CommandApplier.Holds(partition.Engine, operation, stamp, out _))
            {
                return false;
            }

            _merges.Begin();
            if (operation.IsMerge && _merges.Evaluate(partition.Engine, operation, stamp, out _) != Status.Ok)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Whether the key has an entry of this version or a newer one, be it a tombstone.</summary>
    private static unsafe bool HasNewer(RepairedPartition partition, ReadOnlySpan<byte> key, long version)
    {
        if (!partition.IsRebuilt || partition.Engine is not LsmEngine lsm)
        {
            return false;
        }

        Epochs.Enter();
        try
        {
            fixed (byte* bytes = key)
            {
                Superversion current = lsm.Versions.Current;
                if (current.TryFind(bytes, key.Length, ReadVersion.Newest, out BlockEntry entry) && entry.Version >= version)
                {
                    return true;
                }

                foreach (SsTable table in current.HasRanges ? current.Tables : [])
                {
                    if (table.Ranges is { } ranges && ranges.Covering(key, ReadVersion.Newest) >= version)
                    {
                        return true;
                    }
                }

                return false;
            }
        }
        finally
        {
            Epochs.Exit();
        }
    }
}
