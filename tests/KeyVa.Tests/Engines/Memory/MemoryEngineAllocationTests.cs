using System.Buffers.Binary;
using KeyVa.Engines;
using Xunit;

namespace KeyVa.Tests.Engines.Memory;

public class MemoryEngineAllocationTests
{
    [Fact]
    public void AllocatesNothingOnTheHeapInSteadyState()
    {
        using MemoryEngineFixture fixture = new(guard: false);
        byte[] key = new byte[16];
        byte[] value = new byte[100];
        Run(fixture.Engine, fixture, key, value, 100_000);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Run(fixture.Engine, fixture, key, value, 100_000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private static void Run(Engine engine, MemoryEngineFixture fixture, byte[] key, byte[] value, int steps)
    {
        long index = engine.AppliedIndex;
        for (int i = 0; i < steps; i++)
        {
            BinaryPrimitives.WriteInt32BigEndian(key, i % 1000);
            long version = fixture.Oracle.Take(1);
            long stamp = fixture.Clock.UnixMilliseconds++;
            if (i % 7 == 0)
            {
                engine.Remove(key, version, stamp);
            }
            else
            {
                engine.Put(key, version, stamp, i % 3 == 0 ? stamp + 200 : 0, value);
            }

            engine.EndGroup(++index, version, stamp);
            if (engine.TryGet(key, ReadVersion.Latest, out ValueLease lease))
            {
                lease.Dispose();
            }
        }
    }
}
