using System.Text;
using KeyVa.Transactions.Locks;
using Xunit;

namespace KeyVa.Tests.Transactions.Locks;

/// <summary>A lock table under a clock that the test moves. Requests wait asynchronously, so one thread plays all owners.</summary>
internal sealed class LockFixture : IDisposable
{
    public static readonly TimeSpan Forever = Timeout.InfiniteTimeSpan;

    public LockFixture(LockLimits? limits = null) => Table = new LockTable(Time, limits ?? new LockLimits());

    public SteppedTime Time { get; } = new();

    public LockTable Table { get; }

    public static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    public Waiter Ask(LockOwner owner, string key, LockMode mode, TimeSpan? timeout = null) =>
        new(Table.AcquireAsync(owner, Bytes(key), mode, timeout ?? Forever));

    public Waiter AskRange(LockOwner owner, string from, string to, LockMode mode, TimeSpan? timeout = null) =>
        new(Table.AcquireRangeAsync(owner, Bytes(from), Bytes(to), mode, timeout ?? Forever));

    /// <summary>Takes a lock that must be free.</summary>
    public void Take(LockOwner owner, string key, LockMode mode) => Assert.Equal(default, Ask(owner, key, mode).Result);

    /// <summary>Takes a range that must be free.</summary>
    public void TakeRange(LockOwner owner, string from, string to, LockMode mode) =>
        Assert.Equal(default, AskRange(owner, from, to, mode).Result);

    public void Dispose() => Table.Dispose();
}

/// <summary>A request under way.</summary>
internal sealed class Waiter(ValueTask<LockResult> task)
{
    private LockResult? _result;

    public bool IsOver => _result is not null || task.IsCompleted;

    public LockResult Result
    {
        get
        {
            Assert.True(IsOver, "the request still waits");
            return _result ??= task.GetAwaiter().GetResult();
        }
    }

    public LockOutcome Outcome => Result.Outcome;
}

/// <summary>An owner that costs what the test says.</summary>
internal sealed class PricedOwner(long id, long cost) : LockOwner(id)
{
    public override long Cost => cost;
}
