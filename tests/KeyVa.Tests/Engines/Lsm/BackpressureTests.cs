using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>
/// A writer that offers several times what the disk can take, for a simulated minute: it must be slowed down little by
/// little, never stopped, and memory must stay bounded.
/// </summary>
public sealed class BackpressureTests(ITestOutputHelper output)
{
    private static readonly TimeSpan LongestGap = TimeSpan.FromMilliseconds(100);

    [Theory]
    [InlineData(CompactionStyle.Leveled, 100)]
    [InlineData(CompactionStyle.Leveled, 40_000)]
    [InlineData(CompactionStyle.Tiered, 100)]
    public void ASlowDiskSlowsWritersDownWithoutAGap(CompactionStyle style, int valueBytes)
    {
        SteppedTime time = new();
        SlowDisk disk = new(time, bytesPerSecond: 8 << 20);
        MemoryFileSystem files = new();
        files.CreateDirectory(LsmFixture.Directory);
        using BlockCache cache = new(1 << 20);
        EngineOptions options = new()
        {
            MemtableBytes = 1 << 20,
            TableBytes = 1 << 20,
            Level1Bytes = 4 << 20,
            CompactionStyle = style,
            MaxSubCompactions = 1,
        };
        using LsmEngine engine = LsmEngine.Open(new EngineContext
        {
            FileSystem = files,
            Directory = LsmFixture.Directory,
            Options = options,
            Background = disk,
            Snapshots = new SnapshotList(),
            BlockCache = cache,
            Time = time,
        });
        disk.Written = () => engine.GetStatistics() is { } figures ? figures.BytesFlushed + figures.BytesCompacted : 0;
        Random random = new(3);
        byte[] key = new byte[16];
        byte[] value = new byte[valueBytes];
        TimeSpan longest = TimeSpan.Zero;
        TimeSpan end = TimeSpan.FromSeconds(60);
        long puts = 0;
        int mostMemtables = 0;
        while (time.Elapsed < end && puts * (116L + valueBytes) < 128L << 20)
        {
            random.NextBytes(key);
            random.NextBytes(value.AsSpan(0, Math.Min(100, valueBytes)));
            TimeSpan delay = engine.Admit(valueBytes + 16);
            TimeSpan step = delay + TimeSpan.FromTicks(20 + (valueBytes / 100));
            time.Advance(step);
            longest = step > longest ? step : longest;
            puts++;
            engine.Put(key, puts, 1, 0, value);
            engine.EndGroup(puts, puts, 1);
            mostMemtables = Math.Max(mostMemtables, engine.Versions.Current.Immutables.Length);
            disk.Work();
        }

        LsmStatistics tree = engine.GetStatistics().Lsm!;
        output.WriteLine($"{puts} puts in {time.Elapsed}, longest gap {longest}, {tree.Stalls} stalls of {tree.Stalled}, write amplification {tree.WriteAmplification:0.0}, {mostMemtables} memtables");
        Assert.InRange(longest, TimeSpan.Zero, LongestGap);
        Assert.True(tree.Stalls > 0, "the disk was not too slow");
        Assert.InRange(mostMemtables, 1, options.MaxImmutableMemtables);

        // One compaction of level 0 takes half a minute on such a disk, and writers are never stopped meanwhile.
        Assert.InRange(tree.Levels[0].Tables, 0, 2 * options.Level0StopTables);
        Assert.InRange(tree.MemtableBytes, 0, (options.MaxImmutableMemtables + 2) * options.MemtableBytes * 2);
    }

    /// <summary>Two threads' worth of work, one for flushes alone, each as long under way as its bytes take on the disk.</summary>
    private sealed class SlowDisk(SteppedTime time, long bytesPerSecond) : IBackgroundWork
    {
        private readonly List<BackgroundJob> _queue = [];
        private readonly TimeSpan[] _busyUntil = new TimeSpan[2];

        public Func<long> Written { get; set; } = () => 0;

        public void Schedule(BackgroundJob job)
        {
            if (!_queue.Contains(job))
            {
                _queue.Add(job);
            }
        }

        public void ScheduleAfter(BackgroundJob job, TimeSpan delay) => Schedule(job);

        public void Pause(TimeSpan delay) => throw new InvalidOperationException("the test waits itself");

        public void Cancel(BackgroundJob job) => _queue.Remove(job);

        public void Work()
        {
            for (int worker = 0; worker < _busyUntil.Length; worker++)
            {
                JobPriority wanted = worker == 0 ? JobPriority.Flush : JobPriority.Compaction;
                if (_queue.Count == 0 || time.Elapsed < _busyUntil[worker] || _queue.Find(job => job.Priority == wanted) is not { } next)
                {
                    continue;
                }

                _queue.Remove(next);
                long before = Written();
                next.Run();
                long bytes = Written() - before;

                // Both share the disk.
                _busyUntil[worker] = time.Elapsed + TimeSpan.FromSeconds(2.0 * bytes / bytesPerSecond);
            }
        }
    }
}
