namespace KeyVa.Bench.Targets;

/// <summary>KeyVa embedded, through its public synchronous calls: spans in, a lease or a cursor out.</summary>
internal sealed class KeyVaTarget(BenchOptions options, EngineKind engine, bool isVolatile) : Target<KeyVaTarget.Session>
{
    private Store? _store;

    public override string Name => engine == EngineKind.Lsm ? "keyva-lsm" : "keyva-memory";

    public override string Settings => engine == EngineKind.Lsm
        ? $"journal on, block cache {options.BlockCacheBytes >> 20} MiB, memtable {options.MemtableBytes >> 20} MiB x 5, " +
          "Bloom filter 10 bits/key, blocks 4 KiB, 2 background threads, level 0 at 4/20/36 files, level 1 256 MiB x 10, " +
          $"files 64 MiB, compression {options.Compression.ToString().ToLowerInvariant()}"
        : isVolatile ? "volatile: no journal, nothing durable" : "journal on, checkpoints after 256 MiB";

    /// <summary>Level 0 may wait some seconds before it is compacted, in which the process is idle.</summary>
    public override bool HasBackgroundWork => _store!.Partitions.List().Any(
        partition => partition.Lsm is { } tree && (tree.PendingCompactionBytes > 0 || tree.RunningCompactions > 0 || tree.ImmutableMemtables > 0));

    public override string? Refuses(Work work) => work switch
    {
        Work.ScanForward or Work.ScanReverse or Work.SeekRandom when engine == EngineKind.Memory => "the memory engine has no order",
        Work.PutSync when isVolatile => "a volatile store is not durable",
        _ => null,
    };

    public override void Open(string directory, Durability durability) => _store = Store.Open(directory, new StoreOptions
    {
        Durability = durability,
        Engine = engine,
        Volatile = isVolatile,
        BlockCacheBytes = options.BlockCacheBytes,
        MemtableBytes = options.MemtableBytes,

        // Where a memtable is to hold more than the journal may, the journal would be what has it flushed.
        JournalBudgetBytes = Math.Max(new StoreOptions().JournalBudgetBytes, options.MemtableBytes),
        BackgroundThreads = 2,
        SeparateValuesFrom = options.SeparateValuesFrom,
        Compression = options.Compression == Compression.Lz4 ? KeyVa.Compression.Lz4 : KeyVa.Compression.None,
    });

    /// <summary>A snapshot contains all that was acknowledged before it, so it begins with a flush; its copy is not wanted.</summary>
    public override void Flush()
    {
        if (engine == EngineKind.Lsm)
        {
            string copy = _store!.Path.TrimEnd('/') + "-flush";
            if (Directory.Exists(copy))
            {
                Directory.Delete(copy, recursive: true);
            }

            long partition = _store.Partitions.List().Single().Id;
            PartitionSnapshotResult result = _store.Partitions.BeginSnapshot(partition, copy).Completion.GetAwaiter().GetResult();
            if (result.Status != Status.Ok)
            {
                throw new InvalidOperationException($"snapshot ended with {result.Status}: {result.Detail}");
            }

            Directory.Delete(copy, recursive: true);
        }
    }

    public override void Close()
    {
        _store!.DisposeAsync().AsTask().GetAwaiter().GetResult();
        _store = null;
    }

    protected override Session NewSession() => new(_store!);

    internal readonly struct Session(Store store) : ISession
    {
        public void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
        {
            WriteResult result = store.Upsert(key, value);
            if (!result.IsOk)
            {
                throw new InvalidOperationException($"put ended with {result.Status}: {result.Detail}");
            }
        }

        public bool Get(ReadOnlySpan<byte> key, ref ulong touched)
        {
            using ValueLease lease = store.Get(key);
            if (lease.Status == Status.Ok)
            {
                touched += (ulong)lease.Value.Length + lease.Value[^1];
                return true;
            }

            return lease.Status == Status.NotFound ? false : throw new InvalidOperationException($"get ended with {lease.Status}");
        }

        public bool Read(ReadOnlySpan<byte> key, Span<byte> value)
        {
            Status status = store.TryGet(key, value, out _);
            return status == Status.Ok || (status == Status.NotFound ? false : throw new InvalidOperationException($"get ended with {status}"));
        }

        public void Delete(ReadOnlySpan<byte> key)
        {
            WriteResult result = store.Remove(key, blind: true);
            if (!result.IsOk)
            {
                throw new InvalidOperationException($"remove ended with {result.Status}: {result.Detail}");
            }
        }

        public long Scan(ReadOnlyMemory<byte> from, bool reverse, long limit, ref ulong touched)
        {
            using ScanCursor cursor = store.Scan(reverse ? new ScanOptions { To = from, Reverse = true } : new ScanOptions { From = from });
            if (cursor.Status != Status.Ok)
            {
                throw new InvalidOperationException($"scan ended with {cursor.Status}: {cursor.Detail}");
            }

            long records = 0;
            ulong sum = 0;
            while (records < limit && cursor.MoveNext())
            {
                ReadOnlySpan<byte> key = cursor.Key;
                ReadOnlySpan<byte> value = cursor.Value;
                sum += (ulong)key.Length + key[^1] + (ulong)value.Length + value[^1];
                records++;
            }

            touched += sum;
            return records;
        }

        public void Dispose()
        {
        }
    }
}
