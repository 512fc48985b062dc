using System.Diagnostics;
using System.Globalization;
using System.Text;
using KeyVa.Io;

namespace KeyVa.Simulation;

/// <summary>
/// One store under one option set, answering operations in the model's words. The store's own chance (options, when jobs
/// run, where it is opened anew) follows from seed and number. One thread at a time.
/// </summary>
internal sealed class MetamorphicRun : IDisposable
{
    private static readonly TimeSpan LongestCopy = TimeSpan.FromSeconds(30);

    private readonly Random _random;
    private readonly StoreLayout _layout;
    private readonly SimulatedTime _time = new();
    private readonly string _root;
    private readonly Dictionary<long, int> _writes = new() { [0] = 0 };
    private readonly Dictionary<int, long> _versions = [];
    private readonly HeldCursor?[] _cursors = new HeldCursor?[OperationGenerator.Slots];
    private readonly List<string> _openings = [];
    private readonly Func<OptionSet, OptionSet>? _reduce;
    private readonly long _begin;

    private IFileSystem _files;
    private DeterministicWork? _work;
    private Store? _store;
    private string _directory;
    private int _copies;
    private long _lastVersion;
    private StoreStatistics _earlier = new();
    private long _extraScans;

    /// <param name="seed">Of the operations; with the number it decides over the options.</param>
    /// <param name="number">Which of the option sets.</param>
    /// <param name="reduce">Leaves options out, to find the one that matters.</param>
    public MetamorphicRun(int seed, int number, Func<OptionSet, OptionSet>? reduce = null)
    {
        _random = new Random(HashCode(seed, number));
        _layout = StoreLayout.Draw(_random, number);
        _reduce = reduce;
        _begin = _time.UnixMilliseconds;
        _root = _layout.OnDisk ? Path.Combine(Path.GetTempPath(), $"keyva-metamorphic-{Guid.NewGuid():N}") : "/data";
        _directory = $"{_root}/store";
        _files = _layout.OnDisk ? new DiskFileSystem() : new MemoryFileSystem();
        _files.CreateDirectory(_root);
    }

    /// <summary>The names of the options that the run has drawn so far.</summary>
    public HashSet<string> OptionNames { get; } = [];

    /// <summary>The layout, and the options of each opening.</summary>
    public override string ToString() => $"{_layout}\n  {string.Join("\n  ", _openings)}";

    public void Begin()
    {
        Open(OptionSet.Draw(_random));
        for (int i = 0; i < _layout.Engines.Length; i++)
        {
            PartitionResult added = _store!.Partitions.Add(_layout.Range(i), _layout.Engines[i], _layout.Volatile);
            if (added.Status != Status.Ok)
            {
                throw new InvalidOperationException($"partition {i}: {added.Status} {added.Detail}");
            }
        }
    }

    public string Apply(MetamorphicOperation operation)
    {
        string answer = Answer(operation);
        for (int i = _layout.Jobs == 0 ? 0 : _random.Next(_layout.Jobs + 1); i > 0 && _work is not null && _work.RunOne(); i--)
        {
        }

        return answer;
    }

    /// <summary>Closes the store and reads every byte that it left.</summary>
    public void End()
    {
        Close();
        IReadOnlyList<CorruptionException> damages = StoreVerification.Run(_directory, new StoreEnvironment { FileSystem = _files, Time = _time }, null, CancellationToken.None);
        if (damages.Count > 0)
        {
            throw new InvalidOperationException($"verify found damage: {damages[0].Message}");
        }
    }

    public void Dispose()
    {
        Close();
        if (_layout.OnDisk)
        {
            _files.DeleteDirectory(_root);
        }
    }

    // The framework's own is seeded per process.
    private static int HashCode(int seed, int number) => unchecked((seed * 7919) + (number * 104_729) + 17);

    private static byte[] Bytes(string text) => Encoding.Latin1.GetBytes(text);

