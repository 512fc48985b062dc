using KeyVa.Cluster.Driver;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>Who runs a driver: one at a time, and nothing that was signalled is left undone.</summary>
public sealed class DriverThreadTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    [Fact]
    public void ALentThreadRunsItOnce()
    {
        using DriverThread thread = new();
        Assert.False(thread.TryRun(), "it was not started");
        List<int> runners = [];
        using var begun = new ManualResetEventSlim();
        thread.Start(
            () =>
            {
                lock (runners)
                {
                    runners.Add(Environment.CurrentManagedThreadId);
                }

                begun.Set();
                return long.MaxValue;
            },
            static failure => throw failure);
        Assert.True(begun.Wait(Patience));
        SpinWait.SpinUntil(thread.TryRun);
        lock (runners)
        {
            Assert.Equal(2, runners.Count);
            Assert.Equal(Environment.CurrentManagedThreadId, runners[^1]);
        }
    }

    [Fact]
    public void WhatIsSignalledDuringALentRunIsDoneBehindIt()
    {
        using DriverThread thread = new();
        using var isLent = new ManualResetEventSlim();
        using var goOn = new ManualResetEventSlim();
        using var again = new ManualResetEventSlim();
        int runs = 0;
        thread.Start(
            () =>
            {
                switch (Interlocked.Increment(ref runs))
                {
                    case 2:
                        isLent.Set();
                        Assert.True(goOn.Wait(Patience));
                        break;
                    case 3:
                        again.Set();
                        break;
                }

                return long.MaxValue;
            },
            static failure => throw failure);
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref runs) == 1, Patience));
        var lent = new Thread(() => SpinWait.SpinUntil(thread.TryRun));
        lent.Start();
        Assert.True(isLent.Wait(Patience));
        Assert.False(thread.TryRun(), "two run at once");
        thread.Signal();
        goOn.Set();
        Assert.True(again.Wait(Patience), "the signal was lost");
        lent.Join();
    }

    [Fact]
    public void AnEarlierDeadlineOfALentRunIsKept()
    {
        using DriverThread thread = new();
        using var due = new ManualResetEventSlim();
        int runs = 0;
        thread.Start(
            () =>
            {
                switch (Interlocked.Increment(ref runs))
                {
                    case 2:
                        return DriverThread.Clock() + 20;
                    case 3:
                        due.Set();
                        break;
                }

                return long.MaxValue;
            },
            static failure => throw failure);
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref runs) == 1, Patience));
        SpinWait.SpinUntil(thread.TryRun);
        Assert.True(due.Wait(Patience), "the thread slept on");
    }

    [Fact]
    public void NothingIsLostBetweenManyWhoLendAndSignal()
    {
        const int threads = 4;
        const int each = 20_000;
        using DriverThread thread = new();
        int inside = 0, added = 0, taken = 0;
        string? fault = null;
        thread.Start(
            () =>
            {
                if (Interlocked.Increment(ref inside) != 1)
                {
                    fault = "two run at once";
                }

                taken += Interlocked.Exchange(ref added, 0);
                Interlocked.Decrement(ref inside);
                return long.MaxValue;
            },
            failure => fault = failure.ToString());
        Thread[] all = [.. Enumerable.Range(0, threads).Select(number => new Thread(() =>
        {
            for (int i = 0; i < each; i++)
            {
                Interlocked.Increment(ref added);
                if (((i + number) & 1) == 0 || !thread.TryRun())
                {
                    thread.Signal();
                }
            }
        }))];
        Array.ForEach(all, static one => one.Start());
        Array.ForEach(all, static one => one.Join());
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref taken) == threads * each, Patience), $"{taken} of {threads * each} were taken");
        Assert.Null(fault);
    }

    [Fact]
    public void NobodyRunsItBehindTheEnd()
    {
        DriverThread thread = new();
        int runs = 0;
        thread.Start(
            () =>
            {
                Interlocked.Increment(ref runs);
                return long.MaxValue;
            },
            static failure => throw failure);
        thread.Dispose();
        int before = runs;
        Assert.False(thread.TryRun());
        thread.Signal();
        Assert.Equal(before, runs);
    }
}
