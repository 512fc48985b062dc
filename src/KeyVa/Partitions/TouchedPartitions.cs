namespace KeyVa.Partitions;

/// <summary>
/// Which partitions a request touches, as the map is now, each once. What no partition owns touches none: the request itself is refused for that. Not thread-safe.
/// </summary>
internal sealed class TouchedPartitions(PartitionMap map)
{
    private readonly List<long> _ids = new(1);

    /// <summary>Their numbers, in the order in which they were touched.</summary>
    public IReadOnlyList<long> Ids => _ids;

    public void Add(ReadOnlySpan<byte> key)
    {
        if (map.Find(key) is { } owner)
        {
            Add(owner);
        }
    }

    /// <summary>A range; an empty end is open.</summary>
    public void Add(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        foreach (Partition partition in map.Cover(from, to, out _))
        {
            Add(partition);
        }
    }

    /// <summary>A range, or what of it begins with a prefix, as scans and removals of ranges say it.</summary>
    public void Add(ReadOnlyMemory<byte> prefix, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        if (prefix.IsEmpty)
        {
            Add(from, to);
            return;
        }

        KeyRange range = KeyRange.WithPrefix(prefix);
        Add(range.From.Span, range.To.Span);
    }

    /// <summary>All keys and ranges of a batch.</summary>
    public void Add(WriteBatch batch)
    {
        ReadOnlySpan<byte> rest = batch.Commands.Buffer.Written;
        while (OperationEncoding.TryRead(ref rest, out Operation operation))
        {
            if (operation.SpansRange)
            {
                Add(operation.Key, operation.To);
            }
            else
            {
                Add(operation.Key);
            }
        }
    }

    public void AddAll()
    {
        foreach (Partition partition in map.Partitions)
        {
            Add(partition);
        }
    }

    // Few: a request touches one partition as a rule.
    private void Add(Partition partition)
    {
        if (!_ids.Contains(partition.Id))
        {
            _ids.Add(partition.Id);
        }
    }
}
