using System.Buffers.Binary;
using System.Numerics;
using KeyVa.Engines;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Engines.Memory;

[Collection(nameof(Alone))]
public class MemoryCursorTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void ReturnsEveryKeyOnceWhileTheTableGrows(int seed)
    {
        const int Before = 2_000;
        Random random = new(seed);
        using MemoryEngineFixture fixture = new();
        for (int i = 0; i < Before; i++)
        {
            fixture.Put(Key(i), [1, 2, 3]);
        }

        fixture.EndGroup();
        using Snapshot snapshot = fixture.Snapshots.Open(fixture.Oracle);
        using EngineCursor cursor = fixture.Engine.OpenCursor([], [], snapshot.Version, reverse: false);
        HashSet<int> seen = [];
        int added = Before;
        while (cursor.MoveNext())
        {
            int key = BinaryPrimitives.ReadInt32BigEndian(cursor.Key);
            Assert.True(seen.Add(key), $"seed {seed}: key {key} came twice");
            Assert.True(key < Before, $"seed {seed}: key {key} was written after the snapshot");
            for (int i = random.Next(60); i > 0; i--)
            {
                fixture.Put(Key(added++), [9]);
            }

            // Overwritten or removed later: the snapshot still shows it.
            fixture.Put(Key(random.Next(Before)), [7]);
            fixture.Remove(Key(random.Next(Before)));
            fixture.EndGroup();
        }

        Assert.Equal(Before, seen.Count);
        Assert.True(added > Before * 20);
    }

    [Fact]
    public void SeekResumesWhereAKeyStandsOrWouldStand()
    {
        using MemoryEngineFixture fixture = new();
        for (int i = 0; i < 3_000; i += 2)
        {
            fixture.Put(Key(i), [1]);
        }

        fixture.EndGroup();
        using Snapshot snapshot = fixture.Snapshots.Open(fixture.Oracle);
        using EngineCursor cursor = fixture.Engine.OpenCursor([], [], snapshot.Version, reverse: false);
        List<byte[]> all = [];
        while (cursor.MoveNext())
        {
            all.Add(cursor.Key.ToArray());
        }

        Assert.Equal(1_500, all.Count);
        for (int i = 0; i < 3_000; i++)
        {
            ulong hash = XxHash64.Compute(Key(i));
            int expected = all.FindIndex(key => XxHash64.Compute(key) >= hash);
            cursor.Seek(Key(i));
            Assert.Equal(expected >= 0, cursor.MoveNext());
            if (expected >= 0)
            {
                Assert.Equal(all[expected], cursor.Key.ToArray());
                Assert.Equal(expected + 1 < all.Count, cursor.MoveNext());
            }
        }
    }

    [Fact]
    public void WalksInTheOrderOfHashesWithinABucketToo()
    {
        using MemoryEngineFixture fixture = new();
        for (int i = 0; i < 300; i++)
        {
            fixture.Put(Key(i), []);
        }

        fixture.EndGroup();
        using Snapshot snapshot = fixture.Snapshots.Open(fixture.Oracle);
        using EngineCursor cursor = fixture.Engine.OpenCursor([], [], snapshot.Version, reverse: false);
        ulong last = 0;
        int count = 0;
        for (; cursor.MoveNext(); count++)
        {
            ulong hash = XxHash64.Compute(cursor.Key);
            Assert.True(hash > last);
            Assert.Equal(0, cursor.Value.Length);
            last = hash;
        }

        Assert.Equal(300, count);
    }

    /// <summary>Keys of one hash, as somebody would make them on purpose: all in one bucket, which no growth parts.</summary>
    [Fact]
    public void KeysOfOneHashComeInTheOrderOfTheirBytes()
    {
        const int Count = 600;
        using MemoryEngineFixture fixture = new();
        List<byte[]> keys = [];
        for (int i = 0; i < Count; i++)
        {
            keys.Add(Colliding((ulong)i * 977));
            Assert.Equal(XxHash64.Compute(keys[0]), XxHash64.Compute(keys[i]));
            fixture.Put(keys[i], Key(i));
            fixture.EndGroup();
        }

        Assert.InRange(fixture.Engine.GetStatistics().MemoryBytes, 0, 4 << 20);
        for (int i = 0; i < Count; i++)
        {
            Assert.Equal(Key(i), fixture.Get(keys[i]));
        }

        using Snapshot snapshot = fixture.Snapshots.Open(fixture.Oracle);
        using EngineCursor cursor = fixture.Engine.OpenCursor([], [], snapshot.Version, reverse: false);
        keys.Sort((a, b) => a.AsSpan().SequenceCompareTo(b));
        foreach (byte[] key in keys)
        {
            Assert.True(cursor.MoveNext());
            Assert.Equal(key, cursor.Key.ToArray());
        }

        Assert.False(cursor.MoveNext());
        cursor.Seek(keys[300]);
        Assert.True(cursor.MoveNext());
        Assert.Equal(keys[300], cursor.Key.ToArray());
        keys.ForEach(key => fixture.Remove(key));
        fixture.EndGroup();
        snapshot.Dispose();
        fixture.Engine.ReclaimAll();
        Assert.Equal(0, fixture.Engine.Index.Count);
    }

    /// <summary>Two stripes, of which the second undoes in the first lane what the first one did: XXH64 is no secret.</summary>
    private static byte[] Colliding(ulong choice)
    {
        const ulong Prime1 = 0x9E3779B185EBCA87;
        const ulong Prime2 = 0xC2B2AE3D27D4EB4F;
        ulong inverse = Prime2;
        for (int i = 0; i < 6; i++)
        {
            inverse *= 2 - (Prime2 * inverse);
        }

        ulong lane = BitOperations.RotateLeft(unchecked(Prime1 + Prime2) + (choice * Prime2), 31) * Prime1;
        byte[] key = new byte[64];
        BinaryPrimitives.WriteUInt64LittleEndian(key, choice);
        BinaryPrimitives.WriteUInt64LittleEndian(key.AsSpan(32), (0 - lane) * inverse);
        return key;
    }

    private static byte[] Key(int number)
    {
        byte[] key = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(key, number);
        return key;
    }
}
