using KeyVa.Transactions.Locks;
using Xunit;

namespace KeyVa.Tests.Transactions.Locks;

/// <summary>The rules of locks of keys, one by one.</summary>
public sealed class LockTableTests : IDisposable
{
    private readonly LockFixture _locks = new();
    private readonly LockOwner _one = new(1);
    private readonly LockOwner _two = new(2);
    private readonly LockOwner _three = new(3);
    private readonly LockOwner _four = new(4);

    public void Dispose() => _locks.Dispose();

    [Theory]
    [InlineData(LockMode.Shared, LockMode.Shared, true)]
    [InlineData(LockMode.Shared, LockMode.Exclusive, false)]
    [InlineData(LockMode.Exclusive, LockMode.Shared, false)]
    [InlineData(LockMode.Exclusive, LockMode.Exclusive, false)]
    internal void ModesConflict(LockMode held, LockMode asked, bool together)
    {
        _locks.Take(_one, "a", held);

        Assert.Equal(together, _locks.Table.TryAcquire(_two, LockFixture.Bytes("a"), asked).IsGranted);
        _locks.Take(_two, "b", LockMode.Exclusive);
    }

    [Fact]
    public void WhatIsHeldIsGrantedAgainAndCountsOnce()
    {
        _locks.Take(_one, "a", LockMode.Exclusive);
        _locks.Take(_one, "a", LockMode.Shared);
        _locks.Take(_one, "a", LockMode.Exclusive);

        Assert.Equal(1, _one.Held);
        _locks.Table.ReleaseAll(_one);
        Assert.Equal(0, _one.Held);
        _locks.Take(_two, "a", LockMode.Exclusive);
    }

    [Fact]
    public void AReleaseGrantsTheNextInOrder()
    {
        _locks.Take(_one, "a", LockMode.Exclusive);
        Waiter two = _locks.Ask(_two, "a", LockMode.Exclusive);
        Waiter three = _locks.Ask(_three, "a", LockMode.Exclusive);

        _locks.Table.ReleaseAll(_one);
        Assert.True(two.Result.IsGranted);
        Assert.False(three.IsOver);
        _locks.Table.ReleaseAll(_two);
        Assert.True(three.Result.IsGranted);
    }

    [Fact]
    public void SharedRequestsDoNotOvertakeAnExclusiveOne()
    {
        _locks.Take(_one, "a", LockMode.Shared);
        Waiter two = _locks.Ask(_two, "a", LockMode.Exclusive);
        Waiter three = _locks.Ask(_three, "a", LockMode.Shared);
        Waiter four = _locks.Ask(_four, "a", LockMode.Shared);

        Assert.False(three.IsOver);
        _locks.Table.ReleaseAll(_one);
        Assert.True(two.Result.IsGranted);
        Assert.False(three.IsOver);
        _locks.Table.ReleaseAll(_two);
        Assert.True(three.Result.IsGranted);
        Assert.True(four.Result.IsGranted);
    }

    [Fact]
    public void TheOnlyHolderUpgradesAtOnceAheadOfThoseWhoWait()
    {
        _locks.Take(_one, "a", LockMode.Shared);
        Waiter two = _locks.Ask(_two, "a", LockMode.Exclusive);
        Waiter three = _locks.Ask(_three, "a", LockMode.Shared);

        _locks.Take(_one, "a", LockMode.Exclusive);
        Assert.Equal(1, _one.Held);
        _locks.Table.ReleaseAll(_one);
        Assert.True(two.Result.IsGranted);
        Assert.False(three.IsOver);
    }

    [Fact]
    public void AnUpgradeWaitsForTheOtherHoldersAndGoesFirst()
    {
        _locks.Take(_one, "a", LockMode.Shared);
        _locks.Take(_two, "a", LockMode.Shared);
        Waiter three = _locks.Ask(_three, "a", LockMode.Exclusive);
        Waiter upgrade = _locks.Ask(_one, "a", LockMode.Exclusive);

        Assert.False(upgrade.IsOver);
        _locks.Table.ReleaseAll(_two);
        Assert.True(upgrade.Result.IsGranted);
        Assert.False(three.IsOver);
        _locks.Table.ReleaseAll(_one);
        Assert.True(three.Result.IsGranted);
    }

