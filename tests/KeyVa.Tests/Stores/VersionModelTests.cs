using System.Globalization;
using System.Text;
using Xunit;

namespace KeyVa.Tests.Stores;

/// <summary>
/// Random writes, roll backs, flushes, compactions and reopenings beside a model that forgets nothing: whatever the store tells of
/// the past is true, and what retention promises is there.
/// </summary>
public class VersionModelTests
{
    private const int Steps = 260;

    [Theory]
    [InlineData(EngineKind.Lsm, 0, 0)]
    [InlineData(EngineKind.Lsm, 60, 0)]
    [InlineData(EngineKind.Lsm, 0, 3)]
    [InlineData(EngineKind.Lsm, 60, 2)]
    [InlineData(EngineKind.Memory, 0, 0)]
    [InlineData(EngineKind.Memory, 60, 0)]
    [InlineData(EngineKind.Memory, 0, 3)]
    [InlineData(EngineKind.Memory, 60, 2)]
    public async Task Tells_the_truth_and_what_it_promised(EngineKind engine, int seconds, int count)
    {
        int first = Random.Shared.Next();
        for (int i = 0; i < 4; i++)
        {
            await using var run = new Run(first + i, engine, TimeSpan.FromSeconds(seconds), count);
            await run.Play();
        }
    }

    private sealed class Run : IAsyncDisposable
    {
        private readonly StoreFixture _fixture = new();
        private readonly VersionModel _model = new();
        private readonly Random _random;
        private readonly int _seed;
        private readonly EngineKind _engine;
        private readonly TimeSpan _window;
        private readonly int _count;
        private Store _store;

        public Run(int seed, EngineKind engine, TimeSpan window, int count)
        {
            _seed = seed;
            _random = new Random(seed);
            _engine = engine;
            _window = window;
            _count = count;
            for (int i = 0; i < 20; i++)
            {
                _model.Know(KeyOf(i));
            }

            _store = Open();
            Assert.True(_store.Partitions.Add(new KeyRange(default, "k05"u8.ToArray()), engine).Status == Status.Ok);
            Assert.True(_store.Partitions.Add(new KeyRange("k05"u8.ToArray(), default), engine).Status == Status.Ok);
        }

        private long Now => _fixture.Time.UnixMilliseconds;

        private string Where => string.Create(CultureInfo.InvariantCulture, $"seed {_seed}, {_engine}, {_window.TotalSeconds} s, {_count} versions");

        public async Task Play()
        {
            for (int step = 0; step < Steps; step++)
            {
                await Act(_random.Next(100));
                Check();
            }

            CheckHistories();
            CheckScan();
        }

        public ValueTask DisposeAsync() => _store.DisposeAsync();

        private Store Open() => Store.Open(StoreFixture.Directory, new StoreOptions
        {
            CreateDefaultPartition = false,
            RetainVersionsFor = _window,
            RetainVersions = _count,
            JournalSegmentBytes = 1 << 16,
            SeparateValuesFrom = (_seed & 1) == 0 ? 0 : 64,
        }, new StoreEnvironment
        {
            FileSystem = _fixture.Files,
            Time = _fixture.Time,
            Engine = options => options with { MemtableBytes = 4 << 10, TableBytes = 4 << 10, BlockBytes = 256, Level0Tables = 2, Level1Bytes = 8 << 10, LevelMultiplier = 3, CheckpointAfterBytes = 8 << 10 },
        });

