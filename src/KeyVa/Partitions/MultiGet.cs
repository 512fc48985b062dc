namespace KeyVa.Partitions;

/// <summary>A read of several keys: which partitions it needs, pinned while it runs.</summary>
internal sealed class MultiGet : IDisposable
{
    private readonly IReadOnlyList<ReadOnlyMemory<byte>> _keys;
    private readonly Partition[] _owners;
    private readonly List<Partition> _pinned = [];

    private MultiGet(IReadOnlyList<ReadOnlyMemory<byte>> keys)
    {
        _keys = keys;
        _owners = new Partition[keys.Count];
    }

    /// <summary>The partitions that own the keys, each once.</summary>
    public ArraySegment<Partition> Partitions => _pinned.ToArray();

    /// <summary>Finds and pins the owners; a refusal leaves nothing pinned.</summary>
    public static MultiGet Create(IReadOnlyList<ReadOnlyMemory<byte>> keys, PartitionMap map, out Status status, out string? detail)
    {
        var get = new MultiGet(keys);
        status = keys.Count <= Limits.MaxBatchOperations ? Status.Ok : Status.TooLarge;
        detail = status == Status.Ok ? null : $"a request for {keys.Count} keys exceeds the limit of {Limits.MaxBatchOperations}";
        for (int i = 0; i < keys.Count && status == Status.Ok; i++)
        {
            Partition? owner = map.Find(keys[i].Span);
            status = Refusals.CheckKey(keys[i].Length, owner is null ? Status.BadNode : Status.Ok);
            if (status == Status.Ok && !get._pinned.Contains(owner!))
            {
                status = owner!.TryPin() ? Status.Ok : Status.BadNode;
                if (status == Status.Ok)
                {
                    get._pinned.Add(owner);
                }
            }

            get._owners[i] = owner!;
            detail = status switch
            {
                Status.Ok => null,
                Status.BadNode => Refusals.BadNodeDetail,
                _ => Refusals.DescribeKey(keys[i].Length),
            };
        }

        if (status != Status.Ok)
        {
            get.Dispose();
        }

        return get;
    }

    public IReadOnlyList<Record?> Read(long version, VersionOracle oracle, out int found)
    {
        var records = new Record?[_keys.Count];
        found = 0;
        for (int i = 0; i < records.Length; i++)
        {
            bool exists = _owners[i].Engine.TryGet(_keys[i].Span, version, out ValueLease lease);
            using (lease)
            {
                if (exists && (lease.ExpiresAtUnixMilliseconds == 0 || lease.ExpiresAtUnixMilliseconds > oracle.Now()))
                {
                    found++;
                    records[i] = new Record
                    {
                        Key = _keys[i],
                        Value = lease.Value.ToArray(),
                        Version = lease.Version,
                        ModifiedUnixMilliseconds = lease.ModifiedUnixMilliseconds,
                        ExpiresAtUnixMilliseconds = lease.ExpiresAtUnixMilliseconds,
                    };
                }
            }
        }

        return records;
    }

    public void Dispose()
    {
        foreach (Partition partition in _pinned)
        {
            partition.Unpin();
        }

        _pinned.Clear();
    }
}
