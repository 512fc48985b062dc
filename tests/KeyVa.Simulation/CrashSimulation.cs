using System.Globalization;
using System.Text;
using KeyVa.Engines;
using KeyVa.Io;

namespace KeyVa.Simulation;

/// <summary>
/// One store on a disk in memory, under random operations, flushes, compactions, snapshots and crashes, against a model.
/// Everything follows from the seed. After every crash the store must hold a prefix of the writes: all that were
/// acknowledged, where the durability promises it.
/// </summary>
internal sealed class CrashSimulation
{
    private const string Directory = "/data";

    private readonly int _seed;
    private readonly Random _random;
    private readonly SimulatedTime _time = new();
    private readonly StoreModel _model = new();
    private readonly StoreOptions _options;
    private EngineOptions _engineOptions;
    private readonly bool _twoPartitions;
    private readonly int _keys;

    private MemoryFileSystem _files = new();
    private DeterministicWork _work;
    private Store _store = null!;
    private int _durable;
    private int _operation;
    private volatile bool _rollingBack;

    // Writes that a power loss may have taken though the state does not tell: their versions may have been given out again.
    private readonly HashSet<int> _unclear = [];

    public CrashSimulation(int seed)
    {
        _seed = seed;
        _random = new Random(seed);
        _work = new DeterministicWork(_random);
        _twoPartitions = _random.Next(3) == 0;
        _keys = _random.Next(5, 120);
        _options = new StoreOptions
        {
            CreateDefaultPartition = !_twoPartitions,
            Engine = _random.Next(3) == 0 ? EngineKind.Memory : EngineKind.Lsm,
            Durability = _random.Next(3) switch { 0 => Durability.Os, 1 => Durability.Interval, _ => Durability.Always },
            SyncInterval = TimeSpan.FromDays(1),
            MemtableBytes = 1 << _random.Next(12, 16),
            JournalSegmentBytes = 1 << _random.Next(14, 18),
            JournalBudgetBytes = 1 << 19,
            BlockCacheBytes = 1 << 16,
            RetainVersionsFor = TimeSpan.FromSeconds(_random.Next(4) switch { 0 => 20, 1 => 1_000_000, _ => 0 }),
            RetainVersions = _random.Next(4) == 0 ? _random.Next(2, 5) : 0,
        };
        _engineOptions = new EngineOptions
        {
            MemtableBytes = _options.MemtableBytes,
            BlockBytes = 1 << _random.Next(8, 12),
            TableBytes = 1 << _random.Next(13, 16),
            Level0Tables = _random.Next(2, 5),
            Level1Bytes = 1 << _random.Next(14, 17),
            LevelMultiplier = _random.Next(2, 6),
            CompactionStyle = (CompactionStyle)_random.Next(2),
            MaxSubCompactions = _random.Next(1, 4),
            CheckpointAfterBytes = 1 << _random.Next(13, 16),
            Compression = (Compression)(_random.Next(2) * _random.Next(4)),
            BottommostCompression = _random.Next(3) == 0 ? (Compression)_random.Next(4) : null,
            ZstdDictionaryBytes = _random.Next(3) == 0 ? 512 : 0,
            SeparateValuesFrom = _random.Next(2) * _random.Next(1, 200),
            ValueFileBytes = 1 << _random.Next(8, 16),
        };
    }

    /// <summary>How the store was set up, for the report of a failing seed.</summary>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"seed {_seed}, {_options.Engine}, {_engineOptions.CompactionStyle}, {_options.Durability}, two partitions {_twoPartitions}, {_keys} keys, operation {_operation}");

    public void Run()
    {
        Open();
        if (_twoPartitions)
        {
            _store.Partitions.Add(new KeyRange(default, "k5"u8.ToArray()), _options.Engine);
            _store.Partitions.Add(new KeyRange("k5"u8.ToArray(), default), _random.Next(2) == 0 ? EngineKind.Lsm : EngineKind.Memory);
        }

        int episodes = _random.Next(2, 6);
        for (int episode = 0; episode < episodes; episode++)
        {
            RunEpisode();
            CheckState(_model.Count, "after an episode and its end");
        }

        Close();
        Verify();
    }

