using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Engines.Memory;
using KeyVa.Io;
using KeyVa.Partitions;

namespace KeyVa.Tests.Engines.Memory;

/// <summary>A memory engine with what a store would give it; the test is the writer and the clock.</summary>
internal sealed class MemoryEngineFixture : IDisposable
{
    public const string Directory = "/engine";

    private readonly BlockCache _cache = new(0);
    private int _durableAdvanced;

    public MemoryEngineFixture(
        IFileSystem? files = null,
        EngineOptions? options = null,
        bool guard = true,
        IBackgroundWork? work = null,
        string directory = Directory,
        Action<long>? beforeDurable = null)
    {
        Files = files ?? new MemoryFileSystem();
        Files.CreateDirectory(directory);
        Files.SyncDirectory("/");
        Oracle = new VersionOracle(Clock);
        EngineContext context = new()
        {
            FileSystem = Files,
            Directory = directory,
            Options = options ?? new EngineOptions(),
            Background = work ?? Work,
            Snapshots = Snapshots,
            BlockCache = _cache,
            Time = Clock,
            Volatile = files is null,
            BeforeDurable = beforeDurable,
            DurableAdvanced = () => Interlocked.Increment(ref _durableAdvanced),
        };
        Engine = guard ? MemoryEngine.OpenGuarded(context) : MemoryEngine.Open(context);
        Oracle.Recover(Engine.VisibleVersion, Engine.VisibleStamp);
    }

    public IFileSystem Files { get; }

    public ManualClock Clock { get; } = new();

    public VersionOracle Oracle { get; }

    public SnapshotList Snapshots { get; } = new();

    public ManualWork Work { get; } = new();

    public MemoryEngine Engine { get; }

    public int DurableAdvanced => Volatile.Read(ref _durableAdvanced);

    public void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, long expiresAt = 0) =>
        Engine.Put(key, Oracle.Take(1), Oracle.Now(), expiresAt, value);

    public void Remove(ReadOnlySpan<byte> key) => Engine.Remove(key, Oracle.Take(1), Oracle.Now());

    public void RemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to) => Engine.RemoveRange(from, to, Oracle.Take(1), Oracle.Now());

    public void EndGroup() => Engine.EndGroup(Engine.AppliedIndex + 1, Oracle.LastVersion, Oracle.Now());

    public byte[]? Get(ReadOnlySpan<byte> key, long at = ReadVersion.Latest)
    {
        if (!Engine.TryGet(key, at, out ValueLease lease))
        {
            return null;
        }

        using (lease)
        {
            return lease.Value.ToArray();
        }
    }

    public void Dispose()
    {
        Engine.Dispose();
        _cache.Dispose();
    }
}

/// <summary>A clock that the test turns.</summary>
internal sealed class ManualClock : TimeProvider
{
    public long UnixMilliseconds { get; set; } = 1_000_000;

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeMilliseconds(UnixMilliseconds);
}

/// <summary>Background work that runs when the test says so, on its thread.</summary>
internal sealed class ManualWork : IBackgroundWork
{
    private readonly Queue<BackgroundJob> _queue = new();
    private readonly List<BackgroundJob> _delayed = [];

    public int DelayedCount => _delayed.Count;

    public void Schedule(BackgroundJob job)
    {
        if (!job.Queued)
        {
            job.Queued = true;
            _queue.Enqueue(job);
        }
    }

    public void ScheduleAfter(BackgroundJob job, TimeSpan delay) => _delayed.Add(job);

    public void Pause(TimeSpan delay) => throw new InvalidOperationException("these tests have no writer that could wait");

    public void Cancel(BackgroundJob job)
    {
        job.Queued = false;
        _delayed.Remove(job);
    }

    public void RunAll()
    {
        while (_queue.TryDequeue(out BackgroundJob? job))
        {
            if (job.Queued)
            {
                job.Queued = false;
                job.Run();
            }
        }
    }

    public void DelayOver()
    {
        foreach (BackgroundJob job in _delayed)
        {
            Schedule(job);
        }

        _delayed.Clear();
    }
}
