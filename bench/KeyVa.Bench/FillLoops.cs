using System.Diagnostics;
using System.Runtime.CompilerServices;
using KeyVa.Bench.Targets;

namespace KeyVa.Bench;

/// <summary>Loops over records whose number is only known at the end: keys are made from a counter, nothing is held per record.</summary>
internal static class FillLoops<TSession>
    where TSession : struct, ISession
{
    /// <summary>
    /// Puts new records in random key order until the time or the count is used up, and times every put. With a rate, a
    /// put's latency counts from when it was due, so one that is late delays the account of those behind it, too.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PutNew(ref TSession session, Loop loop)
    {
        byte[] key = loop.Key;
        Values values = new(loop.ValuePool, loop.ValueBytes, loop.First);
        double ticksEach = loop.WriteRate == 0 ? 0 : Stopwatch.Frequency / (double)loop.WriteRate;
        long started = Stopwatch.GetTimestamp();
        long end = loop.DurationTicks == 0 ? long.MaxValue : started + loop.DurationTicks;
        long last = started;
        while (loop.Done < loop.Operations && last < end)
        {
            long begun = ticksEach == 0 ? last : Await(started + (long)(loop.Done * ticksEach));
            Keys.Write(key, Keys.Mixed(loop.InsertBase + ((ulong)loop.Done * loop.InsertStep)));
            session.Put(key, values.Next());
            long now = Stopwatch.GetTimestamp();
            loop.Latency.Add(now - begun);
            if (now - last > Loop.PauseTicks)
            {
                loop.AddPause(last, now);
            }

            last = now;
            loop.Done++;
        }
    }

    /// <summary>Reads random ones of the records that <see cref="PutNew"/> wrote as thread 0 of a count.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void GetNew(ref TSession session, Loop loop)
    {
        byte[] key = loop.Key;
        Prng random = new(loop.Seed);
        for (; loop.Done < loop.Operations; loop.Done++)
        {
            Keys.Write(key, Keys.Mixed(loop.InsertBase + (random.Below((uint)loop.End) * loop.InsertStep)));
            loop.Found += session.Get(key, ref loop.Touched) ? 1 : 0;
        }
    }

    private static long Await(long due)
    {
        while (due - Stopwatch.GetTimestamp() is > 0 and var left)
        {
            if (left > Stopwatch.Frequency / 500)
            {
                Thread.Sleep(1);
            }
        }

        return due;
    }
}
