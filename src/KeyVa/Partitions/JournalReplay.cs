using System.Diagnostics;
using KeyVa.Engines.Lsm;
using KeyVa.Log;
using KeyVa.Replication;
using KeyVa.Sessions;

namespace KeyVa.Partitions;

/// <summary>
/// Brings the engines up to the end of the journal while a store opens: each record goes to the partitions it is for,
/// unless their files contain it already. Partitions that were removed are passed over.
/// </summary>
internal sealed class JournalReplay(PartitionMap map, VersionOracle oracle, string missing) : IJournalReader
{
    /// <summary>What takes the records of replicated logs; null: the store is no replica, and has none.</summary>
    public IReplication? Replication { get; init; }

    /// <summary>See <see cref="Defects.ForgetsPartOfCommit"/>.</summary>
    public bool ForgetsParts { get; init; }

    /// <summary>What memtables take their memory from; null: there are none that the log is replayed into.</summary>
    public ArenaChunks? Chunks { get; init; }

    /// <summary>Records applied.</summary>
    public long Applied { get; private set; }

    /// <summary>What the segments before held has been applied, or is in the partitions' files; else some are missing.</summary>
    public void Reach(ReadOnlySpan<LogPosition> positions)
    {
        foreach (LogPosition position in positions)
        {
            if (map.TryFind(position.Partition, out Partition? partition) && position.Index > Reached(partition))
            {
                throw MissingSegment(missing, position.Partition, position.Index, partition.Engine.AppliedIndex);
            }
        }
    }

    /// <summary>What is said where neither the journal nor a partition's files hold what the journal's oldest segment stands on.</summary>
    public static CorruptionException MissingSegment(string path, long partition, long reached, long end) =>
        new(path, 0, $"the segment is missing: the log of partition {partition} had reached index {reached} before the next one, its files end at {end} (or files of the partition are missing or cut)");

    public void PrepareAhead() => Chunks?.Prepare();

    public void Read(in JournalRecord record)
    {
        if (record.Kind == RecordKind.Replicated)
        {
            if (Replication is null)
            {
                throw new StoreException("this data folder is a replica of a cluster's: serve it with --cluster, as it was served before");
            }

            Replication.Recover(record);
            return;
        }

        if (!GroupReader.TryOpen(record.Payload, out GroupReader group) || (record.Kind == RecordKind.Ingest) != (record.Payload[0] == GroupEntry.IngestFormat))
        {
            throw new StoreException($"the journal's record {record.Positions[0].Index} of partition {record.Positions[0].Partition} has an unknown format; use a newer KeyVa for this data folder");
        }

        bool hasParts = record.Kind is RecordKind.Commit or RecordKind.Ingest;
        oracle.Recover(hasParts ? group.Version : group.Version + group.Count - 1, group.Stamp);
        for (int i = 0; i < record.Positions.Length; i++)
        {
            ReadOnlySpan<byte> part = default;
            if (hasParts)
            {
                bool read = group.TryRead(out part);
                Debug.Assert(read, "a commit has a part for each position");
                part = ForgetsParts && i > 0 && i == record.Positions.Length - 1 ? default : part;
            }

            LogPosition position = record.Positions[i];
            if (map.TryFind(position.Partition, out Partition? partition) && position.Index > partition.Engine.AppliedIndex)
            {
                Apply(partition.Writer, position.Index, record, group, part);
            }
        }
    }

    private void Apply(PartitionWriter writer, long index, in JournalRecord record, GroupReader group, ReadOnlySpan<byte> part)
    {
        if (index != writer.Engine.AppliedIndex + 1)
        {
            throw new CorruptionException(writer.Engine.Context.Directory, 0, $"the journal goes on with index {index} of partition {writer.PartitionId}, but the partition's files end at {writer.Engine.AppliedIndex}: files are missing or cut");
        }

        writer.AdmitReplay(record.Payload.Length);
        if (record.Kind == RecordKind.Commit)
        {
            ApplyCommit(writer, record.Payload[0], part, group.Version, group.Stamp);
        }
        else if (record.Kind == RecordKind.Ingest)
        {
            ApplyIngest(writer, part, group.Version, group.Stamp);
        }
        else
        {
            ApplyGroup(writer, group);
        }

        Applied++;
    }

    private static void ApplyGroup(PartitionWriter writer, GroupReader group)
    {
        long version = group.Version - 1;
        while (group.TryRead(out ReadOnlySpan<byte> command))
        {
            ApplyCommand(writer.State, command, ++version, group.Stamp);
        }

        writer.EndApply(version, group.Stamp);
    }

    /// <summary>Evaluates and applies a command for whose result nobody waits here.</summary>
    internal static void ApplyCommand(PartitionState state, ReadOnlySpan<byte> command, long version, long stamp)
    {
        if (SessionHead.TryTake(ref command, out SessionHead session))
        {
            SessionWrites.Apply(state, session, command, version, stamp, default);
            return;
        }

        var outcome = default(CommandOutcome);
        if (CommandApplier.Check(state, command, version, stamp, ref outcome) && state.Allows(command, version, stamp, ref outcome))
        {
            CommandApplier.Write(state, command, version, stamp, default, ref outcome);
        }
    }

    /// <summary>How far a partition's log is known to go: what is in its files or was read. A state stands one behind what was durable then.</summary>
    private long Reached(Partition partition) =>
        Math.Max(partition.Engine.AppliedIndex, Replication is null ? 0 : Math.Max(Replication.RecoveredIndex(partition.Id), partition.Engine.AppliedIndex + 1));

    /// <summary>The partition's part of a commit that was decided before it was logged.</summary>
    private static void ApplyCommit(PartitionWriter writer, byte format, ReadOnlySpan<byte> command, long version, long stamp)
    {
        if (format == GroupEntry.ExtendedFormat)
        {
            CommandApplier.EvaluateDecided(writer.State, command, stamp);
        }

        var outcome = default(CommandOutcome);
        CommandApplier.Write(writer.State, command, version, stamp, default, ref outcome);
        writer.EndApply(version, stamp);
    }

    /// <summary>The partition's part of a bulk load.</summary>
    private static void ApplyIngest(PartitionWriter writer, ReadOnlySpan<byte> tables, long version, long stamp)
    {
        Ingestion ingestion = writer.Engine.Ingestion
            ?? throw new StoreException($"the journal holds a bulk load for partition {writer.PartitionId}, whose engine takes none: the data folder's catalog does not belong to its journal");
        ingestion.Replay(tables, new LogMark(writer.NextPosition().Index, version, stamp));
        writer.State.Load(version, stamp);
        writer.EndApply(version, stamp);
    }
}