    [Fact]
    public void AnUpgradeThatGivesUpStillHoldsShared()
    {
        _locks.Take(_one, "a", LockMode.Shared);
        _locks.Take(_two, "a", LockMode.Shared);

        Assert.Equal(LockOutcome.TimedOut, _locks.Ask(_one, "a", LockMode.Exclusive, TimeSpan.Zero).Outcome);
        Waiter waits = _locks.Ask(_one, "a", LockMode.Exclusive, TimeSpan.FromSeconds(1));
        _locks.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(LockOutcome.TimedOut, waits.Outcome);
        Assert.Equal(1, _one.Held);
        _locks.Table.ReleaseAll(_two);
        Assert.Equal(LockOutcome.TimedOut, _locks.Ask(_three, "a", LockMode.Exclusive, TimeSpan.Zero).Outcome);
        _locks.Take(_three, "a", LockMode.Shared);
    }

    [Fact]
    public void HasLocksIsTrueWhileAnybodyHoldsOrWaits()
    {
        Assert.False(_locks.Table.HasLocks);
        _locks.Take(_one, "a", LockMode.Exclusive);
        Assert.True(_locks.Table.HasLocks);
        Waiter two = _locks.Ask(_two, "a", LockMode.Exclusive);
        _locks.Table.ReleaseAll(_one);
        Assert.True(two.Result.IsGranted);
        Assert.True(_locks.Table.HasLocks);
        _locks.Table.ReleaseAll(_two);
        Assert.False(_locks.Table.HasLocks);
    }

    [Fact]
    public void ARequestThatFailsLeavesNothing()
    {
        _locks.Take(_one, "a", LockMode.Exclusive);
        Assert.Equal(LockOutcome.TimedOut, _locks.Ask(_two, "a", LockMode.Shared, TimeSpan.Zero).Outcome);
        _locks.Table.ReleaseAll(_one);

        Assert.False(_locks.Table.HasLocks);
        Assert.Equal(default, _locks.Table.Figures with { TimedOut = 0 });
        Assert.Equal(1, _locks.Table.Figures.TimedOut);
        Assert.Empty(_locks.Table.Describe(10));
    }

    [Fact]
    public void SavepointsReleaseWhatCameAfterThem()
    {
        _locks.Take(_one, "a", LockMode.Shared);
        _locks.Take(_one, "b", LockMode.Exclusive);
        LockMark mark = _one.Mark;
        _locks.Take(_one, "a", LockMode.Exclusive);
        _locks.Take(_one, "c", LockMode.Exclusive);
        _locks.TakeRange(_one, "m", "n", LockMode.Shared);
        Waiter a = _locks.Ask(_two, "a", LockMode.Shared);
        Waiter c = _locks.Ask(_three, "c", LockMode.Shared);
        Waiter m = _locks.Ask(_four, "m", LockMode.Exclusive);

        _locks.Table.ReleaseTo(_one, mark);
        Assert.True(a.Result.IsGranted);
        Assert.True(c.Result.IsGranted);
        Assert.True(m.Result.IsGranted);
        Assert.Equal(2, _one.Held);
        Assert.Equal(LockOutcome.TimedOut, _locks.Ask(_three, "b", LockMode.Shared, TimeSpan.Zero).Outcome);
        Assert.Equal(LockOutcome.TimedOut, _locks.Ask(_three, "a", LockMode.Exclusive, TimeSpan.Zero).Outcome);
    }