    private string Answer(MetamorphicOperation operation)
    {
        switch (operation.Kind)
        {
            case OperationKind.Put:
                return Answer(operation, _store!.Upsert(Bytes(operation.Key), operation.Value, OptionsOf(operation)));
            case OperationKind.Remove:
                return Answer(operation, _store!.Remove(Bytes(operation.Key), ConditionOf(operation), operation.Blind));
            case OperationKind.RemoveRange:
                return Answer(operation, _store!.RemoveRange(Bytes(operation.Key), Bytes(operation.To)));
            case OperationKind.Batch:
                return Batch(operation);
            case OperationKind.Get:
                return Get(operation);
            case OperationKind.MultiGet:
                return MultiGet(operation);
            case OperationKind.Scan:
                using (HeldCursor cursor = new(this, operation))
                {
                    return cursor.IsRefused ? "Invalid" : cursor.Step(int.MaxValue);
                }

            case OperationKind.OpenCursor:
                _cursors[operation.Slot] = new HeldCursor(this, operation);
                return _cursors[operation.Slot]!.IsRefused ? "Invalid" : "Ok";
            case OperationKind.StepCursor:
                return _cursors[operation.Slot]?.Step(operation.Count) ?? "";
            case OperationKind.CloseCursor:
                _cursors[operation.Slot]?.Dispose();
                _cursors[operation.Slot] = null;
                return "";
            case OperationKind.Advance:
                _time.Advance(operation.Milliseconds);
                return "";
            case OperationKind.Compact:
                Compact(operation);
                return "";
            default:
                return Boundary();
        }
    }

    private int WriteOf(long version) => _writes.TryGetValue(version, out int write) ? write : -1;

    private WriteOptions OptionsOf(MetamorphicOperation put) => new()
    {
        Condition = ConditionOf(put),
        Expiry = put.Milliseconds == 0 ? Expiry.Never
            : put.Absolute ? Expiry.AtUnixMilliseconds(_begin + put.Milliseconds)
            : Expiry.InMilliseconds(put.Milliseconds),
    };

    private Condition ConditionOf(MetamorphicOperation operation) => operation.Condition switch
    {
        ConditionKind.IfAbsent => Condition.IfAbsent,
        ConditionKind.IfPresent => Condition.IfPresent,
        ConditionKind.IfVersion => Condition.IfVersion(_versions.GetValueOrDefault(operation.ConditionWrite, long.MaxValue / 2)),
        ConditionKind.IfValue => Condition.IfValue(operation.ConditionValue),
        _ => default,
    };

    private string Answer(MetamorphicOperation operation, in WriteResult result)
    {
        if (result.IsOk)
        {
            if (result.Version <= _lastVersion)
            {
                return string.Create(CultureInfo.InvariantCulture, $"version {result.Version} behind {_lastVersion}");
            }

            _lastVersion = result.Version;
            _writes[result.Version] = operation.Index;
            _versions[operation.Index] = result.Version;
        }

        return MetamorphicModel.Line(result.Status, WriteOf(result.Version), result.FailedOperation, WriteOf(result.CurrentVersion), result.Removed.Span);
    }

    private string Batch(MetamorphicOperation operation)
    {
        using WriteBatch batch = new();
        foreach (MetamorphicOperation part in operation.Parts)
        {
            _ = part.Kind switch
            {
                OperationKind.Put => batch.Put(Bytes(part.Key), part.Value, OptionsOf(part)),
                OperationKind.Remove => batch.Remove(Bytes(part.Key), ConditionOf(part), part.Blind),
                _ => batch.RemoveRange(Bytes(part.Key), Bytes(part.To)),
            };
        }

        return Answer(operation, _store!.Write(batch));
    }

    private string Get(MetamorphicOperation operation)
    {
        using ValueLease lease = _store!.Get(Bytes(operation.Key));
        return lease.Found
            ? MetamorphicModel.Line(operation.Key, WriteOf(lease.Version), lease.Value, false, lease.ModifiedUnixMilliseconds, lease.ExpiresAtUnixMilliseconds)
            : lease.Status == Status.NotFound ? "NotFound " : $"{lease.Status}";
    }

    private string MultiGet(MetamorphicOperation operation)
    {
        MultiReadResult result = _store!.GetAsync([.. operation.Parts.Select(static part => (ReadOnlyMemory<byte>)Bytes(part.Key))]).AsTask().GetAwaiter().GetResult();
        return result.Status != Status.Ok ? $"{result.Status}" : string.Concat(result.Records.Zip(operation.Parts, (found, part) => found is { } record
            ? MetamorphicModel.Line(part.Key, WriteOf(record.Version), record.Value.Span, false, record.ModifiedUnixMilliseconds, record.ExpiresAtUnixMilliseconds)
            : "NotFound "));
    }