    /// <summary>Some operations, and an end: a clean close, a kill, or a power loss at any file operation.</summary>
    private void RunEpisode()
    {
        int operations = _random.Next(1, 120);
        int end = _random.Next(4);
        Trace($"episode of {operations} operations, end {end}, {_model.Count} writes");
        if (end <= 1)
        {
            RunUntilPowerLoss(operations);
            return;
        }

        for (int i = 0; i < operations; i++)
        {
            Step();
        }

        CheckState(_model.Count, "before the end of an episode");
        if (end == 2)
        {
            Close();
        }
        else
        {
            Abandon(_files.Kill());
        }

        Open();
        CheckState(_model.Count, "after a close or a kill");
        _durable = _model.Count;
    }

    private void RunUntilPowerLoss(int operations)
    {
        int thread = Environment.CurrentManagedThreadId;
        int countdown = _random.Next(1, operations * 6);
        int lossSeed = _random.Next();
        MemoryFileSystem? after = null;
        int acknowledged = 0;
        _files.Faults.Before = (_, _) =>
        {
            // The simulation's own thread alone counts, so that the journal's timing does not move the event; but rolling back
            // has a thread of its own, and this one waits for it.
            if ((Environment.CurrentManagedThreadId == thread || _rollingBack) && after is null && --countdown == 0)
            {
                acknowledged = _model.Count;
                after = _files.AfterPowerLoss(lossSeed);
            }
        };
        for (int i = 0; i < operations && after is null; i++)
        {
            Step();
        }

        _files.Faults.Before = null;
        if (after is null)
        {
            acknowledged = _model.Count;
            after = _files.AfterPowerLoss(lossSeed);
        }

        Abandon(after);
        Open();
        Trace($"power was lost with {acknowledged} acknowledged, {_durable} durable, {_model.Count} writes");
        int least = _options.Durability == Durability.Always ? acknowledged : Math.Min(_durable, acknowledged);
        _unclear.UnionWith(Enumerable.Range(least, _model.Count - least));
        CheckState(least, "after a power loss");
        _unclear.RemoveWhere(write => write >= _model.Count);
        _durable = _model.Count;
    }

    private void Step()
    {
        _operation++;
        switch (_random.Next(20))
        {
            case < 9:
                Put();
                break;
            case 9:
                Remove();
                break;
            case 10:
                Merge();
                break;
            case 11 when _random.Next(2) == 0:
                RemoveRange();
                break;
            case 11:
                RollBack();
                break;
            case < 13:
                Batch();
                break;
            case 13:
                Load();
                break;
            case 14:
                _time.Advance(_random.Next(1, 5000));
                break;
            case 15:
                if (_random.Next(2) == 0)
                {
                    Compact();
                }
                else
                {
                    Snapshot();
                }

                break;
            case 16:
                CheckKey(Key());
                break;
            default:
                for (int i = _random.Next(1, 4); i > 0 && _work.RunOne(); i--)
                {
                }

                break;
        }
    }

    private string Key() => $"k{_random.Next(_keys)}";

    private string Value() => $"{_operation}-{new string('v', _random.Next(8) == 0 ? _random.Next(3000) : _random.Next(60))}";

    private (WriteOptions Options, long ExpiresAt) Options()
    {
        switch (_random.Next(8))
        {
            case 0:
                int ttl = _random.Next(1, 8000);
                return (new WriteOptions { Expiry = Expiry.InMilliseconds(ttl) }, _time.UnixMilliseconds + ttl);
            case 1:
                long at = _time.UnixMilliseconds + _random.Next(-1000, 8000);
                return (new WriteOptions { Expiry = Expiry.AtUnixMilliseconds(at) }, at);
            default:
                return (default, 0);
        }
    }

    private void Put()
    {
        string key = Key();
        string value = Value();
        (WriteOptions options, long expiresAt) = Options();
        ModelValue? before = _model.Find(key, _time.UnixMilliseconds);
        bool holds = true;
        switch (_random.Next(8))
        {
            case 0:
                options = options with { Condition = Condition.IfAbsent };
                holds = before is null;
                break;
            case 1:
                options = options with { Condition = Condition.IfVersion(before?.Version ?? 1) };
                holds = before is not null;
                break;
            case 2:
                options = options with { Condition = Condition.IfValue(Encoding.ASCII.GetBytes(before?.Text ?? "nothing")) };
                holds = before is not null;
                break;
        }

        WriteResult result = _store.Upsert(Encoding.ASCII.GetBytes(key), Encoding.ASCII.GetBytes(value), options);
        Expect(result, holds ? Status.Ok : Status.ConditionFailed, $"put {key}");
        if (result.IsOk)
        {
            _model.Add(new ModelWrite([(key, new ModelValue(value, result.Version, expiresAt))], result.Version));
        }
    }

