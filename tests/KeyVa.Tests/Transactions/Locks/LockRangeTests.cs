using KeyVa.Transactions.Locks;
using Xunit;

namespace KeyVa.Tests.Transactions.Locks;

/// <summary>Ranges against keys, keys against ranges, ranges against ranges.</summary>
public sealed class LockRangeTests : IDisposable
{
    private readonly LockFixture _locks = new();
    private readonly LockOwner _one = new(1);
    private readonly LockOwner _two = new(2);
    private readonly LockOwner _three = new(3);

    public void Dispose() => _locks.Dispose();

    [Theory]
    [InlineData("b", "d", "a", true)]
    [InlineData("b", "d", "b", false)]
    [InlineData("b", "d", "c", false)]
    [InlineData("b", "d", "czzz", false)]
    [InlineData("b", "d", "d", true)]
    [InlineData("", "d", "", false)]
    [InlineData("", "d", "d", true)]
    [InlineData("b", "", "azzz", true)]
    [InlineData("b", "", "zzzz", false)]
    [InlineData("", "", "anything", false)]
    public void ARangeHoldsItsKeys(string from, string to, string key, bool free)
    {
        _locks.TakeRange(_one, from, to, LockMode.Shared);
        Assert.Equal(free, _locks.Ask(_two, key, LockMode.Exclusive, TimeSpan.Zero).Result.IsGranted);
        _locks.Table.ReleaseAll(_two);
        _locks.Take(_three, key, LockMode.Shared);
        _locks.Table.ReleaseAll(_three);
        _locks.Table.ReleaseAll(_one);

        _locks.Take(_two, key, LockMode.Exclusive);
        Assert.Equal(free, _locks.AskRange(_one, from, to, LockMode.Shared, TimeSpan.Zero).Result.IsGranted);
    }

    [Theory]
    [InlineData("b", "d", "a", "b", true)]
    [InlineData("b", "d", "a", "ba", false)]
    [InlineData("b", "d", "c", "cc", false)]
    [InlineData("b", "d", "d", "e", true)]
    [InlineData("b", "d", "czz", "", false)]
    [InlineData("b", "d", "", "", false)]
    [InlineData("", "b", "b", "", true)]
    [InlineData("", "b", "azz", "", false)]
    public void RangesConflictWhereTheyOverlap(string from, string to, string from2, string to2, bool free)
    {
        _locks.TakeRange(_one, from, to, LockMode.Exclusive);
        Assert.Equal(free, _locks.AskRange(_two, from2, to2, LockMode.Exclusive, TimeSpan.Zero).Result.IsGranted);
        _locks.Table.ReleaseAll(_one);
        _locks.Table.ReleaseAll(_two);

        _locks.TakeRange(_one, from, to, LockMode.Shared);
        _locks.TakeRange(_two, from2, to2, LockMode.Shared);
        _locks.Table.ReleaseAll(_two);
        Assert.Equal(free, _locks.AskRange(_three, from2, to2, LockMode.Exclusive, TimeSpan.Zero).Result.IsGranted);
    }

    [Fact]
    public void KeysAndRangesWaitForEachOtherInOrder()
    {
        _locks.Take(_one, "c", LockMode.Shared);
        Waiter range = _locks.AskRange(_two, "b", "d", LockMode.Exclusive);
        Waiter key = _locks.Ask(_three, "c", LockMode.Shared);

        Assert.False(range.IsOver);
        Assert.False(key.IsOver);
        _locks.Table.ReleaseAll(_one);
        Assert.True(range.Result.IsGranted);
        Assert.False(key.IsOver);
        _locks.Table.ReleaseAll(_two);
        Assert.True(key.Result.IsGranted);
    }

    [Fact]
    public void AStreamOfKeysDoesNotStarveARange()
    {
        _locks.Take(_one, "c", LockMode.Exclusive);
        Waiter range = _locks.AskRange(_two, "b", "d", LockMode.Shared);

        Waiter inside = _locks.Ask(_three, "bb", LockMode.Exclusive);
        _locks.Take(new LockOwner(4), "bc", LockMode.Shared);
        _locks.Take(new LockOwner(5), "d", LockMode.Exclusive);
        Assert.False(inside.IsOver);
        _locks.Table.ReleaseAll(_one);
        Assert.True(range.Result.IsGranted);
        Assert.False(inside.IsOver);
    }

