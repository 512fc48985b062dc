using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>Random operations, flushes, compactions, reopenings and crashes against a model that keeps everything.</summary>
public sealed class LsmModelTests
{
    private const int Seeds = 150;
    private const int Steps = 900;

    [Fact]
    public void TheEngineAgreesWithTheModelUnderRandomOperations()
    {
        for (int seed = 0; seed < Seeds; seed++)
        {
            try
            {
                new Run(seed, ranges: seed % 5 < 3).Go();
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException($"seed {seed}: {failure.Message}", failure);
            }
        }
    }

    private sealed record Entry(long Version, long Stamp, long ExpiresAt, byte[]? Value);

    /// <summary>A write of a key; or, with an end, the removal of a range (an empty end is open).</summary>
    private sealed record Command(byte[] Key, Entry Entry, byte[]? To = null);

    private sealed class KeyComparer : IComparer<byte[]>
    {
        public int Compare(byte[]? x, byte[]? y) => x.AsSpan().SequenceCompareTo(y);
    }

    private sealed class Run(int seed, bool ranges)
    {
        private readonly Random _random = new(seed);
        private readonly LsmFixture _fixture = new(Options(seed), cacheBytes: seed % 3 == 0 ? 2 << 10 : 64 << 10);
        private readonly SortedDictionary<byte[], List<Entry>> _model = new(new KeyComparer());
        private readonly List<(List<Command> Commands, long Version, long Stamp)> _log = [];
        private readonly List<(Snapshot Snapshot, long Stamp)> _snapshots = [];

        /// <summary>Every second run compresses, with each codec alone and with another one on the deepest level.</summary>
        private static EngineOptions Options(int seed) => LsmFixture.SmallOptions with
        {
            CompactionStyle = (CompactionStyle)(seed / 2 % 2),
            MaxSubCompactions = 1 + (seed / 3 % 4),
            Compression = seed % 2 == 0 ? Compression.None : (Compression)(seed / 2 % 4),
            BottommostCompression = seed % 6 == 3 ? (Compression)(seed / 6 % 4) : null,
            ZstdDictionaryBytes = seed / 8 % 2 == 0 ? 0 : 512,
        };

        public void Go()
        {
            for (int step = 0; step < Steps; step++)
            {
                Step();
            }

            _fixture.Background.RunAll(_random);
            CheckScan(_fixture.Engine.VisibleVersion, _fixture.Engine.VisibleStamp, reverse: false, full: true);
            CheckScan(_fixture.Engine.VisibleVersion, _fixture.Engine.VisibleStamp, reverse: true, full: true);
            Assert.Empty(_fixture.Engine.Verify(CancellationToken.None));
            _snapshots.ForEach(open => open.Snapshot.Dispose());
            CheckShape();
            _fixture.Dispose();
        }

        /// <summary>With nothing left to do, no level is too large and nothing stands where nothing belongs.</summary>
        private void CheckShape()
        {
            Superversion tree = _fixture.Engine.Versions.Current;
            LsmStatistics figures = _fixture.Engine.GetStatistics().Lsm!;
            Assert.All(figures.Levels, level => Assert.InRange(level.Score, 0, 1.0));
            Assert.Equal(tree.Tables.Sum(table => table.FileBytes), figures.Levels.Sum(level => level.Bytes));
            Assert.Equal(0, figures.RunningCompactions);
            Assert.Equal(0, figures.Levels.Sum(level => level.CompactingTables));
        }

        private void Step()
        {
            switch (_random.Next(100))
            {
                case < 55:
                    Write();
                    break;
                case < 75:
                    CheckGet();
                    break;
                case < 80:
                    (long at, long stamp) = ReadPoint();
                    CheckScan(at, stamp, _random.Next(2) == 0, full: false);
                    break;
                case < 83:
                    _fixture.Engine.BeginFlush();
                    break;
                case < 91:
                    _fixture.Background.RunOne(_random);
                    break;
                case 91:
                    Compact();
                    break;
                case < 93:
                    _fixture.Time.UnixMilliseconds += _random.Next(5000);
                    break;
                case < 96:
                    Snapshots();
                    break;
                case < 98:
                    Reopen(files => files.Kill());
                    break;
                default:
                    int crash = _random.Next();
                    Reopen(files => files.Crash(crash));
                    break;
            }
        }