    /// <summary>An append; now and then an increment of what is no number, which changes nothing.</summary>
    private void Merge()
    {
        string key = Key();
        ModelValue? before = _model.Find(key, _time.UnixMilliseconds);
        (WriteOptions options, long expiresAt) = Options();
        if (before is not null && _random.Next(6) == 0)
        {
            Expect(_store.Increment(Encoding.ASCII.GetBytes(key)), Status.MergeRefused, $"increment {key}");
            return;
        }

        string value = Value();
        WriteResult result = _store.Merge(Encoding.ASCII.GetBytes(key), MergeFunction.Append, Encoding.ASCII.GetBytes(value), options);
        Expect(result, Status.Ok, $"append to {key}");
        _model.Add(new ModelWrite([(key, new ModelValue(before?.Text + value, result.Version, expiresAt != 0 ? expiresAt : before?.ExpiresAt ?? 0))], result.Version));
    }

    private void Remove()
    {
        string key = Key();
        bool blind = _random.Next(3) == 0;
        ModelValue? before = _model.Find(key, _time.UnixMilliseconds);
        WriteResult result = _store.Remove(Encoding.ASCII.GetBytes(key), default, blind);
        Expect(result, before is null && !blind ? Status.NotFound : Status.Ok, $"remove {key}");
        if (result.IsOk)
        {
            _model.Add(new ModelWrite([(key, null)], result.Version));
        }
    }

    /// <summary>A range removal; now and then with a put in its midst, which stays.</summary>
    private void RemoveRange()
    {
        (string from, string to) = Range();
        var changes = _model.Keys.Where(key => IsWithin(key, from, to)).Select(key => (key, (ModelValue?)null)).ToList();
        if (_random.Next(3) > 0)
        {
            WriteResult removed = _store.RemoveRange(Encoding.ASCII.GetBytes(from), Encoding.ASCII.GetBytes(to));
            Expect(removed, Status.Ok, $"remove [{from}, {to})");
            _model.Add(new ModelWrite(changes, removed.Version));
            return;
        }

        using var batch = new WriteBatch();
        string kept = Key();
        string value = Value();
        batch.Put(Encoding.ASCII.GetBytes(kept), Encoding.ASCII.GetBytes(value)).RemoveRange(Encoding.ASCII.GetBytes(from), Encoding.ASCII.GetBytes(to));
        WriteResult result = _store.Write(batch);
        Expect(result, Status.Ok, $"remove [{from}, {to}) and put {kept}");
        _model.Add(new ModelWrite([.. changes, (kept, new ModelValue(value, result.Version, 0))], result.Version));
    }

    /// <summary>Rolls a range back to the state after some earlier write; refused, with nothing changed, where that is forgotten.</summary>
    private void RollBack()
    {
        if (_model.Count == 0)
        {
            return;
        }

        (string from, string to) = Range();
        int write = _random.Next(Math.Max(0, _model.Count - 60), _model.Count);
        if (_unclear.Contains(write))
        {
            return;
        }

        var changes = _model.RollBack(write + 1, key => IsWithin(key, from, to), _time.UnixMilliseconds);
        var range = new KeyRange(Encoding.ASCII.GetBytes(from), Encoding.ASCII.GetBytes(to));
        _rollingBack = true;
        RollBackResult result = _store.RollBack(range, AsOf.AtVersion(_model.VersionOf(write)));
        _rollingBack = false;
        Trace($"roll back [{from}, {to}) to {_model.VersionOf(write)}: {result}");
        if (result.Status == Status.Compacted && _options.RetainVersionsFor < TimeSpan.FromHours(1))
        {
            return;
        }

        if (result.Status != Status.Ok || result.KeysChanged != changes.Count)
        {
            throw new InvalidOperationException($"rolling [{from}, {to}) back to {_model.VersionOf(write)} ended with {result}; {changes.Count} keys change: {string.Join(' ', changes)}; written at {result.Version}: {WrittenAt(result.Version)}; retained {_options.RetainVersionsFor}, {_options.RetainVersions}");
        }

        _model.Add(new ModelWrite([.. changes.Select(c => (c.Key, c.Value is null ? null : c.Value with { Version = result.Version }))], result.Version));
    }