    [Fact]
    public void AnAbortEndsTheWaitAndAllToCome()
    {
        _locks.Take(_one, "a", LockMode.Exclusive);
        _locks.Take(_two, "b", LockMode.Exclusive);
        Waiter two = _locks.Ask(_two, "a", LockMode.Shared);
        Waiter three = _locks.Ask(_three, "a", LockMode.Shared);

        _locks.Table.Abort(_two, "its time limit passed");
        Assert.Equal(
            new LockResult(LockOutcome.Aborted, "the wait of txn 2 for key \"a\" (shared) was ended: its time limit passed"), two.Result);
        Assert.Equal(
            new LockResult(LockOutcome.Aborted, "txn 2 gets no lock: its time limit passed"), _locks.Ask(_two, "c", LockMode.Shared).Result);
        Assert.Equal(LockOutcome.Aborted, _locks.AskRange(_two, "c", "d", LockMode.Shared).Outcome);
        Assert.True(_two.IsAborted);
        Assert.Equal(1, _two.Held);
        Assert.False(three.IsOver);
        Assert.Throws<InvalidOperationException>(() => _two.Renew(5));

        _locks.Table.ReleaseAll(_two);
        _two.Renew(5);
        Assert.False(_two.IsAborted);
        _locks.Take(_two, "c", LockMode.Shared);
    }

    [Fact]
    public void AnExclusiveRequestThatGivesUpLetsThoseBehindItPass()
    {
        _locks.Take(_one, "a", LockMode.Shared);
        Waiter two = _locks.Ask(_two, "a", LockMode.Exclusive);
        Waiter three = _locks.Ask(_three, "a", LockMode.Shared);

        _locks.Table.Abort(_two, "tired");
        Assert.Equal(LockOutcome.Aborted, two.Outcome);
        Assert.True(three.Result.IsGranted);
    }

    [Fact]
    public void AnotherOwnersLockIsSeen()
    {
        byte[] key = LockFixture.Bytes("a");
        Assert.False(_locks.Table.IsLockedByOther(key, null));
        _locks.Take(_one, "a", LockMode.Shared);
        Assert.False(_locks.Table.IsLockedByOther(key, _one));
        Assert.True(_locks.Table.IsLockedByOther(key, _two));
        Assert.True(_locks.Table.IsLockedByOther(key, null));
        _locks.TakeRange(_two, "", "b", LockMode.Shared);
        Assert.True(_locks.Table.IsLockedByOther(key, _one));
        _locks.Table.ReleaseAll(_one);
        Assert.False(_locks.Table.IsLockedByOther(key, _two));
        Assert.True(_locks.Table.IsLockedByOther(LockFixture.Bytes("absent"), null));
        Assert.False(_locks.Table.IsLockedByOther(LockFixture.Bytes("b"), null));
    }

    [Fact]
    public void AnOwnerThatWaitsCanDoNothingElse()
    {
        _locks.Take(_one, "a", LockMode.Exclusive);
        Waiter two = _locks.Ask(_two, "a", LockMode.Exclusive);

        Assert.Throws<InvalidOperationException>(() => { _locks.Ask(_two, "b", LockMode.Shared); });
        Assert.Throws<InvalidOperationException>(() => _locks.Table.ReleaseAll(_two));
        Assert.Throws<InvalidOperationException>(() => _two.Renew(9));
        Assert.False(two.IsOver);
    }

    [Fact]
    public void TheBoundOfAllIsKept()
    {
        using LockFixture locks = new(new LockLimits { MaxLocks = 20 });
        for (int i = 0; i < 17; i++)
        {
            locks.Take(_one, $"k{i}", LockMode.Shared);
        }

        locks.Take(_two, "x", LockMode.Shared);
        locks.Take(_two, "y", LockMode.Shared);
        locks.Take(_two, "z", LockMode.Shared);
        LockResult more = locks.Ask(_two, "w", LockMode.Shared).Result;
        Assert.Equal(new LockResult(LockOutcome.LimitExceeded, "txn 2 gets no lock: the store holds as many as it may (20)"), more);
        Assert.Equal(LockOutcome.LimitExceeded, locks.AskRange(_two, "w", "x", LockMode.Shared).Outcome);
        locks.Take(_two, "x", LockMode.Exclusive);

        locks.Table.ReleaseAll(_one);
        locks.Take(_two, "w", LockMode.Shared);
    }

