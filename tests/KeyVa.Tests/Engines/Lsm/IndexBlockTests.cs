using System.Buffers.Binary;
using KeyVa.Engines.Lsm;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>A search of an index leads to the first separator that is not below a key, however the keys lie.</summary>
public sealed unsafe class IndexBlockTests
{
    private const int BlockBytes = 4096;

    public static TheoryData<string, int> Shapes()
    {
        TheoryData<string, int> shapes = [];
        foreach (string shape in new[] { "even", "random", "clustered", "skewed", "one apart", "same heads", "extremes" })
        {
            foreach (int count in new[] { 1, 2, 511, 512, 513, 20_000 })
            {
                shapes.Add(shape, count);
            }
        }

        return shapes;
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void ASearchEndsWhereAPlainOneDoes(string shape, int count)
    {
        var random = new Random(count);
        byte[][] keys = [.. Enumerable.Range(0, count).Select(i => Key(shape, i, count, random)).Distinct(ByBytes.Instance).OrderBy(static key => key, ByBytes.Instance)];
        using IndexBuilder builder = new();
        for (int i = 0; i < keys.Length; i++)
        {
            builder.Add(keys[i], 0, (long)i * BlockBytes, 0);
        }

        using NativeBuffer encoded = new();
        builder.Encode(encoded, 0, keys.Length, (long)keys.Length * BlockBytes, top: false, 0);
        Assert.True(IndexBlock.TryParse((byte*)encoded.Address, encoded.Length, out IndexBlock index));
        Assert.True(index.IsSound(0, (long)keys.Length * BlockBytes));
        for (int i = 0; i < 4000; i++)
        {
            byte[] sought = (i % 4) switch
            {
                0 => keys[random.Next(keys.Length)],
                1 => Near(keys[random.Next(keys.Length)], random),
                2 => Key("random", i, count, random),
                _ => i % 8 == 3 ? [] : [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            };
            int place = Array.BinarySearch(keys, sought, ByBytes.Instance);
            int found;
            fixed (byte* key = sought.Length == 0 ? [0] : sought)
            {
                found = index.Find(key, sought.Length, 0);
            }

            Assert.True(found == (place < 0 ? ~place : place), $"{shape}, {count}: {Convert.ToHexString(sought)}");
        }
    }

    private static byte[] Near(byte[] key, Random random)
    {
        byte[] near = [.. key];
        near[^1] += (byte)random.Next(1, 4);
        return near;
    }

    private static byte[] Key(string shape, int i, int count, Random random)
    {
        byte[] key = new byte[16];
        ulong head = shape switch
        {
            "even" => (ulong)i * (ulong.MaxValue / (ulong)count),
            "random" => (ulong)random.NextInt64() << 1,
            "clustered" => ((ulong)random.Next(5) << 60) + (ulong)random.Next(1 << 20),
            "skewed" => (ulong)Math.Pow(2, 63 * random.NextDouble()),
            "one apart" => 1_000_000 + (ulong)i,
            "same heads" => 42 + (ulong)random.Next(3),
            _ => (i % 3) switch { 0 => 0, 1 => ulong.MaxValue, _ => 1UL << random.Next(64) },
        };
        BinaryPrimitives.WriteUInt64BigEndian(key, head);
        BinaryPrimitives.WriteUInt32BigEndian(key.AsSpan(8), shape is "same heads" or "extremes" ? (uint)random.Next() : 0);
        return key;
    }

    private sealed class ByBytes : IComparer<byte[]>, IEqualityComparer<byte[]>
    {
        public static readonly ByBytes Instance = new();

        public int Compare(byte[]? x, byte[]? y) => x.AsSpan().SequenceCompareTo(y);

        public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

        public int GetHashCode(byte[] bytes) => bytes.Length < 12 ? 0 : BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(4)) ^ BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(8));
    }
}
