using System.Diagnostics;
using KeyVa.Server.Admission;
using Xunit;

namespace KeyVa.Tests.Server.Identity;

/// <summary>One limit by itself: what it grants is never more than it has.</summary>
public sealed class RateTests
{
    private const int Burst = 100_000;

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(32)]
    public void ManyWhoTakeAtOnceGetAsMuchAsThereIsAndNoMore(int count)
    {
        Rate rate = new(new RateOptions { PerSecond = 1, Burst = Burst });
        long begun = Stopwatch.GetTimestamp();
        long taken = 0;
        Parallel.For(0, 4, _ =>
        {
            long mine = 0;
            while (rate.TryTake(count, out TimeSpan retryAfter))
            {
                Assert.Equal(TimeSpan.Zero, retryAfter);
                mine += count;
            }

            Interlocked.Add(ref taken, mine);
        });

        // A second brings one more, also since the last one was refused; what is too little for a whole count stays.
        TimeSpan pause;
        while (rate.TryTake(count, out pause))
        {
            taken += count;
        }

        Assert.InRange(taken, Burst - 64 - count, Burst + (long)Stopwatch.GetElapsedTime(begun).TotalSeconds + 1);
        Assert.True(pause > TimeSpan.Zero);
    }

    [Fact]
    public void ASmallLimitIsExact()
    {
        Rate rate = new(new RateOptions { PerSecond = 1, Burst = 20 });
        for (int i = 0; i < 20; i++)
        {
            Assert.True(rate.TryTake(1, out _), $"{i}");
        }

        Assert.False(rate.TryTake(20, out _));
    }

    /// <summary>What a connection pays at once it has had before: many short ones cost what they send.</summary>
    [Fact]
    public void AConnectionPaysForNoMoreThanTwiceWhatItHasSent()
    {
        const int Connections = 1000;
        const int Requests = 5;
        Rate rate = new(new RateOptions { PerSecond = 1, Burst = Burst });
        RateSet rates = new([rate], []);
        for (int i = 0; i < Connections; i++)
        {
            Prepaid paid = new(rates);
            for (int j = 0; j < Requests; j++)
            {
                Assert.True(paid.TryEnter(out _));
            }
        }

        int left = 0;
        while (rate.TryTake(1, out _))
        {
            left++;
        }

        Assert.InRange(left, Burst - (Connections * Requests * 2), Burst - (Connections * Requests));
    }

    [Fact]
    public void ABusyConnectionIsGrantedAsMuchAsThereIsAndNoMore()
    {
        RateSet rates = new([new Rate(new RateOptions { PerSecond = 1, Burst = Burst })], []);
        Prepaid paid = new(rates);
        long begun = Stopwatch.GetTimestamp();
        long sent = 0;
        Parallel.For(0, 4, _ =>
        {
            long mine = 0;
            while (paid.TryEnter(out TimeSpan retryAfter))
            {
                Assert.Equal(TimeSpan.Zero, retryAfter);
                mine++;
            }

            Interlocked.Add(ref sent, mine);
        });
        Assert.InRange(sent, Burst - 200, Burst + (long)Stopwatch.GetElapsedTime(begun).TotalSeconds + 1);
    }

    /// <summary>Requests that are paid are no reason to let debts grow.</summary>
    [Fact]
    public void WhoOwesBytesIsRefusedThoughItHasPaidForRequests()
    {
        Rate bytes = new(new RateOptions { PerSecond = 1, Burst = Burst });
        RateSet rates = new([new Rate(new RateOptions { PerSecond = 1, Burst = Burst })], [bytes]);
        Prepaid paid = new(rates);
        for (int i = 0; i < 100; i++)
        {
            Assert.True(paid.TryEnter(out _));
        }

        bytes.Owe(Burst * 2L);
        Assert.False(paid.TryEnter(out TimeSpan retryAfter));
        Assert.InRange(retryAfter.TotalSeconds, Burst * 0.9, Burst * 1.1);
    }

    [Fact]
    public void WhoIsRefusedUnderOneLimitPaysNothingUnderAnother()
    {
        const int Own = 2000;
        Rate own = new(new RateOptions { PerSecond = 1, Burst = Own });
        Rate total = new(new RateOptions { PerSecond = 1, Burst = 1 });
        RateSet rates = new([own, total], []);
        Prepaid paid = new(rates);
        Assert.True(total.TryTake(1, out _));
        long begun = Stopwatch.GetTimestamp();
        int granted = 0;
        for (int i = 0; i < Own * 2; i++)
        {
            granted += paid.TryEnter(out _) ? 1 : 0;
            granted += rates.TryTake(32, out _) ? 32 : 0;
        }

        int left = 0;
        while (own.TryTake(1, out _))
        {
            left++;
        }

        Assert.InRange(left, Own - granted, Own + (long)Stopwatch.GetElapsedTime(begun).TotalSeconds + 1);
    }

    /// <summary>One that is full may be forgotten.</summary>
    [Fact]
    public void ARateOfWhichMuchIsOwedIsNotFull()
    {
        Rate rate = new(new RateOptions { PerSecond = 1, Burst = Burst });
        Assert.True(rate.IsFull);
        rate.Owe(Burst * 2L);
        Assert.False(rate.IsFull);
        Assert.False(rate.TrySettle(out _));
    }

    [Fact]
    public void SmallDebtsAddUpAndArePaid()
    {
        Rate rate = new(new RateOptions { PerSecond = 1, Burst = Burst });
        long begun = Stopwatch.GetTimestamp();
        long owed = 0;
        while (rate.TrySettle(out _))
        {
            rate.Owe(10);
            owed += 10;
        }

        // A thousandth may be owed without being asked for.
        Assert.InRange(owed, Burst, Burst + (Burst / 500) + (long)Stopwatch.GetElapsedTime(begun).TotalSeconds + 1);
        Assert.False(rate.TryTake(100, out _));
    }
}
