using System.Runtime.CompilerServices;
using KeyVa.Raft;
using Xunit;

namespace KeyVa.Tests.Raft;

/// <summary>The tail beside a list; and whoever holds a slice of it keeps what it saw.</summary>
public sealed class UnstableTailTests
{
    [Theory] // An array of slots is there for long; what it held is not, beyond a bound
    [InlineData(false)]
    [InlineData(true)]
    public void EntriesThatAreDurableAreLetGoOf(bool more)
    {
        UnstableTail tail = new(1);
        WeakReference large = AppendLarge(tail);
        if (more)
        {
            tail.Append(TestNode.Entries(2, 1));
        }

        tail.DropThrough(1);
        if (more)
        {
            tail.Append(TestNode.Entries(3, 1));
        }

        GC.Collect();
        Assert.False(large.IsAlive);
        Assert.Equal(more ? 3 : 1, tail.Last);
    }

    [Fact]
    public void IsWhatAListWouldBeAndSlicesStay()
    {
        Random random = new(3);
        UnstableTail tail = new(1);
        List<Entry> model = [];
        long first = 1;
        List<(ReadOnlyMemory<Entry> Slice, Entry[] Copy)> held = [];
        for (int i = 0; i < 20_000; i++)
        {
            switch (random.Next(10))
            {
                case < 5:
                    Entry[] more = TestNode.Entries(first + model.Count, [.. Enumerable.Repeat((long)i, random.Next(6))]);
                    tail.Append(more);
                    model.AddRange(more);
                    break;
                case < 7:
                    int dropped = random.Next(model.Count + 1);
                    tail.DropThrough(first + dropped - 1);
                    model.RemoveRange(0, dropped);
                    first += dropped;
                    break;
                case < 8:
                    long from = first + random.Next(-2, model.Count + 1);
                    if (from > 0)
                    {
                        tail.TruncateFrom(from);
                        first = Math.Min(first, from);
                        model.RemoveAll(entry => entry.Index >= from);
                    }

                    break;
                default:
                    if (model.Count > 0)
                    {
                        int at = random.Next(model.Count);
                        ReadOnlyMemory<Entry> slice = tail.Slice(first + at, first + model.Count - 1, random.Next(200));
                        Assert.True(slice.Length is 1 || slice.Span.ToArray().Sum(static entry => entry.Size) <= 200);
                        Assert.Equal(model.GetRange(at, slice.Length), slice.ToArray());
                        held.Add((slice, slice.ToArray()));
                    }

                    break;
            }

            Assert.Equal((first, first + model.Count - 1), (tail.First, tail.Last));
        }

        Assert.NotEmpty(held);
        Assert.All(held, static one => Assert.Equal(one.Copy, one.Slice.ToArray()));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference AppendLarge(UnstableTail tail)
    {
        byte[] data = new byte[8 << 20];
        tail.Append([new Entry(1, 1, EntryKind.Command, data)]);
        return new WeakReference(data);
    }
}