    /// <summary>What the last change of each key was, of those changed at a version.</summary>
    private string WrittenAt(long version) => string.Join(' ', Enumerable.Range(0, _keys).Select(i => $"k{i}")
        .Select(key => (key, _store.History(Encoding.ASCII.GetBytes(key)).Versions))
        .Where(found => found.Versions.Count > 0 && found.Versions[0].Version == version)
        .Select(found => $"{found.key}: {string.Join(',', found.Versions.Select(v => $"{v.Version}{(v.IsRemoval ? "-" : "+")}{v.ExpiresAtUnixMilliseconds}"))}"));

    private (string From, string To) Range()
    {
        string from = _random.Next(6) == 0 ? "" : Key();
        string to = _random.Next(6) == 0 ? "" : Key();
        return to.Length == 0 || string.CompareOrdinal(from, to) < 0 ? (from, to) : from == to ? (from, to + "~") : (to, from);
    }

    private static bool IsWithin(string key, string from, string to) =>
        string.CompareOrdinal(key, from) >= 0 && (to.Length == 0 || string.CompareOrdinal(key, to) < 0);

    private void Batch()
    {
        using var batch = new WriteBatch();
        var changes = new List<(string Key, string? Value, long ExpiresAt)>();
        bool holds = true;
        foreach (string key in Enumerable.Range(0, _random.Next(1, 12)).Select(_ => Key()).Distinct())
        {
            bool condition = _random.Next(12) == 0;
            holds &= !condition || _model.Find(key, _time.UnixMilliseconds) is not null;
            Condition present = condition ? Condition.IfPresent : default;
            if (_random.Next(4) == 0)
            {
                batch.Remove(Encoding.ASCII.GetBytes(key), present, blind: true);
                changes.Add((key, null, 0));
            }
            else
            {
                string value = Value();
                (WriteOptions options, long expiresAt) = Options();
                if (_random.Next(5) == 0)
                {
                    ModelValue? before = _model.Find(key, _time.UnixMilliseconds);
                    batch.Merge(Encoding.ASCII.GetBytes(key), MergeFunction.Append, Encoding.ASCII.GetBytes(value), options with { Condition = present });
                    changes.Add((key, before?.Text + value, expiresAt != 0 ? expiresAt : before?.ExpiresAt ?? 0));
                    continue;
                }

                batch.Put(Encoding.ASCII.GetBytes(key), Encoding.ASCII.GetBytes(value), options with { Condition = present });
                changes.Add((key, value, expiresAt));
            }
        }

        WriteResult result = _store.Write(batch);
        Expect(result, holds ? Status.Ok : Status.ConditionFailed, "batch");
        if (result.IsOk)
        {
            _model.Add(new ModelWrite([.. changes.Select(c => (c.Key, c.Value is null ? null : new ModelValue(c.Value, result.Version, c.ExpiresAt)))], result.Version));
        }
    }

    /// <summary>A bulk load, now and then given up; the memory engine has none that are all or nothing.</summary>
    private void Load()
    {
        if (_store.Partitions.List().Any(static partition => partition.Engine != EngineKind.Lsm))
        {
            Batch();
            return;
        }

        using BulkLoader loader = _store.BeginBulkLoad();
        var changes = new List<(string Key, string Value, long ExpiresAt)>();
        foreach (string key in new SortedSet<string>(Enumerable.Range(0, _random.Next(0, 40)).Select(_ => Key()), StringComparer.Ordinal))
        {
            string value = Value();
            (WriteOptions options, long expiresAt) = Options();
            if (loader.Add(Encoding.ASCII.GetBytes(key), Encoding.ASCII.GetBytes(value), options.Expiry) != Status.Ok)
            {
                throw new InvalidOperationException(loader.Detail);
            }

            changes.Add((key, value, expiresAt));
        }

        if (_random.Next(6) == 0)
        {
            return;
        }

        WriteResult result = loader.Complete();
        Expect(result, Status.Ok, "load");
        if (changes.Count > 0)
        {
            _model.Add(new ModelWrite([.. changes.Select(c => (c.Key, (ModelValue?)new ModelValue(c.Value, result.Version, c.ExpiresAt)))], result.Version));
        }
    }

    private void Snapshot()
    {
        string target = $"/snapshot-{_operation}";
        PartitionInfo partition = _store.Partitions.List()[0];
        PartitionSnapshot snapshot = _store.Partitions.BeginSnapshot(partition.Id, target);
        while (!snapshot.Completion.IsCompleted && _work.RunOne())
        {
        }

        PartitionSnapshotResult result = snapshot.Completion.GetAwaiter().GetResult();
        if (result.Status != Status.Ok)
        {
            throw new InvalidOperationException($"the snapshot ended with {result.Status}: {result.Detail}");
        }

        _files.DeleteDirectory(target);
    }

