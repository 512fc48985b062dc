using KeyVa.Engines.Lsm;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

public sealed unsafe class SkipListTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void AgreesWithASortedDictionaryUnderRandomInserts(int seed)
    {
        var random = new Random(seed);
        using var list = new SkipList();
        var model = new SortedDictionary<(string Key, long Newest), string>();
        long version = 0;
        for (int i = 0; i < 4000; i++)
        {
            // Runs of rising keys take the splice, random ones the search.
            string key = (i / 200) % 2 == 0 ? $"run{i:D6}" : Key(random);
            string value = $"value {i}";
            Insert(list, key, ++version, value);
            model[(key, -version)] = value;
        }

        List<((string Key, long Newest) Place, string Value)> expected = [.. model.Select(item => (item.Key, item.Value)).OrderBy(item => item.Key.Key, StringComparer.Ordinal).ThenBy(item => item.Key.Newest)];
        CheckOrder(list, expected);
        for (int i = 0; i < 2000; i++)
        {
            CheckSearch(list, expected, Key(random), random.NextInt64(version + 2));
        }
    }

    /// <summary>As while a log is replayed: batches of all sizes, linked when somebody looks, into an empty list and a full one.</summary>
    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 8)]
    [InlineData(3, 9)]
    [InlineData(4, 300)]
    [InlineData(5, 30_000)]
    public void DeferredLinksComeToTheSameOrder(int seed, int batch)
    {
        var random = new Random(seed);
        using var list = new SkipList();
        var model = new SortedDictionary<(string Key, long Newest), string>();
        list.DeferLinks();
        for (int i = 0; i < 30_000; i++)
        {
            string key = random.Next(4) == 0 ? KeyWithZeros(random) : i % 2 == 0 ? $"run{i:D6}" : Key(random);
            Insert(list, key, i + 1, $"value {i}");
            model[(key, -(i + 1))] = $"value {i}";
            if (random.Next(batch) == 0)
            {
                list.LinkDeferred();
            }
        }

        list.EndDeferring();
        for (int i = 30_000; i < 30_500; i++)
        {
            string key = Key(random);
            Insert(list, key, i + 1, $"value {i}");
            model[(key, -(i + 1))] = $"value {i}";
        }

        List<((string Key, long Newest) Place, string Value)> expected =
            [.. model.Select(item => (item.Key, item.Value)).OrderBy(item => item.Key.Key, StringComparer.Ordinal).ThenBy(item => item.Key.Newest)];
        CheckOrder(list, expected);
        for (int i = 0; i < 200; i++)
        {
            CheckSearch(list, expected, Key(random), random.NextInt64(30_500));
        }
    }

    /// <summary>Keys of which each is the beginning of the next, and one key with very many versions: neither nests the sort deeply.</summary>
    [Fact]
    public void LongCommonBeginningsAndManyVersionsAreSorted()
    {
        using var list = new SkipList();
        list.DeferLinks();
        long version = 0;
        for (int length = 30_000; length > 0; length -= 8)
        {
            Insert(list, new string('a', length), ++version, "");
        }

        for (int i = 0; i < 50_000; i++)
        {
            Insert(list, "aaaaaaaaaaaaaaaaaaaaaa one key of many versions", ++version, "");
        }

        list.EndDeferring();
        int count = 1;
        SkipNode* node = list.First();
        for (SkipNode* next = SkipList.Next(node); next != null; node = next, next = SkipList.Next(node), count++)
        {
            int order = KeyOrder.Compare(SkipNode.Key(node), node->KeyLength, SkipNode.Key(next), next->KeyLength);
            Assert.True(order < 0 || (order == 0 && node->Version > next->Version), $"{count}");
        }

        Assert.Equal(version, count);
    }

    [Fact]
    public void UnlinkedNodesAreChargedAndGivenBack()
    {
        using var cache = new BlockCache(1 << 20, BlockCachePolicy.Clock, 64 << 20);
        using (var list = new SkipList(cache.Memory))
        {
            list.DeferLinks();
            for (int i = 0; i < 5000; i++)
            {
                Insert(list, Scrambled(i), i + 1, "");
            }

            Assert.Equal(8192 * 16, cache.Memory.Used(KeyVa.Engines.MemoryKind.Buffers));
            list.LinkDeferred();
            Assert.Equal(0, cache.Memory.Used(KeyVa.Engines.MemoryKind.Buffers));
            Insert(list, "one more", 5001, "");
        }

        Assert.Equal(0, cache.Memory.Used(KeyVa.Engines.MemoryKind.Buffers));
    }

    [Fact]
    public void ReadersSeeWholeNodesWhileTheWriterInserts()
    {
        const int Count = 60_000;
        using var list = new SkipList();
        long published = 0;
        Exception? failure = null;
        Thread[] readers = [.. Enumerable.Range(0, 2).Select(t => new Thread(() =>
        {
            try
            {
                var random = new Random(t);
                while (Volatile.Read(ref published) < Count)
                {
                    // What was inserted before we looked is there, and every node is as it was written.
                    long limit = Volatile.Read(ref published);
                    long i = limit == 0 ? 0 : random.NextInt64(limit);
                    if (limit > 0)
                    {
                        string key = Scrambled(i);
                        SkipNode* node = Find(list, key, long.MaxValue);
                        Assert.True(node != null, $"{key} is missing");
                        Assert.Equal(key, KeyOf(node));
                        Assert.Equal($"value of {key}", ValueOf(node));
                    }
                }
            }
            catch (Exception e)
            {
                failure = e;
            }
        }))];
        foreach (Thread reader in readers)
        {
            reader.Start();
        }

        for (int i = 0; i < Count; i++)
        {
            string key = Scrambled(i);
            Insert(list, key, i + 1, $"value of {key}");
            Volatile.Write(ref published, i + 1);
        }

        foreach (Thread reader in readers)
        {
            reader.Join();
        }

        Assert.Null(failure);
    }

    private static string Scrambled(long i) => $"{(uint)(i * 2654435761):x8}-{i}";

    private static string Key(Random random) => random.Next(3) switch
    {
        0 => $"k{random.Next(50)}",
        1 => $"same prefix of keys {random.Next(300):D5}",
        _ => new string('a', random.Next(1, 12)),
    };

    // Padding with zeros must not make these equal to shorter ones.
    private static string KeyWithZeros(Random random) => "zeros"[..random.Next(1, 6)] + new string('\0', random.Next(20)) + (random.Next(2) == 0 ? "" : "x");

    private static void CheckOrder(SkipList list, List<((string Key, long Newest) Place, string Value)> expected)
    {
        SkipNode* node = list.First();
        foreach (((string Key, long Newest) place, string value) in expected)
        {
            Assert.True(node != null);
            Assert.Equal(place.Key, KeyOf(node));
            Assert.Equal(-place.Newest, node->Version);
            Assert.Equal(value, ValueOf(node));
            node = SkipList.Next(node);
        }

        Assert.True(node == null);
        Assert.Equal(expected[^1].Place.Key, KeyOf(list.Last()));
    }

    private static void CheckSearch(SkipList list, List<((string Key, long Newest) Place, string Value)> expected, string key, long version)
    {
        bool IsBefore((string Key, long Newest) place)
        {
            int order = string.CompareOrdinal(place.Key, key);
            return order != 0 ? order < 0 : -place.Newest > version;
        }

        // The expected entries are in order: a binary search would do, but this is the oracle.
        int i = expected.FindIndex(item => !IsBefore(item.Place));
        SkipNode* found = Find(list, key, version);
        Assert.Equal(i < 0, found == null);
        if (i >= 0)
        {
            Assert.Equal(expected[i].Place.Key, KeyOf(found));
            Assert.Equal(-expected[i].Place.Newest, found->Version);
        }

        byte[] bytes = System.Text.Encoding.UTF8.GetBytes(key);
        fixed (byte* p = bytes)
        {
            SkipNode* before = list.FindBefore(p, bytes.Length, KeyOrder.Head(p, bytes.Length), version);
            int last = (i < 0 ? expected.Count : i) - 1;
            Assert.Equal(last < 0, before == null);
            if (last >= 0)
            {
                Assert.Equal(expected[last].Place.Key, KeyOf(before));
                Assert.Equal(-expected[last].Place.Newest, before->Version);
            }
        }
    }

    private static void Insert(SkipList list, string key, long version, string value)
    {
        byte[] bytes = System.Text.Encoding.UTF8.GetBytes(key);
        fixed (byte* p = bytes)
        {
            list.Insert(p, bytes.Length, version, EntryKind.Value, 1, 0, System.Text.Encoding.UTF8.GetBytes(value));
        }
    }

    private static SkipNode* Find(SkipList list, string key, long version)
    {
        byte[] bytes = System.Text.Encoding.UTF8.GetBytes(key);
        fixed (byte* p = bytes)
        {
            return list.FindAtOrBehind(p, bytes.Length, KeyOrder.Head(p, bytes.Length), version);
        }
    }

    private static string KeyOf(SkipNode* node) => System.Text.Encoding.UTF8.GetString(SkipNode.Key(node), node->KeyLength);

    private static string ValueOf(SkipNode* node) => System.Text.Encoding.UTF8.GetString(SkipNode.Value(node), node->ValueLength);
}