    private void Compact(MetamorphicOperation operation)
    {
        KeyRange range = new(Bytes(operation.Key), Bytes(operation.To));
        foreach (PartitionInfo partition in _store!.Partitions.List().Where(partition => partition.Range.Overlaps(range)))
        {
            PartitionCompaction compaction = _store.Partitions.BeginCompaction(partition.Id, range);
            if (_layout.OwnThreads && _random.Next(2) == 0)
            {
                compaction.Completion.GetAwaiter().GetResult();
            }
        }
    }

    /// <summary>Tells the counters, and goes on: as it is, closed, killed, or as a copy; opened anew under other options.</summary>
    private string Boundary()
    {
        CloseCursors();
        StoreStatistics now = _store!.GetStatistics();
        string answer = MetamorphicModel.Line(_earlier.Gets + now.Gets, _earlier.GetsFound + now.GetsFound, _earlier.Sets + now.Sets, _earlier.Removes + now.Removes, _earlier.Scans + now.Scans - _extraScans, _earlier.Refused + now.Refused);
        if (now.OpenSnapshots != 0 && !_layout.HasMemory)
        {
            // A checkpoint of the memory engine reads at one of its own.
            return string.Create(CultureInfo.InvariantCulture, $"{now.OpenSnapshots} snapshots are open");
        }

        if (_random.Next(10) >= _layout.ReopensOfTen)
        {
            return answer;
        }

        _earlier = new StoreStatistics
        {
            Gets = _earlier.Gets + now.Gets,
            GetsFound = _earlier.GetsFound + now.GetsFound,
            Sets = _earlier.Sets + now.Sets,
            Removes = _earlier.Removes + now.Removes,
            Scans = _earlier.Scans + now.Scans,
            Refused = _earlier.Refused + now.Refused,
        };
        int how = _random.Next(4);
        string? copy = how == 1 ? Copy() : null;
        MemoryFileSystem? afterKill = how == 2 && _files is MemoryFileSystem memory ? memory.Kill() : null;
        Close(isDead: afterKill is not null);
        _files = afterKill ?? _files;
        _directory = copy is not null && _layout.Engines.Length == 1 ? copy : _directory;
        Open(OptionSet.Draw(_random));
        return answer;
    }

    /// <summary>A copy of one partition: the store's continuation, if it has no other.</summary>
    private string Copy()
    {
        string target = $"{_root}/copy-{_copies++}";
        IReadOnlyList<PartitionInfo> partitions = _store!.Partitions.List();
        PartitionSnapshot snapshot = _store.Partitions.BeginSnapshot(partitions[_random.Next(partitions.Count)].Id, target);
        long begun = Stopwatch.GetTimestamp();
        while (_work is not null && !snapshot.Completion.IsCompleted && Stopwatch.GetElapsedTime(begun) < LongestCopy)
        {
            // The journal has a thread of its own, which may bring a job when there was none.
            if (!_work.RunOne())
            {
                Thread.Yield();
            }
        }

        PartitionSnapshotResult result = snapshot.Completion.WaitAsync(LongestCopy).GetAwaiter().GetResult();
        return result.Status == Status.Ok ? target : throw new InvalidOperationException($"the copy ended with {result.Status}: {result.Detail}");
    }

    private void Open(OptionSet drawn)
    {
        OptionSet options = _reduce?.Invoke(drawn) ?? drawn;
        OptionNames.UnionWith(drawn.Drawn.Select(static one => one.Name));
        _openings.Add(options.ToString());
        _work = _layout.OwnThreads ? null : new DeterministicWork(_random);
        _store = Store.Open(_directory, options.StoreOptions, new StoreEnvironment
        {
            FileSystem = _files,
            Time = _time,
            Background = _work,
            Engine = options.Apply,
            Journal = static journal => journal with { ReuseFromGroupBytes = 0, ReadAheadFrom = 0 },
        });
    }