    /// <summary>Begins a manual compaction, of all or a part; it goes on whenever jobs run, until the end or a crash.</summary>
    private void Compact()
    {
        PartitionInfo[] partitions = [.. _store.Partitions.List()];
        byte[] from = Encoding.ASCII.GetBytes(_random.Next(2) == 0 ? "" : Key());
        _store.Partitions.BeginCompaction(partitions[_random.Next(partitions.Length)].Id, new KeyRange(from, default));
    }

    private void CheckKey(string key)
    {
        ModelValue? expected = _model.Find(key, _time.UnixMilliseconds);
        using ValueLease lease = _store.Get(Encoding.ASCII.GetBytes(key));
        string? found = lease.Found ? Encoding.ASCII.GetString(lease.Value) : null;
        if (found != expected?.Text)
        {
            throw new InvalidOperationException($"{key} is '{found}', the model has '{expected?.Text}'");
        }
    }

    /// <summary>The store must hold a prefix of at least that many writes; scans and gets must agree.</summary>
    private void CheckState(int least, string when)
    {
        var records = new List<(string Key, ModelValue Value)>();
        using (ScanCursor cursor = _store.Scan(new ScanOptions { Unordered = true }))
        {
            while (cursor.MoveNext())
            {
                records.Add((Encoding.ASCII.GetString(cursor.Key), new ModelValue(Encoding.ASCII.GetString(cursor.Value), cursor.Version, cursor.ExpiresAtUnixMilliseconds)));
            }
        }

        records.Sort(static (a, b) => string.CompareOrdinal(a.Key, b.Key));
        string found = StoreModel.Render(records, _time.UnixMilliseconds);
        if (!_model.TryCutTo(found, least, _time.UnixMilliseconds))
        {
            throw new InvalidOperationException($"{when}: the store holds no prefix of at least {least} of {_model.Count} writes, {_durable} durable.\n{Difference(found, _model.State(_time.UnixMilliseconds))}");
        }

        for (int i = 0; i < _keys; i++)
        {
            CheckKey($"k{i}");
        }
    }

    /// <summary>What happens, line by line, if KEYVA_TRACE is set: for a seed that failed.</summary>
    private static void Trace(string text)
    {
        if (Environment.GetEnvironmentVariable("KEYVA_TRACE") is { Length: > 0 })
        {
            Console.WriteLine(text);
        }
    }

    private static string Difference(string store, string model)
    {
        string[] has = store.Split('\n');
        string[] should = model.Split('\n');
        return string.Join('\n', should.Except(has).Select(l => "lacks " + l).Concat(has.Except(should).Select(l => "has   " + l)));
    }

    private void Open()
    {
        if (_random.Next(4) == 0)
        {
            _engineOptions = _engineOptions with { CompactionStyle = (CompactionStyle)_random.Next(2) };
        }

        var environment = new StoreEnvironment
        {
            FileSystem = _files,
            Time = _time,
            Background = _work,
            Engine = _ => _engineOptions,
            Journal = options => options with { ReuseFromGroupBytes = _seed % 4 == 0 ? options.ReuseFromGroupBytes : 0 },
        };
        _store = Store.Open(Directory, _options, environment);
    }

    private void Close() => _store.DisposeAsync().AsTask().GetAwaiter().GetResult();

    /// <summary>Goes on with the disk as the crash left it; the old store is dropped like a process that is gone.</summary>
    private void Abandon(MemoryFileSystem after)
    {
        try
        {
            Close();
        }
        catch (StoreException)
        {
            // Its disk is dead; what matters is that its threads and memory are gone.
        }

        _files = after;
        _work = new DeterministicWork(_random);
    }

    private void Verify()
    {
        IReadOnlyList<CorruptionException> damages = StoreVerification.Run(Directory, new StoreEnvironment { FileSystem = _files, Time = _time, Background = _work }, null, CancellationToken.None);
        if (damages.Count > 0)
        {
            throw new InvalidOperationException($"verify found damage: {damages[0].Message}");
        }
    }

    private void Expect(in WriteResult result, Status expected, string what)
    {
        Trace($"op {_operation} {what} -> {result.Status} {result.Version}");
        if (result.Status != expected)
        {
            throw new InvalidOperationException($"operation {_operation}, {what}: {result.Status} instead of {expected}: {result.Detail}");
        }
    }
}
