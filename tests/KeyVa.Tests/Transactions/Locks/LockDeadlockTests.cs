using KeyVa.Transactions.Locks;
using Xunit;

namespace KeyVa.Tests.Transactions.Locks;

/// <summary>Owners that wait for each other: each cycle is found, named, and broken at its cheapest.</summary>
public sealed class LockDeadlockTests : IDisposable
{
    private readonly LockFixture _locks = new();
    private readonly LockOwner _one = new(1);
    private readonly LockOwner _two = new(2);
    private readonly LockOwner _three = new(3);

    public void Dispose() => _locks.Dispose();

    public static TheoryData<int, int> Cycles()
    {
        TheoryData<int, int> cycles = [];
        for (int length = 2; length <= 8; length++)
        {
            for (int cheapest = 0; cheapest < length; cheapest++)
            {
                cycles.Add(length, cheapest);
            }
        }

        return cycles;
    }

    [Fact]
    public void TheTextNamesTheCycle()
    {
        _locks.Take(_one, "a", LockMode.Exclusive);
        _locks.Take(_two, "b", LockMode.Shared);
        Waiter one = _locks.Ask(_one, "b", LockMode.Exclusive);
        Waiter two = _locks.Ask(_two, "a", LockMode.Shared);

        Assert.Equal(
            new LockResult(
                LockOutcome.Deadlock,
                "deadlock: txn 2 waits for key \"a\" (shared) held by txn 1, which waits for key \"b\" (exclusive) held by txn 2; "
                    + "txn 2 was ended, since it costs the least"),
            two.Result);
        Assert.False(one.IsOver);
        Assert.Equal(1, _locks.Table.Figures.Deadlocks);
        _locks.Table.ReleaseAll(_two);
        Assert.True(one.Result.IsGranted);
    }

    [Theory]
    [MemberData(nameof(Cycles))]
    public void CyclesOfAnyLengthEndTheirCheapest(int length, int cheapest)
    {
        PricedOwner[] owners = [.. Enumerable.Range(0, length).Select(i => new PricedOwner(i, i == cheapest ? 5 : 9))];
        foreach (PricedOwner owner in owners)
        {
            TakeOwn(owner, length);
        }

        Waiter[] waiters = [.. owners.Select(owner => AskNext(owner, length))];
        for (int i = 0; i < length; i++)
        {
            Assert.Equal(i == cheapest, waiters[i].IsOver);
        }

        Assert.Equal(LockOutcome.Deadlock, waiters[cheapest].Outcome);
        string detail = waiters[cheapest].Result.Detail!;
        Assert.StartsWith($"deadlock: txn {cheapest} waits for ", detail, StringComparison.Ordinal);
        Assert.EndsWith($" held by txn {cheapest}; txn {cheapest} was ended, since it costs the least", detail, StringComparison.Ordinal);
        Assert.Equal(length, detail.Split("waits for").Length - 1);
        for (int i = 0; i < length; i++)
        {
            Assert.Contains($"held by txn {i}", detail, StringComparison.Ordinal);
        }

        // The others end one after the other, from the one that waits for the victim on.
        for (int i = 0; i < length - 1; i++)
        {
            _locks.Table.ReleaseAll(owners[(cheapest - i + length) % length]);
            Assert.True(waiters[(cheapest - i - 1 + length) % length].Result.IsGranted);
        }
    }

    [Fact]
    public void OfThoseThatCostTheSameTheYoungestEnds()
    {
        PricedOwner old = new(10, 5);
        PricedOwner young = new(11, 5);
        _locks.Take(young, "a", LockMode.Exclusive);
        _locks.Take(old, "b", LockMode.Exclusive);
        Waiter first = _locks.Ask(young, "b", LockMode.Exclusive);
        Waiter second = _locks.Ask(old, "a", LockMode.Exclusive);

        Assert.Equal(LockOutcome.Deadlock, first.Outcome);
        Assert.False(second.IsOver);
    }

    [Fact]
    public void TwoUpgradersOfOneKeyAreADeadlock()
    {
        _locks.Take(_one, "a", LockMode.Shared);
        _locks.Take(_two, "a", LockMode.Shared);
        Waiter one = _locks.Ask(_one, "a", LockMode.Exclusive);
        Assert.False(one.IsOver);
        Waiter two = _locks.Ask(_two, "a", LockMode.Exclusive);

        Assert.Equal(
            "deadlock: txn 2 waits for key \"a\" (exclusive) held by txn 1, which waits for key \"a\" (exclusive) held by txn 2; "
                + "txn 2 was ended, since it costs the least",
            two.Result.Detail);
        Assert.False(one.IsOver);
        _locks.Table.ReleaseAll(_two);
        Assert.True(one.Result.IsGranted);
    }