        private void Write()
        {
            List<Command> commands = [];
            int count = _random.Next(1, 12);
            long stamp = _fixture.Oracle.Now();
            long version = 0;
            HashSet<string> used = [];
            for (int i = 0; i < count; i++)
            {
                if (ranges && _random.Next(8) == 0)
                {
                    (byte[] from, byte[] to) = RandomRange();
                    version = NextVersion(version);
                    commands.Add(new Command(from, new Entry(version, stamp, 0, null), to));
                    continue;
                }

                byte[] key = RandomKey();
                if (used.Add(Convert.ToHexString(key)))
                {
                    // Now and then several keys of a group share a version.
                    version = NextVersion(version);
                    bool remove = _random.Next(4) == 0;
                    long expiresAt = !remove && _random.Next(4) == 0 ? stamp + _random.Next(8000) : 0;
                    byte[]? value = remove ? null : RandomValue();
                    commands.Add(new Command(key, new Entry(version, stamp, expiresAt, value)));
                }
            }

            _log.Add((commands, version, stamp));
            Apply(_log.Count, commands, version, stamp);
            foreach (Command command in commands)
            {
                if (command.To is { } to)
                {
                    RemoveFromModel(command, to);
                    continue;
                }

                if (!_model.TryGetValue(command.Key, out List<Entry>? history))
                {
                    _model[command.Key] = history = [];
                }

                history.Add(command.Entry);
            }
        }

        private void RemoveFromModel(Command range, byte[] to)
        {
            foreach ((byte[] key, List<Entry> history) in _model)
            {
                bool within = key.AsSpan().SequenceCompareTo(range.Key) >= 0 && (to.Length == 0 || key.AsSpan().SequenceCompareTo(to) < 0);
                if (within && history[^1].Version < range.Entry.Version)
                {
                    history.Add(range.Entry);
                }
            }
        }

        /// <summary>A range of any width, from two neighbouring keys to all there are.</summary>
        private (byte[] From, byte[] To) RandomRange()
        {
            byte[] from = _random.Next(12) == 0 ? [] : RandomKey();
            byte[] to = _random.Next(12) == 0 ? [] : _random.Next(4) == 0 ? [.. from, 0] : RandomKey();
            return to.Length > 0 && from.AsSpan().SequenceCompareTo(to) >= 0 ? from.AsSpan().SequenceEqual(to) ? (from, [.. to, 0]) : (to, from) : (from, to);
        }

        private long NextVersion(long last) => last != 0 && _random.Next(3) == 0 ? last : _fixture.Oracle.Take(1);

        private void Apply(long index, List<Command> commands, long version, long stamp)
        {
            LsmEngine engine = _fixture.Engine;
            engine.Admit(commands.Sum(command => command.Key.Length + (command.Entry.Value?.Length ?? 0)));
            foreach (Command command in commands)
            {
                if (command.To is { } to)
                {
                    engine.RemoveRange(command.Key, to, command.Entry.Version, stamp);
                }
                else if (command.Entry.Value is byte[] value)
                {
                    engine.Put(command.Key, command.Entry.Version, stamp, command.Entry.ExpiresAt, value);
                }
                else
                {
                    engine.Remove(command.Key, command.Entry.Version, stamp);
                }
            }

            engine.EndGroup(index, version, stamp);
        }

        private void Reopen(Func<MemoryFileSystem, MemoryFileSystem> between)
        {
            // Snapshots do not outlive the process.
            _snapshots.ForEach(open => open.Snapshot.Dispose());
            _snapshots.Clear();
            long durable = _fixture.Engine.DurableIndex;
            if (_random.Next(3) == 0)
            {
                _fixture.Options = _fixture.Options with { CompactionStyle = (CompactionStyle)_random.Next(2) };
            }

            _fixture.Reopen(between);
            LsmEngine engine = _fixture.Engine;
            Assert.True(engine.AppliedIndex >= durable, $"recovered {engine.AppliedIndex}, durable was {durable}");
            Assert.Equal(engine.AppliedIndex, engine.DurableIndex);
            for (int i = (int)engine.AppliedIndex; i < _log.Count; i++)
            {
                Apply(i + 1, _log[i].Commands, _log[i].Version, _log[i].Stamp);
            }
        }

        /// <summary>Begins a manual compaction, which goes on whenever jobs run.</summary>
        private void Compact()
        {
            _fixture.Engine.BeginFlush();
            _fixture.Engine.BeginCompaction(new PartitionCompaction(CancellationToken.None), new KeyRange(_random.Next(2) == 0 ? default : RandomKey(), default));
        }

        private void Snapshots()
        {
            if (_snapshots.Count > 0 && _random.Next(2) == 0)
            {
                int i = _random.Next(_snapshots.Count);
                _snapshots[i].Snapshot.Dispose();
                _snapshots.RemoveAt(i);
            }
            else if (_snapshots.Count < 5)
            {
                _snapshots.Add((_fixture.Snapshots.Open(_fixture.Oracle), _fixture.Oracle.LastStamp));
            }
        }

        private (long Version, long Stamp) ReadPoint()
        {
            if (_snapshots.Count > 0 && _random.Next(2) == 0)
            {
                (Snapshot snapshot, long stamp) = _snapshots[_random.Next(_snapshots.Count)];
                return (snapshot.Version, stamp);
            }

            return (_fixture.Engine.VisibleVersion, _fixture.Engine.VisibleStamp);
        }