    [Fact]
    public void ARangeThatGivesUpLetsKeysAndRangesPass()
    {
        _locks.Take(_one, "c", LockMode.Shared);
        Waiter range = _locks.AskRange(_two, "b", "e", LockMode.Exclusive, TimeSpan.FromSeconds(1));
        Waiter key = _locks.Ask(_three, "d", LockMode.Exclusive);
        Waiter other = _locks.AskRange(new LockOwner(4), "", "c", LockMode.Exclusive);

        _locks.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal("txn 2 waited 1000 ms for range [\"b\", \"e\") (exclusive), held by txn 1 (shared)", range.Result.Detail);
        Assert.True(key.Result.IsGranted);
        Assert.True(other.Result.IsGranted);
    }

    [Fact]
    public void WhatLiesInARangeOfOnesOwnIsHeld()
    {
        _locks.TakeRange(_one, "b", "f", LockMode.Exclusive);
        _locks.Take(_one, "c", LockMode.Exclusive);
        _locks.TakeRange(_one, "b", "f", LockMode.Shared);
        _locks.TakeRange(_one, "c", "d", LockMode.Exclusive);
        Assert.Equal(1, _one.Held);
        _locks.TakeRange(_one, "b", "", LockMode.Shared);
        _locks.Take(_one, "f", LockMode.Exclusive);
        Assert.Equal(3, _one.Held);
    }

    [Fact]
    public void ARangeIsUpgradedAheadOfThoseWhoWaitForIt()
    {
        _locks.TakeRange(_one, "b", "f", LockMode.Shared);
        Waiter two = _locks.Ask(_two, "c", LockMode.Exclusive);
        Waiter three = _locks.AskRange(_three, "", "", LockMode.Exclusive);

        _locks.Take(_one, "c", LockMode.Exclusive);
        _locks.TakeRange(_one, "b", "f", LockMode.Exclusive);
        Assert.Equal(2, _one.Held);
        _locks.Table.ReleaseAll(_one);
        Assert.True(two.Result.IsGranted);
        Assert.False(three.IsOver);
        _locks.Table.ReleaseAll(_two);
        Assert.True(three.Result.IsGranted);
    }

    [Fact]
    public void ARangeUpgradedSinceASavepointIsSharedAgain()
    {
        _locks.TakeRange(_one, "b", "f", LockMode.Shared);
        LockMark mark = _one.Mark;
        _locks.TakeRange(_one, "b", "f", LockMode.Exclusive);
        Waiter shared = _locks.Ask(_two, "c", LockMode.Shared);
        Waiter range = _locks.AskRange(_three, "c", "", LockMode.Shared);

        _locks.Table.ReleaseTo(_one, mark);
        Assert.True(shared.Result.IsGranted);
        Assert.True(range.Result.IsGranted);
        Assert.Equal(1, _one.Held);
    }

    [Fact]
    public void RangesAreBounded()
    {
        using LockFixture locks = new(new LockLimits { MaxRanges = 1 });
        locks.TakeRange(_one, "a", "b", LockMode.Shared);
        Assert.Equal(
            new LockResult(LockOutcome.LimitExceeded, "txn 2 gets no lock of a range: the store holds as many as it may (1)"),
            locks.AskRange(_two, "c", "d", LockMode.Shared).Result);
        locks.TakeRange(_one, "a", "b", LockMode.Exclusive);
        locks.Take(_two, "c", LockMode.Exclusive);
        Assert.False(locks.Ask(_two, "a", LockMode.Shared, TimeSpan.Zero).Result.IsGranted);
    }

    [Theory]
    [InlineData("b", "b")]
    [InlineData("c", "b")]
    public void ARangeThatHoldsNoKeyIsRefused(string from, string to) =>
        Assert.Throws<ArgumentException>(() => { _locks.AskRange(_one, from, to, LockMode.Shared); });
}
