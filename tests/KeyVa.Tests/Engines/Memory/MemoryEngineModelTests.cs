using System.Buffers.Binary;
using KeyVa.Engines;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Engines.Memory;

/// <summary>Random operations on the engine, guards on, beside a dictionary that keeps every version.</summary>
[Collection(nameof(Alone))]
public class MemoryEngineModelTests
{
    [Theory]
    [InlineData(1, 200)]
    [InlineData(2, 3_000)]
    [InlineData(3, 30_000)]
    [InlineData(4, 3)]
    public void AgreesWithTheModel(int seed, int keys)
    {
        Random random = new(seed);
        using MemoryEngineFixture fixture = new();
        Model model = new();
        List<Snapshot> snapshots = [];
        for (int step = 0; step < 12_000; step++)
        {
            int writes = random.Next(1, 9);
            for (int i = 0; i < writes; i++)
            {
                WriteOne(fixture, model, random, keys);
            }

            fixture.EndGroup();
            fixture.Clock.UnixMilliseconds += random.Next(3);
            if (random.Next(200) == 0)
            {
                snapshots.Add(fixture.Snapshots.Open(fixture.Oracle));
                model.Open(snapshots[^1].Version, fixture.Oracle.LastStamp);
            }
            else if (snapshots.Count > 0 && random.Next(200) == 0)
            {
                int at = random.Next(snapshots.Count);
                snapshots[at].Dispose();
                model.Stamps.Remove(snapshots[at].Version);
                snapshots.RemoveAt(at);
            }

            byte[] key = Key(random.Next(keys));
            model.Check(fixture, key, ReadVersion.Latest, $"seed {seed} step {step}");
            if (snapshots.Count > 0)
            {
                model.Check(fixture, key, snapshots[random.Next(snapshots.Count)].Version, $"seed {seed} step {step}");
            }
        }

        CheckAll(fixture, model, snapshots, keys, seed);
    }

    [Fact]
    public void GivesMemoryBackAfterALongSnapshot()
    {
        using MemoryEngineFixture fixture = new();
        byte[] value = new byte[1000];
        fixture.Put(Key(1), value);
        fixture.EndGroup();
        using (Snapshot snapshot = fixture.Snapshots.Open(fixture.Oracle))
        {
            for (int i = 0; i < 20_000; i++)
            {
                fixture.Put(Key(1), value);
                fixture.EndGroup();
            }

            Assert.True(fixture.Engine.GetStatistics().MemoryBytes > 20_000_000);
            Assert.NotNull(fixture.Get(Key(1), snapshot.Version));
        }

        for (int i = 0; i < 5_000; i++)
        {
            fixture.Put(Key(1), value);
            fixture.EndGroup();
        }

        Assert.InRange(fixture.Engine.GetStatistics().MemoryBytes, 0, 9_000_000);
    }

    [Fact]
    public void ReclaimsExpiredKeysWithoutAScanOrAReader()
    {
        using MemoryEngineFixture fixture = new();
        for (int i = 0; i < 20_000; i++)
        {
            fixture.Put(Key(i), new byte[100], fixture.Clock.UnixMilliseconds + 1000);
            fixture.EndGroup();
        }

        fixture.Clock.UnixMilliseconds += 2000;
        for (int i = 0; i < 20_000; i++)
        {
            fixture.Put(Key(20_000), [1]);
            fixture.EndGroup();
        }

        Assert.Equal(1, fixture.Engine.GetStatistics().Keys);
        Assert.Equal(1, fixture.Engine.GetStatistics().ValueBytes);
    }

    [Fact]
    public void HoldsLargeValues()
    {
        using MemoryEngineFixture fixture = new();
        byte[] large = new byte[64 << 20];
        new Random(5).NextBytes(large);
        fixture.Put([1], large);
        fixture.EndGroup();
        Assert.True(fixture.Get([1])!.AsSpan().SequenceEqual(large));
        fixture.Put([1], [2]);
        fixture.EndGroup();
        fixture.Engine.ReclaimAll();
        Assert.InRange(fixture.Engine.GetStatistics().MemoryBytes, 0, 4 << 20);
    }

    [Fact]
    public void ShowsNothingOfAnOpenGroup()
    {
        using MemoryEngineFixture fixture = new();
        fixture.Put([1], [1]);
        Assert.Null(fixture.Get([1]));
        Assert.NotNull(fixture.Get([1], ReadVersion.Newest));
        fixture.EndGroup();
        Assert.NotNull(fixture.Get([1]));
        fixture.Remove([1]);
        Assert.NotNull(fixture.Get([1]));
        fixture.EndGroup();
        Assert.Null(fixture.Get([1]));
    }

    [Fact]
    public void KeepsALeaseWhoseSnapshotHasClosed()
    {
        using MemoryEngineFixture fixture = new();
        fixture.Put([1], [42]);
        fixture.EndGroup();
        Snapshot snapshot = fixture.Snapshots.Open(fixture.Oracle);
        Assert.True(fixture.Engine.TryGet([1], snapshot.Version, out ValueLease lease));
        snapshot.Dispose();
        fixture.Put([1], [43]);
        fixture.EndGroup();
        fixture.Engine.ReclaimAll();
        Assert.Equal(42, lease.Value[0]);
        lease.Dispose();
        fixture.Engine.ReclaimAll();
        Assert.Equal(43, fixture.Get([1])![0]);
    }

    [Fact]
    public void RefusesReadsAfterItIsClosed()
    {
        MemoryEngineFixture fixture = new();
        fixture.Dispose();
        Assert.Throws<ObjectDisposedException>(() => fixture.Get([1]));
        Assert.False(Epochs.IsInside);
    }

