using KeyVa.Engines;
using Xunit;

namespace KeyVa.Tests.Engines;

public sealed class CompactionRateTests
{
    private const long Rate = 1_000_000;
    private const int Piece = 64 << 10;

    [Fact]
    public void ManyTogetherKeepToTheRateEvenly()
    {
        SteppedTime time = new();
        using CompactionRate rate = new(Rate, time);
        long taken = 0;
        bool stopping = false;
        Thread[] takers = [.. Enumerable.Range(0, 3).Select(_ => new Thread(() =>
        {
            while (!Volatile.Read(ref stopping))
            {
                rate.Take(Piece, () => Volatile.Read(ref stopping));
                Interlocked.Add(ref taken, Piece);
            }
        }))];
        foreach (Thread taker in takers)
        {
            taker.Start();
        }

        for (int step = 0; step < 400; step++)
        {
            // They wait for the clock: nobody gets further than the rate, a piece each under way.
            SpinWait.SpinUntil(() => time.Armed == 1, TimeSpan.FromSeconds(5));
            double allowed = (time.Elapsed.TotalSeconds + 0.05) * Rate;
            Assert.True(Interlocked.Read(ref taken) <= allowed + Piece, $"{taken} bytes after {time.Elapsed}");
            time.Advance(TimeSpan.FromMilliseconds(10));
        }

        Assert.True(SpinWait.SpinUntil(() => Interlocked.Read(ref taken) >= (time.Elapsed.TotalSeconds * Rate) - (4 * Piece), TimeSpan.FromSeconds(20)), $"{taken} bytes in {time.Elapsed}");

        // The clock stands still now: only stopping ends the waits.
        Volatile.Write(ref stopping, true);
        rate.Wake();
        Assert.All(takers, taker => Assert.True(taker.Join(TimeSpan.FromSeconds(20))));
    }

    [Fact]
    public void WhatWasNotUsedIsNotSavedUp()
    {
        SteppedTime time = new();
        using CompactionRate rate = new(Rate, time);
        time.Advance(TimeSpan.FromHours(1));
        using CancellationTokenSource stop = new();
        long taken = 0;
        Thread taker = new(() =>
        {
            while (!stop.IsCancellationRequested)
            {
                rate.Take(Piece, () => stop.IsCancellationRequested);
                Interlocked.Add(ref taken, Piece);
            }
        });
        taker.Start();
        Assert.True(SpinWait.SpinUntil(() => time.Armed == 1, TimeSpan.FromSeconds(20)));
        Assert.InRange(Interlocked.Read(ref taken), 0, (long)(0.05 * Rate) + Piece);
        stop.Cancel();
        rate.Wake();
        Assert.True(taker.Join(TimeSpan.FromSeconds(20)));
    }
}