    [Fact]
    public void WaitingBehindAWaiterCountsToo()
    {
        _locks.Take(_one, "a", LockMode.Shared);
        _locks.Take(_three, "b", LockMode.Exclusive);
        Waiter two = _locks.Ask(_two, "a", LockMode.Exclusive);
        Waiter three = _locks.Ask(_three, "a", LockMode.Shared);
        Assert.False(three.IsOver);
        Waiter one = _locks.Ask(_one, "b", LockMode.Shared);

        // Two holds nothing, so it costs least; that lets three have its lock.
        Assert.Equal(
            "deadlock: txn 2 waits for key \"a\" (exclusive) held by txn 1, which waits for key \"b\" (shared) held by txn 3, "
                + "which waits for key \"a\" (shared) asked for before by txn 2; txn 2 was ended, since it costs the least",
            two.Result.Detail);
        Assert.True(three.Result.IsGranted);
        Assert.False(one.IsOver);
    }

    [Fact]
    public void RangesTakePart()
    {
        _locks.TakeRange(_one, "a", "m", LockMode.Exclusive);
        _locks.Take(_two, "x", LockMode.Exclusive);
        Waiter one = _locks.AskRange(_one, "w", "", LockMode.Shared);
        Waiter two = _locks.AskRange(_two, "", "b", LockMode.Shared);

        Assert.Equal(
            "deadlock: txn 2 waits for range [start, \"b\") (shared) held by txn 1, which waits for range [\"w\", end) (shared) held by txn 2; "
                + "txn 2 was ended, since it costs the least",
            two.Result.Detail);
        Assert.False(one.IsOver);
    }

    [Fact]
    public void TwoUpgradersOfOneRangeAreADeadlock()
    {
        _locks.TakeRange(_one, "a", "m", LockMode.Shared);
        _locks.TakeRange(_two, "c", "p", LockMode.Shared);
        Waiter one = _locks.Ask(_one, "d", LockMode.Exclusive);
        Waiter two = _locks.AskRange(_two, "c", "p", LockMode.Exclusive);

        Assert.False(one.IsOver);
        Assert.Equal(LockOutcome.Deadlock, two.Outcome);
        _locks.Table.ReleaseAll(_two);
        Assert.True(one.Result.IsGranted);
    }

    [Fact]
    public void OneRequestMayCloseSeveralCycles()
    {
        LockOwner[] readers = [.. Enumerable.Range(10, 5).Select(static i => new LockOwner(i))];
        PricedOwner writer = new(1, 100);
        _locks.Take(writer, "w", LockMode.Exclusive);
        foreach (LockOwner reader in readers)
        {
            _locks.Take(reader, "r", LockMode.Shared);
        }

        Waiter[] waiters = [.. readers.Select(reader => _locks.Ask(reader, "w", LockMode.Shared))];
        Waiter write = _locks.Ask(writer, "r", LockMode.Exclusive);
        foreach (Waiter waiter in waiters)
        {
            Assert.Equal(LockOutcome.Deadlock, waiter.Outcome);
        }

        Assert.False(write.IsOver);
        foreach (LockOwner reader in readers)
        {
            _locks.Table.ReleaseAll(reader);
        }

        Assert.True(write.Result.IsGranted);
    }

    [Fact]
    public void ALongQueueIsNoCycle()
    {
        LockOwner[] owners = [.. Enumerable.Range(0, 500).Select(static i => new LockOwner(i))];
        _locks.Take(owners[0], "a", LockMode.Exclusive);
        Waiter[] waiters = [.. owners[1..].Select(owner => _locks.Ask(owner, "a", owner.Id % 3 == 0 ? LockMode.Shared : LockMode.Exclusive))];
        Assert.DoesNotContain(waiters, static waiter => waiter.IsOver);

        // The holder closes a cycle over the whole queue.
        _locks.Take(_one, "b", LockMode.Exclusive);
        Waiter last = _locks.Ask(_one, "a", LockMode.Exclusive);
        Waiter closing = _locks.Ask(owners[0], "b", LockMode.Exclusive);
        Assert.Equal(LockOutcome.Deadlock, last.Outcome);
        _locks.Table.ReleaseAll(_one);
        Assert.True(closing.Result.IsGranted);
        for (int i = 1; i < owners.Length; i++)
        {
            _locks.Table.ReleaseAll(owners[i - 1]);
            Assert.True(waiters[i - 1].Result.IsGranted);
        }
    }

    // Even owners hold keys, odd ones ranges; every third waits for a range.
    private void TakeOwn(LockOwner owner, int length)
    {
        if (owner.Id % 2 == 0 || length == 2)
        {
            _locks.Take(owner, $"k{owner.Id}5", LockMode.Exclusive);
        }
        else
        {
            _locks.TakeRange(owner, $"k{owner.Id}", $"k{owner.Id}9", LockMode.Exclusive);
        }
    }

    private Waiter AskNext(LockOwner owner, int length)
    {
        long next = (owner.Id + 1) % length;
        return owner.Id % 3 == 2
            ? _locks.AskRange(owner, $"k{next}4", $"k{next}6", LockMode.Shared)
            : _locks.Ask(owner, $"k{next}5", LockMode.Exclusive);
    }
}