    internal static byte[] Key(int number)
    {
        byte[] key = new byte[4 + (number % 13)];
        BinaryPrimitives.WriteInt32BigEndian(key, number);
        return key;
    }

    private static void WriteOne(MemoryEngineFixture fixture, Model model, Random random, int keys)
    {
        byte[] key = Key(random.Next(keys));
        if (random.Next(500) == 0)
        {
            byte[] other = Key(random.Next(keys));
            (byte[] from, byte[] to) = key.AsSpan().SequenceCompareTo(other) < 0 ? (key, other) : (other, key);
            to = random.Next(8) == 0 ? [] : [.. to, 0];
            fixture.RemoveRange(from, to);
            model.RemoveRange(from, to, fixture.Oracle.LastVersion);
            return;
        }

        if (random.Next(4) == 0)
        {
            fixture.Remove(key);
            model.Add(key, fixture.Oracle.LastVersion, null, 0);
            return;
        }

        byte[] value = new byte[random.Next(50) == 0 ? random.Next(10_000) : random.Next(200)];
        random.NextBytes(value);
        long expiresAt = random.Next(3) == 0 ? fixture.Oracle.Now() + random.Next(1, 5_000) : 0;
        fixture.Put(key, value, expiresAt);
        model.Add(key, fixture.Oracle.LastVersion, value, expiresAt);
    }

    private static void CheckAll(MemoryEngineFixture fixture, Model model, List<Snapshot> snapshots, int keys, int seed)
    {
        for (int i = 0; i < keys; i++)
        {
            model.Check(fixture, Key(i), ReadVersion.Latest, $"seed {seed} at the end");
            foreach (Snapshot snapshot in snapshots)
            {
                model.Check(fixture, Key(i), snapshot.Version, $"seed {seed} at the end");
            }
        }

        snapshots.ForEach(snapshot => snapshot.Dispose());
        fixture.Engine.ReclaimAll();
        (long count, long bytes) = model.Totals(fixture.Engine.VisibleStamp);
        EngineStatistics statistics = fixture.Engine.GetStatistics();
        Assert.Equal(count, statistics.Keys);
        Assert.Equal(bytes, statistics.ValueBytes);
        Assert.Equal(count, fixture.Engine.Index.Count);
        for (int i = 0; i < keys; i++)
        {
            fixture.Remove(Key(i));
        }

        fixture.EndGroup();
        fixture.Engine.ReclaimAll();
        Assert.Equal(0, fixture.Engine.Index.Count);
        Assert.Equal(0, fixture.Engine.GetStatistics().ValueBytes);
    }

    private sealed class Model
    {
        private readonly Dictionary<string, List<(long Version, byte[]? Value, long ExpiresAt)>> _keys = [];

        public Dictionary<long, long> Stamps { get; } = [];

        public void Open(long version, long stamp) => Stamps[version] = stamp;

        public void Add(byte[] key, long version, byte[]? value, long expiresAt)
        {
            string name = Convert.ToHexString(key);
            if (!_keys.TryGetValue(name, out List<(long, byte[]?, long)>? versions))
            {
                _keys[name] = versions = [];
            }

            versions.Add((version, value, expiresAt));
        }

        public void RemoveRange(byte[] from, byte[] to, long version)
        {
            foreach ((string name, List<(long Version, byte[]? Value, long ExpiresAt)> versions) in _keys)
            {
                byte[] key = Convert.FromHexString(name);
                if (key.AsSpan().SequenceCompareTo(from) >= 0 && (to.Length == 0 || key.AsSpan().SequenceCompareTo(to) < 0))
                {
                    versions.Add((version, null, 0));
                }
            }
        }

        public void Check(MemoryEngineFixture fixture, byte[] key, long at, string where)
        {
            bool latest = at == ReadVersion.Latest;
            long version = latest ? fixture.Engine.VisibleVersion : at;
            long now = latest ? fixture.Engine.VisibleStamp : Stamps[at];
            (long Version, byte[]? Value, long ExpiresAt) expected = default;
            if (_keys.TryGetValue(Convert.ToHexString(key), out List<(long Version, byte[]? Value, long ExpiresAt)>? versions))
            {
                expected = versions.FindLast(entry => entry.Version <= version);
            }

            bool live = expected.Value is not null && (expected.ExpiresAt == 0 || expected.ExpiresAt > now);
            bool found = fixture.Engine.TryGet(key, at, out ValueLease lease);
            using (lease)
            {
                if (!live)
                {
                    bool expired = found && lease.ExpiresAtUnixMilliseconds != 0 && lease.ExpiresAtUnixMilliseconds <= now;
                    Assert.True(!found || expired, $"{where}: a key that should not be there");
                    return;
                }

                Assert.True(found, $"{where}: a key is missing");
                Assert.True(lease.Value.SequenceEqual(expected.Value), $"{where}: another value");
                Assert.Equal(expected.Version, lease.Version);
                Assert.Equal(expected.ExpiresAt, lease.ExpiresAtUnixMilliseconds);
            }
        }

        public (long Keys, long Bytes) Totals(long now)
        {
            long keys = 0;
            long bytes = 0;
            foreach (List<(long Version, byte[]? Value, long ExpiresAt)> versions in _keys.Values)
            {
                (_, byte[]? value, long expiresAt) = versions[^1];
                if (value is not null && (expiresAt == 0 || expiresAt > now))
                {
                    keys++;
                    bytes += value.Length;
                }
            }

            return (keys, bytes);
        }
    }
}
