using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using KeyVa.Transactions.Locks;
using Xunit;

namespace KeyVa.Tests.Transactions.Locks;

/// <summary>64 threads on a few keys: nobody is where another is, and every wait ends.</summary>
[SuppressMessage("Security", "CA5394", Justification = "Seeded randomness of a test.")]
public sealed class LockStressTests
{
    private const int Threads = 64;
    private const int Keys = 10;
    private const int Rounds = 30;

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void NobodyIsWhereAnotherIsAndEveryWaitEnds(bool ranges, bool disturbed)
    {
        int seed = Environment.TickCount;
        using LockTable table = new(TimeProvider.System, new LockLimits { Stripes = 8 });
        int[] occupied = new int[Keys];
        using Barrier start = new(Threads);
        Worker[] workers = [.. Enumerable.Range(0, Threads).Select(i => new Worker(table, occupied, i, seed, ranges, disturbed))];
        Thread[] threads = [.. workers.Select(worker => new Thread(() => worker.Run(start)))];
        foreach (Thread thread in threads)
        {
            thread.Start();
        }

        if (disturbed)
        {
            Random random = new(seed);
            while (threads.Any(static thread => thread.IsAlive))
            {
                table.Abort(workers[random.Next(Threads)].Owner, "a disturbance");
                Thread.Yield();
            }
        }

        for (int i = 0; i < Threads; i++)
        {
            Assert.True(threads[i].Join(TimeSpan.FromSeconds(60)), $"seed {seed}: thread {i} waits for ever, {table.Figures}");
        }

        foreach (Worker worker in workers)
        {
            Assert.True(worker.Failure is null, $"seed {seed}: {worker.Failure}");
        }

        Assert.All(occupied, static count => Assert.Equal(0, count));
        LockFigures figures = table.Figures;
        Assert.Equal((0, 0, 0), (figures.Held, figures.Ranges, figures.Waiting));
        Assert.False(table.HasLocks);
        Assert.True(figures.Waits > 0 && figures.Deadlocks > 0, $"seed {seed}: nobody met anybody, {figures}");
    }

    private sealed class Worker(LockTable table, int[] occupied, int number, int seed, bool ranges, bool disturbed)
    {
        private readonly Random _random = new(seed + number);
        private readonly LockMode[] _mine = new LockMode[Keys];

        private readonly ManualResetEventSlim _over = new();

        public LockOwner Owner { get; } = new(number);

        public string? Failure { get; private set; }

        public void Run(Barrier start)
        {
            SynchronizationContext.SetSynchronizationContext(new AtOnce());
            start.SignalAndWait();
            for (int round = 0; round < Rounds && Failure is null; round++)
            {
                int wanted = _random.Next(1, 5);
                bool goesOn = true;
                for (int i = 0; i < wanted && goesOn; i++)
                {
                    goesOn = TakeOne();

                    // Others get to run while this one holds something.
                    Thread.Yield();
                }

                Leave();
                table.ReleaseAll(Owner);
                if (Owner.IsAborted)
                {
                    Owner.Renew(number);
                }
            }
        }

        private bool TakeOne()
        {
            int from = _random.Next(Keys);
            int to = ranges && _random.Next(4) == 0 ? Math.Min(Keys, from + _random.Next(1, 4)) : from;
            LockMode mode = _random.Next(2) == 0 ? LockMode.Shared : LockMode.Exclusive;
            TimeSpan timeout = disturbed && _random.Next(2) == 0 ? TimeSpan.FromMilliseconds(_random.Next(3)) : Timeout.InfiniteTimeSpan;
            LockResult result = to > from ? TakeRange(from, to, mode, timeout) : TakeKey(from, mode, timeout);
            if (result.IsGranted)
            {
                Enter(from, to > from ? to : from + 1, mode);
            }

            return result.IsGranted;
        }

        private LockResult TakeKey(int key, LockMode mode, TimeSpan timeout)
        {
            byte[] bytes = LockFixture.Bytes($"key{key}");
            return _random.Next(2) == 0
                ? table.Acquire(Owner, bytes, mode, timeout)
                : ResultOf(table.AcquireAsync(Owner, bytes, mode, timeout));
        }

        private LockResult TakeRange(int from, int to, LockMode mode, TimeSpan timeout)
        {
            byte[] first = LockFixture.Bytes($"key{from}");
            byte[] end = to == Keys ? [] : LockFixture.Bytes($"key{to}");
            return _random.Next(2) == 0
                ? table.AcquireRange(Owner, first, end, mode, timeout)
                : ResultOf(table.AcquireRangeAsync(Owner, first, end, mode, timeout));
        }

        private LockResult ResultOf(ValueTask<LockResult> task)
        {
            ValueTaskAwaiter<LockResult> awaiter = task.GetAwaiter();
            if (!awaiter.IsCompleted)
            {
                _over.Reset();
                awaiter.OnCompleted(_over.Set);
                _over.Wait();
            }

            return awaiter.GetResult();
        }

        // More than zero: so many share it; less: one has it alone.
        private void Enter(int from, int to, LockMode mode)
        {
            for (int key = from; key < to; key++)
            {
                LockMode before = _mine[key];
                if (before >= mode)
                {
                    continue;
                }

                _mine[key] = mode;
                bool alone = mode == LockMode.Exclusive
                    ? Interlocked.CompareExchange(ref occupied[key], -1, (int)before) == (int)before
                    : Interlocked.Increment(ref occupied[key]) > 0;
                if (!alone)
                {
                    Failure = $"thread {number} got key {key} ({mode}) while another was there";
                }
            }
        }

        private void Leave()
        {
            for (int key = 0; key < Keys; key++)
            {
                if (_mine[key] == LockMode.Exclusive)
                {
                    Volatile.Write(ref occupied[key], 0);
                }
                else if (_mine[key] == LockMode.Shared)
                {
                    Interlocked.Decrement(ref occupied[key]);
                }

                _mine[key] = 0;
            }
        }
    }

    // Continuations would go to the pool, whose few threads other tests keep busy.
    private sealed class AtOnce : SynchronizationContext
    {
        public override void Post(SendOrPostCallback d, object? state) => d(state);
    }
}