    private void Close(bool isDead = false)
    {
        Store? store = _store;
        _store = null;
        CloseCursors();

        try
        {
            store?.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
        catch (StoreException) when (isDead)
        {
            // Its disk is gone, as with a process that was killed.
        }
    }

    private void CloseCursors()
    {
        foreach (HeldCursor? cursor in _cursors)
        {
            cursor?.Dispose();
        }

        Array.Clear(_cursors);
    }

    /// <summary>
    /// A cursor held over other operations. Where a partition keeps no order, everything is read in the engine's order at
    /// the first step, and put in order here.
    /// </summary>
    private sealed class HeldCursor : IDisposable
    {
        private readonly MetamorphicRun _run;
        private readonly MetamorphicOperation _scan;
        private readonly ScanCursor _cursor;
        private readonly bool _ordered;
        private Queue<(string Key, string Line, long ExpiresAt)>? _sorted;
        private int _left;

        public HeldCursor(MetamorphicRun run, MetamorphicOperation scan)
        {
            _run = run;
            _scan = scan;
            _left = scan.Count == 0 ? int.MaxValue : scan.Count;
            _cursor = run._store!.Scan(new ScanOptions
            {
                From = Bytes(scan.Key),
                To = Bytes(scan.To),
                Prefix = Bytes(scan.Prefix),
                After = Bytes(scan.After),
                Limit = scan.Count,
                Reverse = scan.Reverse,
                KeysOnly = scan.KeysOnly,
            });
            _ordered = _cursor.Status != Status.Unsupported || !run._layout.HasMemory;
            if (!_ordered)
            {
                _cursor.Dispose();
                run._extraScans++;
                _cursor = run._store!.Scan(new ScanOptions { Unordered = true, KeysOnly = scan.KeysOnly });
            }
        }

        /// <summary>Refused for its bounds; anything else that is refused is wrong.</summary>
        public bool IsRefused => _cursor.Status == Status.Invalid
            || (_cursor.Status == Status.Ok ? false : throw new InvalidOperationException($"a scan ended with {_cursor.Status}: {_cursor.Detail}"));

        public string Step(int steps)
        {
            StringBuilder text = new();
            if (_ordered)
            {
                for (; steps > 0 && _cursor.MoveNext(); steps--)
                {
                    text.Append(Line(Encoding.Latin1.GetString(_cursor.Key)));
                }

                return text.ToString();
            }

            _sorted ??= ReadAll();
            while (steps > 0 && _left > 0 && _sorted.TryDequeue(out (string Key, string Line, long ExpiresAt) next))
            {
                if (next.ExpiresAt == 0 || next.ExpiresAt > _run._time.UnixMilliseconds)
                {
                    text.Append(next.Line);
                    steps--;
                    _left--;
                }
            }

            return text.ToString();
        }

        public void Dispose() => _cursor.Dispose();

        private string Line(string key) =>
            MetamorphicModel.Line(key, _run.WriteOf(_cursor.Version), _cursor.Value, _scan.KeysOnly, _cursor.ModifiedUnixMilliseconds, _cursor.ExpiresAtUnixMilliseconds);

        private Queue<(string Key, string Line, long ExpiresAt)> ReadAll()
        {
            List<(string Key, string Line, long ExpiresAt)> records = [];
            while (_cursor.MoveNext())
            {
                string key = Encoding.Latin1.GetString(_cursor.Key);
                bool within = string.CompareOrdinal(key, _scan.Key) >= 0 && (_scan.To.Length == 0 || string.CompareOrdinal(key, _scan.To) < 0)
                    && key.StartsWith(_scan.Prefix, StringComparison.Ordinal)
                    && (_scan.After.Length == 0 || (_scan.Reverse ? string.CompareOrdinal(key, _scan.After) < 0 : string.CompareOrdinal(key, _scan.After) > 0));
                if (within)
                {
                    records.Add((key, Line(key), _cursor.ExpiresAtUnixMilliseconds));
                }
            }

            records.Sort((a, b) => string.CompareOrdinal(a.Key, b.Key) * (_scan.Reverse ? -1 : 1));
            return new Queue<(string, string, long)>(records);
        }
    }
}