    [Fact]
    public void TheBoundOfAnOwnerIsKeptAndLongKeysCountMore()
    {
        using LockFixture locks = new(new LockLimits { MaxLocksPerOwner = 4 });
        locks.Take(_one, "a", LockMode.Shared);
        locks.Take(_one, new string('b', LockLimits.BytesPerUnit + 1), LockMode.Shared);
        locks.Take(_one, new string('c', LockLimits.BytesPerUnit), LockMode.Shared);

        LockResult more = locks.Ask(_one, "d", LockMode.Shared).Result;
        Assert.Equal(new LockResult(LockOutcome.LimitExceeded, "txn 1 would hold more locks than one owner may (4)"), more);
        locks.Take(_two, "d", LockMode.Shared);
        locks.Table.ReleaseAll(_one);
        locks.Take(_one, "d", LockMode.Shared);
    }

    [Fact]
    public void TheTableIsListed()
    {
        _locks.Take(_one, "quiet", LockMode.Shared);
        _locks.Take(_one, "hot", LockMode.Exclusive);
        _locks.TakeRange(_two, "x", "", LockMode.Shared);
        Waiter three = _locks.Ask(_three, "hot", LockMode.Shared);

        string[] lines = [.. _locks.Table.Describe(10).Select(static l =>
            $"{l.OwnerId} {l.Owner}: {(l.IsRange ? "range " : "")}{Text(l.From)}-{Text(l.To)} {l.Mode}{(l.IsWaiting ? " waits" : "")}")];
        Assert.Equal(
            ["2 txn 2: range x- Shared", "1 txn 1: hot- Exclusive", "3 txn 3: hot- Shared waits", "1 txn 1: quiet- Shared"], lines);
        Assert.Equal(2, _locks.Table.Describe(2).Count);
        Assert.Equal(new LockFigures(Held: 3, Ranges: 1, Waiting: 1, Waits: 1, Deadlocks: 0, TimedOut: 0), _locks.Table.Figures);
        Assert.False(three.IsOver);
    }

    [Fact]
    public void ClosingEndsAllWaits()
    {
        _locks.Take(_one, "a", LockMode.Exclusive);
        Waiter two = _locks.Ask(_two, "a", LockMode.Exclusive);
        Waiter three = _locks.AskRange(_three, "", "", LockMode.Exclusive);

        _locks.Table.Dispose();
        Assert.Equal("the wait of txn 2 for key \"a\" (exclusive) was ended: the store is closing", two.Result.Detail);
        Assert.Equal("the wait of txn 3 for range [start, end) (exclusive) was ended: the store is closing", three.Result.Detail);
        Assert.Equal("txn 4 gets no lock: the store is closing", _locks.Ask(_four, "b", LockMode.Shared).Result.Detail);
        _locks.Table.ReleaseAll(_one);
    }

    [Fact]
    public void AThreadWaitsAndIsWoken()
    {
        _locks.Take(_one, "a", LockMode.Exclusive);
        LockResult result = new(LockOutcome.Aborted, null);
        Thread thread = new(() => result = _locks.Table.Acquire(_two, LockFixture.Bytes("a"), LockMode.Exclusive, LockFixture.Forever));
        thread.Start();
        SpinWait.SpinUntil(() => _locks.Table.Figures.Waiting == 1);
        _locks.Table.ReleaseAll(_one);

        Assert.True(thread.Join(TimeSpan.FromSeconds(60)));
        Assert.Equal(default, result);
        Assert.Equal(1, _two.Held);
    }

    [Fact]
    public void AnUncontendedLockAllocatesNothing()
    {
        byte[][] keys = [.. Enumerable.Range(0, 32).Select(i => LockFixture.Bytes($"account-{i:000000}"))];
        void Round()
        {
            foreach (byte[] key in keys)
            {
                _locks.Table.Acquire(_one, key, LockMode.Shared, LockFixture.Forever);
                _locks.Table.Acquire(_one, key, LockMode.Exclusive, LockFixture.Forever);
            }

            _locks.Table.ReleaseAll(_one);
        }

        Round();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
        {
            Round();
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private static string Text(ReadOnlyMemory<byte> bytes) => System.Text.Encoding.UTF8.GetString(bytes.Span);
}
