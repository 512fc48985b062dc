using System.Diagnostics;
using System.Runtime.CompilerServices;
using KeyVa.Bench.Targets;

namespace KeyVa.Bench;

/// <summary>
/// The inner loops. The same source for every target and compiled for each, so what the harness itself costs (a key, a
/// slice of the value pool, a countdown to the next timed operation) is the same for all of them. They are compiled fully
/// at once: a loop is called once per run, and would otherwise begin unoptimized in every first one.
/// </summary>
internal static class Loops<TSession>
    where TSession : struct, ISession
{
    public static void Run(ref TSession session, Loop loop)
    {
        switch (loop.Work)
        {
            case Work.PutSequential:
                PutInOrder(ref session, loop, shuffled: false);
                break;
            case Work.PutShuffled:
                PutInOrder(ref session, loop, shuffled: true);
                break;
            case Work.PutRandom:
                PutRandom(ref session, loop);
                break;
            case Work.PutSync:
                PutForAWhile(ref session, loop);
                break;
            case Work.PutPaced:
                PutUntilStopped(ref session, loop);
                break;
            case Work.GetRandom:
                Get(ref session, loop, loop.Key);
                break;
            case Work.GetMissing:
                Get(ref session, loop, loop.MissingKey);
                break;
            case Work.GetWhileWriting:
                Get(ref session, loop, loop.Key);
                break;
            case Work.ScanForward:
                Scan(ref session, loop, reverse: false);
                break;
            case Work.ScanReverse:
                Scan(ref session, loop, reverse: true);
                break;
            case Work.SeekRandom:
                Seek(ref session, loop);
                break;
            case Work.DeleteShuffled:
                Delete(ref session, loop);
                break;
            case Work.Mix95:
                Mix(ref session, loop);
                break;
            case Work.YcsbLoad:
                YcsbLoops<TSession>.Load(ref session, loop);
                break;
            case Work.YcsbA or Work.YcsbB or Work.YcsbC or Work.YcsbD or Work.YcsbE or Work.YcsbF:
                YcsbLoops<TSession>.Run(ref session, loop);
                break;
            case Work.PutNew:
                FillLoops<TSession>.PutNew(ref session, loop);
                break;
            case Work.GetNew:
                FillLoops<TSession>.GetNew(ref session, loop);
                break;
            default:
                throw new UnreachableException();
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PutInOrder(ref TSession session, Loop loop, bool shuffled)
    {
        byte[] key = loop.Key;
        uint[] order = loop.Order;
        Values values = new(loop.ValuePool, loop.ValueBytes, loop.First);
        Timed timed = new(loop);
        for (int i = loop.First; i < loop.End; i++)
        {
            Keys.Write(key, shuffled ? order[i] : (uint)i);
            long begun = timed.Begin();
            session.Put(key, values.Next());
            timed.End(begun);
        }

        loop.Done = loop.End - loop.First;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PutRandom(ref TSession session, Loop loop)
    {
        byte[] key = loop.Key;
        uint records = (uint)loop.Order.Length;
        Prng random = new(loop.Seed);
        Values values = new(loop.ValuePool, loop.ValueBytes, loop.First);
        Timed timed = new(loop);
        for (long i = 0; i < loop.Operations; i++)
        {
            Keys.Write(key, random.Below(records));
            long begun = timed.Begin();
            session.Put(key, values.Next());
            timed.End(begun);
        }

        loop.Done = loop.Operations;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PutForAWhile(ref TSession session, Loop loop)
    {
        byte[] key = loop.Key;
        uint records = (uint)loop.Order.Length;
        Prng random = new(loop.Seed);
        Values values = new(loop.ValuePool, loop.ValueBytes, loop.First);
        long end = Stopwatch.GetTimestamp() + loop.DurationTicks;
        long begun;
        while ((begun = Stopwatch.GetTimestamp()) < end)
        {
            Keys.Write(key, random.Below(records));
            session.Put(key, values.Next());
            loop.Latency.Add(Stopwatch.GetTimestamp() - begun);
            loop.Done++;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Get(ref TSession session, Loop loop, byte[] key)
    {
        uint records = (uint)loop.Order.Length;
        Prng random = new(loop.Seed);
        Timed timed = new(loop);
        long found = 0;
        ulong touched = 0;
        for (long i = 0; i < loop.Operations; i++)
        {
            Keys.Write(key, random.Below(records));
            long begun = timed.Begin();
            found += session.Get(key, ref touched) ? 1 : 0;
            timed.End(begun);
        }

        loop.Done = loop.Operations;
        loop.Found = found;
        loop.Touched = touched;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Mix(ref TSession session, Loop loop)
    {
        byte[] key = loop.Key;
        uint records = (uint)loop.Order.Length;
        Prng random = new(loop.Seed);
        Values values = new(loop.ValuePool, loop.ValueBytes, loop.First);
        Timed timed = new(loop);
        long found = 0;
        ulong touched = 0;
        for (long i = 0; i < loop.Operations; i++)
        {
            ulong draw = random.Next();
            Keys.Write(key, (uint)(((draw >> 32) * records) >> 32));
            long begun = timed.Begin();
            if ((draw & 0xFFFF) < 0xFFFF / 20)
            {
                session.Put(key, values.Next());
                found++;
            }
            else
            {
                found += session.Get(key, ref touched) ? 1 : 0;
            }

            timed.End(begun);
        }

        loop.Done = loop.Operations;
        loop.Found = found;
        loop.Touched = touched;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scan(ref TSession session, Loop loop, bool reverse)
    {
        for (int pass = 0; pass < Workload.ScanPasses; pass++)
        {
            Keys.Write(loop.Key, (ulong)(reverse ? loop.End : loop.First));
            loop.Done += session.Scan(loop.Key, reverse, loop.End - loop.First, ref loop.Touched);
        }

        loop.Found = loop.Done;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Seek(ref TSession session, Loop loop)
    {
        byte[] key = loop.Key;
        uint last = (uint)(loop.Order.Length - Workload.SeekRecords);
        Prng random = new(loop.Seed);
        Timed timed = new(loop);
        long found = 0;
        ulong touched = 0;
        for (long i = 0; i < loop.Operations; i++)
        {
            Keys.Write(key, random.Below(last));
            long begun = timed.Begin();
            found += session.Scan(key, reverse: false, Workload.SeekRecords, ref touched) / Workload.SeekRecords;
            timed.End(begun);
        }

        loop.Done = loop.Operations;
        loop.Found = found;
        loop.Touched = touched;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Delete(ref TSession session, Loop loop)
    {
        byte[] key = loop.Key;
        uint[] order = loop.Order;
        Timed timed = new(loop);
        for (int i = loop.First; i < loop.End; i++)
        {
            Keys.Write(key, order[i]);
            long begun = timed.Begin();
            session.Delete(key);
            timed.End(begun);
        }

        loop.Done = loop.End - loop.First;
    }

    /// <summary>
    /// The writer beside readers: overwrites until told to stop, at the same pace for every target, so that the readers
    /// of a slow writer do not look fast. It catches up after a sleep; the rate it reached is reported.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PutUntilStopped(ref TSession session, Loop loop)
    {
        byte[] key = loop.Key;
        uint records = (uint)loop.Order.Length;
        Prng random = new(loop.Seed);
        Values values = new(loop.ValuePool, loop.ValueBytes, loop.First);
        long begun = Stopwatch.GetTimestamp();
        while (!loop.Stop)
        {
            long due = loop.WriteRate == 0
                ? long.MaxValue
                : (long)((Stopwatch.GetTimestamp() - begun) * (double)loop.WriteRate / Stopwatch.Frequency);
            while (loop.Done < due && !loop.Stop)
            {
                Keys.Write(key, random.Below(records));
                session.Put(key, values.Next());
                loop.Done++;
            }

            Thread.Sleep(1);
        }
    }
}