        private async Task Act(int dice)
        {
            string key = Key();
            if (dice < 45)
            {
                string value = new((char)('a' + _random.Next(26)), 1 + _random.Next(120));
                long expiresAt = key[1] == '9' || key.EndsWith('9') ? Now + _random.Next(1, 90_000) : 0;
                WriteResult put = StoreFixture.Set(_store, key, value, expiresAt == 0 ? default : new WriteOptions { Expiry = Expiry.At(DateTimeOffset.FromUnixTimeMilliseconds(expiresAt)) });
                Assert.True(put.IsOk, put.Detail);
                _model.Put(key, put.Version, Now, value, expiresAt);
            }
            else if (dice < 58)
            {
                WriteResult removed = _store.Remove(StoreFixture.Bytes(key), blind: _random.Next(3) == 0);
                if (removed.Version != 0)
                {
                    _model.Remove(key, removed.Version, Now);
                }
            }
            else if (dice < 64)
            {
                (string from, string to) = Range();
                WriteResult removed = _store.RemoveRange(StoreFixture.Bytes(from), StoreFixture.Bytes(to));
                Assert.True(removed.IsOk, removed.Detail);
                _model.RemoveRange(from, to, removed.Version, Now);
            }
            else if (dice < 72)
            {
                RollBack();
            }
            else if (dice < 86)
            {
                _fixture.Time.Advance(TimeSpan.FromMilliseconds(_random.Next(1, 9000)));
            }
            else if (dice < 94)
            {
                CompactionResult compacted = await _store.CompactAsync(KeyRange.All);
                Assert.True(compacted.Status is Status.Ok or Status.NotFound, compacted.Detail);
            }
            else if (dice < 96)
            {
                await _store.DisposeAsync();
                _store = Open();
            }
            else
            {
                CheckHistories();
                CheckScan();
            }
        }

        private void RollBack()
        {
            (string from, string to) = Range();
            if (_model.Newest == 0)
            {
                return;
            }

            long target = _random.NextInt64(Math.Max(1, _model.Newest - 60), _model.Newest + 1);
            bool byTime = _random.Next(4) == 0;
            long time = Now - _random.Next(0, 70_000);
            var range = new KeyRange(StoreFixture.Bytes(from), StoreFixture.Bytes(to));
            RollBackResult result = _store.RollBack(range, byTime ? AsOf.AtTime(time) : AsOf.AtVersion(target));
            if (result.Status == Status.Compacted)
            {
                Assert.False(IsPromised(target) && !byTime, $"{Where}: rolling back to {target} was refused: {result.Detail}");
                return;
            }

            Assert.True(result.Status == Status.Ok, $"{Where}: {result.Status} {result.Detail}");
            if (byTime)
            {
                target = result.ToVersion;
                Assert.True(_model.StampOf(target) <= time, $"{Where}: {time} led to {target}");
            }

            Assert.Equal(target, result.ToVersion);
            long changed = _model.RollBack(from, to, target, result.Version, Now);
            Assert.True(changed == result.KeysChanged, $"{Where}: {result.KeysChanged} keys changed, the model says {changed}");
        }

        /// <summary>Some reads of the past.</summary>
        private void Check()
        {
            for (int i = 0; i < 4 && _model.Newest > 0; i++)
            {
                string key = Key();
                long version = _random.Next(3) == 0 ? _model.Newest : _random.NextInt64(Math.Max(1, _model.Newest - 80), _model.Newest + 1);
                ReadResult read = _store.GetAt(StoreFixture.Bytes(key), AsOf.AtVersion(version));
                bool promised = IsPromised(version) || (_count > 0 && _model.Newer(key, version) < _count);
                Compare(read, _model.At(key, version), promised, $"{key} at {version}");
                if (_window > TimeSpan.Zero)
                {
                    long time = Now - _random.Next(0, 80_000);
                    read = _store.GetAt(StoreFixture.Bytes(key), AsOf.AtTime(time));
                    VersionModel.Event? then = _model.AtTime(key, time);
                    Compare(read, then?.ExpiresAt is > 0 and { } e && e <= time ? null : then, promised: false, $"{key} at time {time}");
                }
            }
        }

        private void Compare(ReadResult read, VersionModel.Event? expected, bool promised, string what)
        {
            if (read.Status == Status.Compacted)
            {
                Assert.False(promised, $"{Where}: {what} was refused: {read.Detail}");
                Assert.NotNull(read.Detail);
                return;
            }

            // What expired longer ago than versions are kept may be gone.
            bool mayBeGone = expected is { ExpiresAt: > 0 } && expected.ExpiresAt <= Now - _window.TotalMilliseconds;
            if (read.Status == Status.NotFound && mayBeGone)
            {
                return;
            }

            Assert.True((expected?.Value is not null) == read.Found, $"{Where}: {what} is {read.Status}, the model has {expected}");
            if (read.Found)
            {
                Assert.True(expected!.Value == Encoding.UTF8.GetString(read.Record.Value.Span) && expected.Version == read.Record.Version
                    && expected.Stamp == read.Record.ModifiedUnixMilliseconds && expected.ExpiresAt == read.Record.ExpiresAtUnixMilliseconds, $"{Where}: {what} is {read.Record.Version}, the model has {expected}");
            }
        }

