using System.Runtime.InteropServices;
using KeyVa.Engines.Lsm;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

public sealed unsafe class BlockQueueTests
{
    [Fact]
    public void ABlockQueueIsAListUnderRandomOperations()
    {
        int seed = Environment.TickCount;
        var random = new Random(seed);
        BlockQueue queue = new(2);
        List<nint> model = [];
        for (int i = 0; i < 20_000; i++)
        {
            int choice = random.Next(10);
            if (model.Count == 0 || choice < 4)
            {
                Block* block = Block.Allocate(random.Next(1, 500));
                queue.Add(block);
                model.Add((nint)block);
            }
            else if (choice < 7)
            {
                int at = random.Next(model.Count);
                Block* block = (Block*)model[at];
                queue.Remove(block);
                Assert.Equal(0, block->Queue);
                model.RemoveAt(at);
                Block.Free(block);
            }
            else
            {
                queue.Renew(queue.Oldest);
                model.Add(model[0]);
                model.RemoveAt(0);
            }

            Assert.True(model.Count == queue.Count, $"seed {seed}");
            Assert.True((model.Count == 0 ? 0 : model[0]) == (nint)queue.Oldest, $"seed {seed}");
        }

        long bytes = 0;
        Block* at2 = queue.Oldest;
        foreach (nint expected in model)
        {
            Assert.True(expected == (nint)at2, $"seed {seed}");
            bytes += at2->Charge;
            at2 = at2->Next;
        }

        Assert.True(at2 == null && bytes == queue.Bytes, $"seed {seed}");
        while (queue.Count > 0)
        {
            Block* block = queue.Oldest;
            queue.Remove(block);
            Block.Free(block);
        }
    }

    /// <summary>A list of departures as the model. Sets may overflow, so a few are forgotten early; none is made up.</summary>
    [Fact]
    public void AGhostQueueRemembersTheLastDepartures()
    {
        int seed = Environment.TickCount;
        var random = new Random(seed);
        const int Limit = 500;
        const int Slots = 5000;
        nint* slots = (nint*)NativeMemory.AllocZeroed(Slots, (nuint)sizeof(nint));
        GhostQueue ghosts = new();
        Dictionary<int, int> departed = [];
        int departures = 0;
        int remembered = 0;
        int expected = 0;
        for (int i = 0; i < 100_000; i++)
        {
            int slot = random.Next(Slots);
            bool lately = departed.Remove(slot, out int departure) && departures - departure <= Limit;
            bool taken = ghosts.Take(slots + slot, Limit);
            Assert.True(lately || !taken, $"seed {seed}: slot {slot} did not leave among the last {Limit}");
            expected += lately ? 1 : 0;
            remembered += taken ? 1 : 0;
            slot = random.Next(Slots);
            ghosts.Add(slots + slot, Limit);
            departed[slot] = departures++;
        }

        Assert.True(expected > 1000 && remembered > expected * 0.9, $"seed {seed}: {remembered} of {expected} were remembered");
        ghosts.Free();
        NativeMemory.Free(slots);
    }
}
