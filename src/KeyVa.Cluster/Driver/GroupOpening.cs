using System.Globalization;
using KeyVa.Log;
using KeyVa.Partitions;
using KeyVa.Raft;

namespace KeyVa.Cluster.Driver;

/// <summary>How a partition's group goes on when its node is opened, or begins: term and vote, what its log stands on, and the entries behind that. Immutable.</summary>
internal sealed record GroupOpening(HardState State, SnapshotMetadata Base, IReadOnlyList<Entry> Entries)
{
    /// <summary>A group that others began: it has nothing, and gets all from its leader.</summary>
    public static GroupOpening Joined { get; } = new(default, SnapshotMetadata.None, []);

    /// <summary>Refuses a store that cannot be a node's.</summary>
    public static void Check(PartitionRegistry registry, StoreContext context)
    {
        if (context.Options.Durability != Durability.Always)
        {
            throw new StoreException("a node of a cluster syncs before it acknowledges: set durability to always, or leave it out");
        }

        if (registry.Indexes.Count > 0)
        {
            throw new StoreException($"the store has secondary indexes ('{registry.Indexes[0].Definition.Name}'), which are not possible in a cluster yet; drop them first");
        }
    }

    /// <summary>Makes durable that this node joins a partition's group.</summary>
    public static void Join(long partition, Journal journal) => WriteFirst(partition, Joined.State, Joined.Base, journal);

    /// <summary>Goes on with what files and journal have; <paramref name="log"/>: what the journal says, null if it says nothing. A group that begins is made durable.</summary>
    public static GroupOpening Open(DriverOptions options, Partition partition, RecoveredLog? log, Journal journal)
    {
        HardState state;
        SnapshotMetadata stand;
        IReadOnlyList<Entry> entries = [];
        SnapshotMetadata? installed = SnapshotMeta.Read(partition.Engine.Context.FileSystem, partition.Engine.Context.Directory, options.Cluster);
        if (installed is not null && (log?.Base is null || log.Base.Index < installed.Index))
        {
            // Its files took the place of the others, and then the process ended before the log could say so.
            (state, stand) = (log?.State ?? default, installed);
            WriteFirst(partition.Id, state, stand, journal);
        }
        else if (log is not null)
        {
            log.Finish();
            (state, stand, entries) = (log.State!.Value, log.Base!, log.Entries);
        }
        else
        {
            (state, stand) = (default, Begin(options, partition));
            WriteFirst(partition.Id, state, stand, journal);
        }

        long last = entries.Count > 0 ? entries[^1].Index : stand.Index;
        long applied = partition.Engine.AppliedIndex;
        if (applied > last || (applied < stand.Index && stand.Index > SnapshotMetadata.InitialIndex))
        {
            throw new CorruptionException(partition.Engine.Context.Directory, 0, string.Create(CultureInfo.InvariantCulture, $"the partition's files end at index {applied}, its replicated log is from {stand.Index} to {last}: files are missing; remove this node from its cluster and add it again with an empty folder"));
        }

        return new GroupOpening(state, stand, entries);
    }

    /// <summary>What a group begins with: its first members alike, one that joins with nothing, a store that was alone with all that it holds.</summary>
    private static SnapshotMetadata Begin(DriverOptions options, Partition partition)
    {
        long applied = partition.Engine.AppliedIndex;
        if (options.FirstVoters.Count == 0)
        {
            return applied == 0
                ? SnapshotMetadata.None
                : throw new StoreException(string.Create(CultureInfo.InvariantCulture, $"partition {partition.Id} holds data of its own, which joining a cluster would replace; join with an empty folder"));
        }

        var members = new Membership(options.FirstVoters);
        if (applied == 0)
        {
            return SnapshotMetadata.Initial(members);
        }

        return options.FirstVoters.Count == 1
            ? new SnapshotMetadata(Math.Max(applied, SnapshotMetadata.InitialIndex), 1, members)
            : throw new StoreException("this folder holds data, which the other first nodes do not have: begin the cluster with this node alone, and add the others to it");
    }

    private static void WriteFirst(long partition, HardState state, SnapshotMetadata stand, Journal journal)
    {
        var record = new ReplicaRecord(partition, static _ => { });
        record.Fill(0, state, stand, []);
        if (journal.Append(record) != AppendOutcome.Appended)
        {
            throw journal.Failure ?? new StoreException("the disk has no room for the beginning of a replicated partition");
        }
    }
}