        private void CheckGet()
        {
            (long at, long stamp) = ReadPoint();
            byte[] key = RandomKey();
            Entry? expected = Expected(key, at, stamp);
            bool latest = at == _fixture.Engine.VisibleVersion;
            bool found = _fixture.Engine.TryGet(key, latest ? ReadVersion.Latest : at, out ValueLease lease);
            if (found && IsExpired(lease.ExpiresAtUnixMilliseconds, stamp))
            {
                found = false;
            }

            Assert.Equal(expected is not null, found);
            if (found)
            {
                Assert.Equal(expected!.Value, lease.Value.ToArray());
                Assert.Equal(expected.Version, lease.Version);
                Assert.Equal(expected.Stamp, lease.ModifiedUnixMilliseconds);
                Assert.Equal(expected.ExpiresAt, lease.ExpiresAtUnixMilliseconds);
            }

            lease.Dispose();
            Assert.False(Epochs.IsInside);
        }

        private void CheckScan(long at, long stamp, bool reverse, bool full)
        {
            byte[] from = full || _random.Next(3) == 0 ? [] : RandomKey();
            byte[] to = full || _random.Next(3) == 0 ? [] : RandomKey();
            IEnumerable<KeyValuePair<byte[], Entry>> range = _model
                .Select(item => KeyValuePair.Create(item.Key, Expected(item.Key, at, stamp)!))
                .Where(item => item.Value is not null)
                .Where(item => item.Key.AsSpan().SequenceCompareTo(from) >= 0)
                .Where(item => to.Length == 0 || item.Key.AsSpan().SequenceCompareTo(to) < 0);
            List<KeyValuePair<byte[], Entry>> expected = [.. reverse ? range.Reverse() : range];
            using EngineCursor cursor = _fixture.Engine.OpenCursor(from, to, at, reverse);
            CheckCursor(cursor, expected, full ? int.MaxValue : _random.Next(1, 60), stamp);
            for (int i = 0; !full && i < 3; i++)
            {
                byte[] key = RandomKey();
                cursor.Seek(key);
                List<KeyValuePair<byte[], Entry>> rest = expected.FindAll(item =>
                    reverse ? item.Key.AsSpan().SequenceCompareTo(key) <= 0 : item.Key.AsSpan().SequenceCompareTo(key) >= 0);
                CheckCursor(cursor, rest, _random.Next(1, 20), stamp);
            }
        }

        private static void CheckCursor(EngineCursor cursor, List<KeyValuePair<byte[], Entry>> expected, int limit, long stamp)
        {
            for (int i = 0; i < limit; i++)
            {
                bool moved;
                do
                {
                    moved = cursor.MoveNext();
                }
                while (moved && IsExpired(cursor.ExpiresAt, stamp));

                Assert.Equal(i < expected.Count, moved);
                if (!moved)
                {
                    Assert.False(cursor.MoveNext());
                    return;
                }

                Assert.Equal(expected[i].Key, cursor.Key.ToArray());
                Assert.Equal(expected[i].Value.Value, cursor.Value.ToArray());
                Assert.Equal(expected[i].Value.Version, cursor.Version);
                Assert.Equal(expected[i].Value.Stamp, cursor.Stamp);
                Assert.Equal(expected[i].Value.ExpiresAt, cursor.ExpiresAt);
            }
        }

        /// <summary>What is there at a version; what had expired when the read point was taken is not.</summary>
        private Entry? Expected(byte[] key, long at, long stamp)
        {
            Entry? entry = _model.TryGetValue(key, out List<Entry>? history) ? history.LastOrDefault(item => item.Version <= at) : null;
            return entry?.Value is null || IsExpired(entry.ExpiresAt, stamp) ? null : entry;
        }

        private static bool IsExpired(long expiresAt, long stamp) => expiresAt != 0 && expiresAt <= stamp;

        private byte[] RandomKey()
        {
            string text = _random.Next(10) switch
            {
                0 => $"{(char)_random.Next('a', 'e')}",
                < 5 => $"key{_random.Next(60):D8}",
                < 8 => $"{(char)_random.Next('a', 'e')}{_random.Next(40)}",
                8 => new string('x', _random.Next(1, 300)),
                _ => $"key{_random.Next(60):D8}\0",
            };
            return System.Text.Encoding.Latin1.GetBytes(text);
        }

        private byte[] RandomValue()
        {
            int length = _random.Next(20) switch
            {
                0 => 0,
                1 => _random.Next(3000),
                _ => _random.Next(60),
            };
            byte[] value = new byte[length];
            _random.NextBytes(value);
            return value;
        }
    }
}