        private void CheckHistories()
        {
            foreach (string key in _model.Keys.Where(key => !key.EndsWith('9')))
            {
                List<KeyVersion> told = [];
                long begins = 0;
                var options = new HistoryOptions { Limit = 1 + _random.Next(8) };
                while (true)
                {
                    HistoryResult page = _store.History(StoreFixture.Bytes(key), options);
                    Assert.Equal(Status.Ok, page.Status);
                    told.AddRange(page.Versions);
                    begins = Math.Max(begins, page.BeginsAtVersion);
                    if (page.ResumeVersion == 0)
                    {
                        break;
                    }

                    options = options with { To = page.ResumeVersion };
                }

                List<VersionModel.Event> real = _model.History(key);
                for (int i = 0; i < told.Count; i++)
                {
                    Assert.True(i < real.Count && real[i].Version == told[i].Version && real[i].Stamp == told[i].ModifiedUnixMilliseconds
                        && real[i].Value == (told[i].IsRemoval ? null : Encoding.UTF8.GetString(told[i].Value.Span)),
                        $"{Where}: history of {key}: {string.Join(' ', told.Select(v => v.Version))}, really {string.Join(' ', real.Select(v => v.Version))}");
                }

                int must = real.Count(e => e.Version > begins);
                must = Math.Max(must, _count > 0 ? real.TakeWhile(e => _model.Newer(key, e.Version) < _count && e.Value is not null).Count() : 0);
                Assert.True(told.Count >= must, $"{Where}: history of {key} has {told.Count} versions from {begins} on, at least {must} are there: {string.Join(' ', real.Select(v => v.Version))}");
                HistoryResult reverse = _store.History(StoreFixture.Bytes(key), new HistoryOptions { Reverse = true, Limit = HistoryOptions.MaxLimit });
                Assert.Equal(reverse.Versions.Select(v => v.Version), reverse.Versions.Select(v => v.Version).Order());
            }
        }

        private void CheckScan()
        {
            if (_model.Newest == 0)
            {
                return;
            }

            long version = _random.NextInt64(Math.Max(1, _model.Newest - 80), _model.Newest + 1);
            using ScanCursor cursor = _store.Scan(new ScanOptions { At = AsOf.AtVersion(version), Unordered = _engine == EngineKind.Memory });
            if (cursor.Status == Status.Compacted)
            {
                Assert.False(IsPromised(version), $"{Where}: a scan at {version} was refused: {cursor.Detail}");
                return;
            }

            Assert.Equal(Status.Ok, cursor.Status);
            SortedDictionary<string, string> found = new(StringComparer.Ordinal);
            while (cursor.MoveNext())
            {
                string key = Encoding.UTF8.GetString(cursor.Key);
                if (!key.EndsWith('9'))
                {
                    found.Add(key, string.Create(CultureInfo.InvariantCulture, $"{key}={Encoding.UTF8.GetString(cursor.Value)}@{cursor.Version}"));
                }
            }

            string expected = string.Join(' ', _model.Scan(version).Split(' ', StringSplitOptions.RemoveEmptyEntries).Where(entry => entry[2] != '9' && !entry.Split('=')[0].EndsWith('9')));
            string text = string.Join(' ', found.Values);
            Assert.True(expected == text, $"{Where}: a scan at {version} gave\n{text}\nand not\n{expected}");
        }

        /// <summary>By time: a command at it or before it was accepted in the window, so that nothing superseded before the window is below it.</summary>
        private bool IsPromised(long version) => _window > TimeSpan.Zero && _model.StampOf(version) > Now - (long)_window.TotalMilliseconds;

        private string Key() => KeyOf(_random.Next(20));

        private static string KeyOf(int number) => string.Create(CultureInfo.InvariantCulture, $"k{number:d2}");

        private (string From, string To) Range()
        {
            string from = _random.Next(6) == 0 ? "" : Key();
            string to = _random.Next(6) == 0 ? "" : Key();
            if (to.Length > 0 && string.CompareOrdinal(from, to) >= 0)
            {
                (from, to) = (to, from + "x");
            }

            return (from, to);
        }
    }
}
