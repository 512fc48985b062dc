using System.Collections.Concurrent;
using KeyVa.Partitions;

namespace KeyVa.Indexes;

/// <summary>
/// Keeps the values of unique indexes unique across partitions: before a write is logged, its values are reserved, and the other
/// partitions are asked for them. (Within a partition the writer sees to it when it applies the command.)
/// </summary>
/// <remarks>
/// Thread-safe. A write that gives a value up needs no reservation: who comes before it is done is refused, and may try again. Where
/// one partition holds all keys, or no index is unique, all of this is one comparison.
/// </remarks>
internal sealed class UniqueGuard
{
    private readonly PartitionRegistry _registry;
    private readonly StoreContext _context;
    private readonly UniqueReservations _reservations = new();
    private volatile Unique[] _indexes = [];

    public UniqueGuard(PartitionRegistry registry, StoreContext context)
    {
        _registry = registry;
        _context = context;
    }

    /// <summary>Whether writes need its leave.</summary>
    public bool IsNeeded
    {
        get
        {
            if (_indexes.Length == 0)
            {
                return false;
            }

            ReadOnlySpan<Partition> partitions = _registry.Map.Partitions;
            return !(partitions.Length == 1 && partitions[0].Range.From.IsEmpty && partitions[0].Range.To.IsEmpty);
        }
    }

    /// <summary>The indexes of the store have changed.</summary>
    public void Refresh()
    {
        Unique[] before = _indexes;
        _indexes = [.. _registry.Indexes
            .Where(static index => index.Definition.Unique && index.State != IndexState.Dropping)
            .Select(index => Array.Find(before, other => other.Id == index.Id) ?? new Unique(index, Extractor(index)))];
    }

    /// <summary>
    /// Reserves the values of a command and looks for them in other partitions. The permit holds the reservation until it is disposed,
    /// when the write is done; its refusal, if it has one, is the write's result.
    /// </summary>
    public async ValueTask<UniquePermit> EnterAsync(CommandBuilder command)
    {
        List<byte[]> places = [];
        Unique[] indexes = _indexes;
        if (indexes.Length > 0 && command.HasMerges)
        {
            return new UniquePermit(null, null, IndexRefusals.MergeAcross(FirstMerge(command), indexes[0].Name));
        }

        if (Collect(indexes, command, places) is { } twice)
        {
            return new UniquePermit(null, null, twice);
        }

        if (places.Count == 0)
        {
            return default;
        }

        await _reservations.EnterAsync(places).ConfigureAwait(false);
        if (Find(indexes, command) is { } refusal)
        {
            _reservations.Leave(places);
            return new UniquePermit(null, null, refusal);
        }

        return new UniquePermit(_reservations, places, null);
    }

    private static int FirstMerge(CommandBuilder command)
    {
        ReadOnlySpan<byte> rest = command.Buffer.Written;
        int merge = 0;
        while (OperationEncoding.TryRead(ref rest, out Operation operation) && !operation.IsMerge)
        {
            merge++;
        }

        return merge;
    }

    private WriteResult? Find(Unique[] indexes, CommandBuilder command)
    {
        try
        {
            foreach (Unique index in indexes)
            {
                if (Find(index, command) is { } refusal)
                {
                    return refusal;
                }
            }

            return null;
        }
        catch (StoreException failure)
        {
            // Another partition's files cannot be read: nobody knows whether the value is free.
            return Refusals.Failed(failure);
        }
    }

    private IndexExtractor? Extractor(StoredIndex index) =>
        _context.Options.IndexExtractors.FirstOrDefault(known => known.Name == index.Definition.Extractor);

    /// <summary>What the command gives values to; a refusal if it gives one value to two records (of which each partition sees its own alone).</summary>
    private static WriteResult? Collect(Unique[] indexes, CommandBuilder command, List<byte[]> places)
    {
        WriteResult? refusal = null;
        var seen = new HashSet<byte[]>(UniqueReservations.BytesComparer.Instance);
        foreach (Unique index in indexes)
        {
            index.Visit(command, (operation, _, tuple) =>
            {
                byte[] place = [.. BitConverter.GetBytes(index.Id), .. tuple];
                places.Add(place);
                if (!seen.Add(place))
                {
                    refusal = IndexRefusals.NotUnique(operation, index.Name, null);
                }

                return refusal is null;
            });
        }

        return refusal;
    }

    private WriteResult? Find(Unique index, CommandBuilder command)
    {
        WriteResult? refusal = null;
        index.Visit(command, (operation, key, tuple) =>
        {
            if (FindElsewhere(index.Id, command, key, tuple) is { } other)
            {
                refusal = IndexRefusals.NotUnique(operation, index.Name, other);
            }

            return refusal is null;
        });
        return refusal;
    }

    private byte[]? FindElsewhere(long id, CommandBuilder command, ReadOnlySpan<byte> key, ReadOnlySpan<byte> tuple)
    {
        foreach (Partition partition in _registry.Map.Partitions)
        {
            if (partition.Range.Contains(key) || !partition.TryPin())
            {
                continue;
            }

            try
            {
                if (partition.Indexes.Find(id) is { } found && found.TryPin())
                {
                    try
                    {
                        using Snapshot snapshot = _context.Snapshots.Open(found.Companion);
                        if (found.FindOther(tuple, key, snapshot.Version, _context.Oracle.Now(), command.Buffer.Written) is { } other)
                        {
                            return other;
                        }
                    }
                    finally
                    {
                        found.Unpin();
                    }
                }
            }
            finally
            {
                partition.Unpin();
            }
        }

        return null;
    }

    /// <summary>Looks at one value that a command puts; false: no more.</summary>
    private delegate bool Visitor(int operation, ReadOnlySpan<byte> key, ReadOnlySpan<byte> tuple);

    private sealed class Unique(StoredIndex index, IndexExtractor? extractor)
    {
        private readonly ConcurrentBag<(RecordReader Reader, IndexEntries Entries)> _readers = [];

        public long Id => index.Id;

        public string Name => index.Definition.Name;

        public void Visit(CommandBuilder command, Visitor visit)
        {
            (RecordReader Reader, IndexEntries Entries) own = _readers.TryTake(out (RecordReader Reader, IndexEntries Entries) kept)
                ? kept
                : (new RecordReader(index.Definition, extractor), new IndexEntries());
            ReadOnlySpan<byte> bytes = command.Buffer.Written;
            bool more = true;
            for (int i = 0; more && OperationEncoding.TryRead(ref bytes, out Operation operation); i++)
            {
                if (!operation.IsPut)
                {
                    continue;
                }

                own.Reader.Read(operation.Key, operation.Value, own.Entries);
                for (int entry = 0; more && entry < own.Entries.Count && !own.Entries.IsRejected; entry++)
                {
                    ReadOnlySpan<byte> tuple = own.Entries[entry][..^operation.Key.Length];
                    more = IndexValueEncoding.HasNull(tuple) || visit(i, operation.Key, tuple);
                }
            }

            _readers.Add(own);
        }
    }
}

/// <summary>Leave to write; see <see cref="UniqueGuard.EnterAsync"/>.</summary>
internal readonly struct UniquePermit(UniqueReservations? reservations, List<byte[]>? places, WriteResult? refusal) : IDisposable
{
    public WriteResult? Refusal { get; } = refusal;

    public void Dispose() => reservations?.Leave(places!);
}
