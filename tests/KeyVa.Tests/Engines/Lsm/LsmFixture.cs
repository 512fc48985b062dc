using KeyVa.Engines;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Partitions;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>A clock that stands still until told otherwise.</summary>
internal sealed class ManualTime : TimeProvider
{
    public long UnixMilliseconds { get; set; } = 1_700_000_000_000;

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeMilliseconds(UnixMilliseconds);
}

/// <summary>An lsm engine on a file system in memory, small in all its sizes, with background work under control.</summary>
internal sealed class LsmFixture : IDisposable
{
    public const string Directory = "/data/engine";

    public static readonly EngineOptions SmallOptions = new()
    {
        MemtableBytes = 8 << 10,
        BlockBytes = 256,
        TableBytes = 4 << 10,
        Level0Tables = 3,
        Level1Bytes = 12 << 10,
        LevelMultiplier = 4,
        MaxOpenTables = 6,
    };

    public LsmFixture(EngineOptions? options = null, long cacheBytes = 64 << 10, BlockCachePolicy policy = default, long budget = long.MaxValue)
    {
        Options = options ?? SmallOptions;
        Cache = new BlockCache(cacheBytes, policy, budget);
        Files.CreateDirectory(Directory);
        Files.SyncDirectory("/data");
        Files.SyncDirectory("/");
        Oracle = new VersionOracle(Time);
        Engine = Open();
    }

    public EngineOptions Options { get; set; }

    public MemoryFileSystem Files { get; set; } = new();

    public ManualBackgroundWork Background { get; } = new();

    public ManualTime Time { get; } = new();

    public VersionOracle Oracle { get; }

    public SnapshotList Snapshots { get; } = new();

    public BlockCache Cache { get; private set; }

    public LsmEngine Engine { get; private set; }

    public long Index { get; set; }

    public LsmEngine Open(string directory = Directory) => LsmEngine.Open(new EngineContext
    {
        FileSystem = Files,
        Directory = directory,
        Options = Options,
        Background = Background,
        Snapshots = Snapshots,
        BlockCache = Cache,
        Time = Time,
    });

    /// <summary>Closes the engine and opens it again on what is in <see cref="Files"/>.</summary>
    public void Reopen(Func<MemoryFileSystem, MemoryFileSystem>? between = null)
    {
        Engine.Dispose();
        Files = between is null ? Files : between(Files);
        Engine = Open();
    }

    public long Put(string key, string value, long expiresAt = 0) =>
        Put(System.Text.Encoding.UTF8.GetBytes(key), System.Text.Encoding.UTF8.GetBytes(value), expiresAt);

    /// <summary>A group of one put; returns its version.</summary>
    public long Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, long expiresAt = 0)
    {
        Engine.Admit(key.Length + value.Length);
        long version = Oracle.Take(1);
        long stamp = Oracle.Now();
        Engine.Put(key, version, stamp, expiresAt, value);
        Engine.EndGroup(++Index, version, stamp);
        return version;
    }

    public long Remove(string key)
    {
        Engine.Admit(key.Length);
        long version = Oracle.Take(1);
        long stamp = Oracle.Now();
        Engine.Remove(System.Text.Encoding.UTF8.GetBytes(key), version, stamp);
        Engine.EndGroup(++Index, version, stamp);
        return version;
    }

    public string? Get(string key, long at = ReadVersion.Latest)
    {
        bool found = Engine.TryGet(System.Text.Encoding.UTF8.GetBytes(key), at, out ValueLease lease);
        string? value = found ? System.Text.Encoding.UTF8.GetString(lease.Value) : null;
        lease.Dispose();
        return value;
    }

    public void Flush()
    {
        Engine.BeginFlush();
        Background.RunAll(new Random(0));
    }

    public void Dispose()
    {
        Engine.Dispose();
        Cache.Dispose();
    }
}
