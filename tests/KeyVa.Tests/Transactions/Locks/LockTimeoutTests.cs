using KeyVa.Transactions.Locks;
using Xunit;

namespace KeyVa.Tests.Transactions.Locks;

/// <summary>Waits that end because their time has passed, and what they say.</summary>
public sealed class LockTimeoutTests : IDisposable
{
    private readonly LockFixture _locks = new();
    private readonly LockOwner[] _owners = [.. Enumerable.Range(0, 10).Select(static i => new LockOwner(i))];

    public void Dispose() => _locks.Dispose();

    [Fact]
    public void EachWaitEndsAtItsOwnTime()
    {
        _locks.Take(_owners[1], "a", LockMode.Exclusive);
        Waiter slow = _locks.Ask(_owners[2], "a", LockMode.Shared, TimeSpan.FromSeconds(3));
        Waiter quick = _locks.Ask(_owners[3], "a", LockMode.Shared, TimeSpan.FromMilliseconds(1500));
        Waiter patient = _locks.Ask(_owners[4], "a", LockMode.Shared);
        Assert.Equal(1, _locks.Time.Armed);

        _locks.Time.Advance(TimeSpan.FromMilliseconds(1499));
        Assert.False(quick.IsOver);
        _locks.Time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.Equal("txn 3 waited 1500 ms for key \"a\" (shared), held by txn 1 (exclusive)", quick.Result.Detail);
        Assert.Equal(LockOutcome.TimedOut, quick.Outcome);
        Assert.False(slow.IsOver);

        _locks.Time.Advance(TimeSpan.FromMilliseconds(1500));
        Assert.Equal(LockOutcome.TimedOut, slow.Outcome);
        Assert.Equal(0, _locks.Time.Armed);
        _locks.Time.Advance(TimeSpan.FromDays(1000));
        Assert.False(patient.IsOver);
        _locks.Table.ReleaseAll(_owners[1]);
        Assert.True(patient.Result.IsGranted);
        Assert.Equal(2, _locks.Table.Figures.TimedOut);
    }

    [Fact]
    public void ATimerThatFindsNothingDueIsSetForTheNext()
    {
        _locks.Take(_owners[1], "a", LockMode.Exclusive);
        Waiter first = _locks.Ask(_owners[2], "a", LockMode.Exclusive, TimeSpan.FromSeconds(1));
        _locks.Table.ReleaseAll(_owners[1]);
        Assert.True(first.Result.IsGranted);
        _locks.Time.Advance(TimeSpan.FromMilliseconds(600));
        Waiter second = _locks.Ask(_owners[3], "a", LockMode.Exclusive, TimeSpan.FromSeconds(1));

        _locks.Time.Advance(TimeSpan.FromMilliseconds(400));
        Assert.False(second.IsOver);
        _locks.Time.Advance(TimeSpan.FromMilliseconds(600));
        Assert.Equal(LockOutcome.TimedOut, second.Outcome);
    }

    [Fact]
    public void AnExclusiveWaitThatTimesOutLetsOthersPass()
    {
        _locks.Take(_owners[1], "a", LockMode.Shared);
        Waiter exclusive = _locks.Ask(_owners[2], "a", LockMode.Exclusive, TimeSpan.FromSeconds(1));
        Waiter shared = _locks.Ask(_owners[3], "a", LockMode.Shared, TimeSpan.FromSeconds(1));

        // Both are due, but the one behind is granted when the one before gives up.
        _locks.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(LockOutcome.TimedOut, exclusive.Outcome);
        Assert.True(shared.Result.IsGranted);
    }

    [Fact]
    public void ARequestWithoutTimeSaysWhoHoldsTheLock()
    {
        for (int i = 1; i <= 5; i++)
        {
            _locks.Take(_owners[i], "a", LockMode.Shared);
        }

        Assert.Equal(
            "txn 6 did not get key \"a\" (exclusive), held by txn 1 (shared) and txn 2 (shared) and txn 3 (shared) and 2 more",
            _locks.Table.TryAcquire(_owners[6], LockFixture.Bytes("a"), LockMode.Exclusive).Detail);
        Waiter waits = _locks.Ask(_owners[6], "a", LockMode.Exclusive);
        Assert.Equal(
            "txn 7 did not get key \"a\" (shared), asked for before by txn 6 (exclusive)",
            _locks.Table.TryAcquire(_owners[7], LockFixture.Bytes("a"), LockMode.Shared).Detail);
        Assert.False(waits.IsOver);
    }

    [Fact]
    public void KeysInTextsAreEscapedAndCut()
    {
        _locks.Take(_owners[1], "\0\"\\ é" + new string('k', 100), LockMode.Exclusive);

        Assert.Equal(
            "txn 2 did not get key \"\\x00\\x22\\x5c é" + new string('k', 58) + "\"... (shared), held by txn 1 (exclusive)",
            _locks.Ask(_owners[2], "\0\"\\ é" + new string('k', 100), LockMode.Shared, TimeSpan.Zero).Result.Detail);
        Assert.Equal(
            "txn 2 did not get range [\"\\x00\", end) (shared), held by txn 1 (exclusive)",
            _locks.AskRange(_owners[2], "\0", "", LockMode.Shared, TimeSpan.Zero).Result.Detail);
    }

    [Fact]
    public void ANegativeTimeIsRefused() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => { _locks.Ask(_owners[1], "a", LockMode.Shared, TimeSpan.FromTicks(-1)); });
}
