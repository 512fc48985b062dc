using System.Runtime.CompilerServices;
using KeyVa.Bench.Targets;

namespace KeyVa.Bench;

/// <summary>
/// What a core workload of YCSB (Cooper et al. 2010) consists of, in operations of a hundred; the rest are reads. Keys are
/// hashed numbers, as YCSB's default "insertorder=hashed" makes them.
/// </summary>
internal sealed record YcsbMix(int Updates, int Inserts, int Scans, int ReadModifyWrites, bool Latest)
{
    /// <summary>The longest scan of workload E; lengths are uniform from 1.</summary>
    public const int MostScanned = 100;

    public static YcsbMix A { get; } = new(Updates: 50, Inserts: 0, Scans: 0, ReadModifyWrites: 0, Latest: false);

    public static YcsbMix B { get; } = new(Updates: 5, Inserts: 0, Scans: 0, ReadModifyWrites: 0, Latest: false);

    public static YcsbMix C { get; } = new(Updates: 0, Inserts: 0, Scans: 0, ReadModifyWrites: 0, Latest: false);

    public static YcsbMix D { get; } = new(Updates: 0, Inserts: 5, Scans: 0, ReadModifyWrites: 0, Latest: true);

    public static YcsbMix E { get; } = new(Updates: 0, Inserts: 5, Scans: 95, ReadModifyWrites: 0, Latest: false);

    public static YcsbMix F { get; } = new(Updates: 0, Inserts: 0, Scans: 0, ReadModifyWrites: 50, Latest: false);

    public static YcsbMix Of(Work work) => work switch
    {
        Work.YcsbA => A,
        Work.YcsbB => B,
        Work.YcsbC => C,
        Work.YcsbD => D,
        Work.YcsbE => E,
        Work.YcsbF => F,
        _ => throw new ArgumentOutOfRangeException(nameof(work), work, "not a workload of YCSB"),
    };
}

/// <summary>
/// Chooses the records of one thread: scrambled zipfian over those that were loaded, or the latest first, where "latest"
/// are the inserts of this thread and then the loaded ones: another thread's insert may not have been acknowledged yet.
/// </summary>
internal sealed class YcsbChooser(long loaded, ulong insertBase, ulong insertStep, bool latest)
{
    private readonly Zipfian _ranks = latest ? new Zipfian(loaded) : Zipfian.OverScrambledItems();
    private ulong _inserted;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong Next(ref Prng random)
    {
        long rank = _ranks.Next(ref random);
        if (!latest)
        {
            return Fnv.Hash((ulong)rank) % (ulong)loaded;
        }

        long item = _ranks.Items - 1 - rank;
        return item < loaded ? (ulong)item : insertBase + ((ulong)(item - loaded) * insertStep);
    }

    /// <summary>The next record to insert.</summary>
    public ulong NextInsert() => insertBase + (_inserted * insertStep);

    /// <summary>That record is there now.</summary>
    public void Inserted()
    {
        _inserted++;
        if (latest)
        {
            _ranks.Grow();
        }
    }
}

/// <summary>The loops of YCSB, compiled for each target like those of <see cref="Loops{TSession}"/>.</summary>
internal static class YcsbLoops<TSession>
    where TSession : struct, ISession
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Load(ref TSession session, Loop loop)
    {
        byte[] key = loop.Key;
        Values values = new(loop.ValuePool, loop.ValueBytes, loop.First);
        Timed timed = new(loop);
        for (int i = loop.First; i < loop.End; i++)
        {
            Keys.Write(key, Fnv.Hash((uint)i));
            long begun = timed.Begin();
            session.Put(key, values.Next());
            timed.End(begun);
        }

        loop.Done = loop.End - loop.First;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(ref TSession session, Loop loop)
    {
        YcsbMix mix = YcsbMix.Of(loop.Work);
        int updates = mix.Updates, inserts = updates + mix.Inserts, scans = inserts + mix.Scans, modifies = scans + mix.ReadModifyWrites;
        byte[] key = loop.Key;
        byte[] copy = new byte[loop.ValueBytes];
        Prng random = new(loop.Seed);
        YcsbChooser chooser = new(loop.Order.Length, loop.InsertBase, loop.InsertStep, mix.Latest);
        Values values = new(loop.ValuePool, loop.ValueBytes, loop.First);
        Timed timed = new(loop);
        long found = 0;
        ulong touched = 0;
        for (long i = 0; i < loop.Operations; i++)
        {
            uint draw = random.Below(100);
            bool insert = draw >= updates && draw < inserts;
            Keys.Write(key, Fnv.Hash(insert ? chooser.NextInsert() : chooser.Next(ref random)));
            int length = draw >= inserts && draw < scans ? 1 + (int)random.Below(YcsbMix.MostScanned) : 0;
            long begun = timed.Begin();
            if (draw < inserts)
            {
                session.Put(key, values.Next());
                found++;
            }
            else if (length > 0)
            {
                found += session.Scan(key, reverse: false, length, ref touched) > 0 ? 1 : 0;
            }
            else if (draw < modifies)
            {
                found += session.Read(key, copy) ? 1 : 0;
                copy[i % copy.Length]++;
                session.Put(key, copy);
            }
            else
            {
                found += session.Get(key, ref touched) ? 1 : 0;
            }

            timed.End(begun);
            if (insert)
            {
                chooser.Inserted();
            }
        }

        loop.Done = loop.Operations;
        loop.Found = found;
        loop.Touched = touched;
    }
}
