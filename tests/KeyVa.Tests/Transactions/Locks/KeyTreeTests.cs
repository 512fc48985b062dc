using System.Diagnostics.CodeAnalysis;
using KeyVa.Transactions.Locks;
using Xunit;

namespace KeyVa.Tests.Transactions.Locks;

/// <summary>The ordered tree of a stripe, beside a sorted set, under random operations.</summary>
[SuppressMessage("Security", "CA5394", Justification = "Seeded randomness of a test.")]
public sealed class KeyTreeTests
{
    [Fact]
    public void ItIsASortedSet()
    {
        int seed = Environment.TickCount;
        Random random = new(seed);
        LockStripe stripe = new();
        KeyTree tree = new();
        SortedDictionary<string, LockedKey> model = new(StringComparer.Ordinal);
        for (int i = 0; i < 5000; i++)
        {
            string key = $"{random.Next(200):000}";
            if (!model.TryGetValue(key, out LockedKey? node))
            {
                Assert.Null(tree.Find(LockFixture.Bytes(key)));
                node = new LockedKey(stripe) { Priority = (uint)random.Next(50) };
                node.SetKey(LockFixture.Bytes(key));
                tree.Add(node);
                model.Add(key, node);
            }
            else if (random.Next(3) == 0)
            {
                Assert.Same(node, tree.Find(LockFixture.Bytes(key)));
            }
            else
            {
                tree.Remove(node);
                model.Remove(key);
            }

            string from = $"{random.Next(210):000}";
            Check(tree, model, i % 10 == 0 ? "" : from, seed);
        }
    }

    private static void Check(KeyTree tree, SortedDictionary<string, LockedKey> model, string from, int seed)
    {
        LockedKey? node = tree.FirstFrom(LockFixture.Bytes(from));
        foreach ((string key, LockedKey expected) in model)
        {
            if (string.CompareOrdinal(key, from) >= 0)
            {
                Assert.True(ReferenceEquals(expected, node), $"seed {seed}: the walk from '{from}' misses '{key}'");
                Assert.True(node!.Parent is null || node.Parent.Priority >= node.Priority, $"seed {seed}: '{key}' stands too low");
                node = KeyTree.Next(node);
            }
        }

        Assert.True(node is null, $"seed {seed}: the walk from '{from}' goes on behind the last key");
    }
}
