using System.Diagnostics;

#pragma warning disable CA1822 // the bodies follow
namespace KeyVa.Transactions.Locks;

/// <summary>
/// The locks of one store: on keys and on ranges of keys, shared or exclusive. What waits is served in the order of its
/// arrival; owners that wait for each other in a cycle are found when the cycle closes.
/// </summary>
/// <remarks>
/// <para>An owner holds a key or range once, however often it asks: asking for what it holds (or for what lies in a range that it
/// holds) is granted at once, asking for exclusive what it holds shared is an upgrade, which goes before those that wait
/// for the owner anyway.</para>
/// <para>A request that did not end with <see cref="LockOutcome.Granted"/> changed nothing: the owner holds what it held. After
/// <see cref="LockOutcome.Deadlock"/> it should release them, since others wait for them.</para>
/// <para>Time-outs: zero does not wait, <see cref="Timeout.InfiniteTimeSpan"/> waits for ever. Bounds of ranges: from
/// (inclusive) up to (exclusive); an empty one is open.</para>
/// </remarks>
internal sealed class LockTable : IDisposable
{
    public LockTable(TimeProvider time, LockLimits limits) => throw new UnreachableException();

    /// <summary>
    /// Whether anybody holds a lock or waits for one: one volatile read. It turns true before the first lock is granted.
    /// </summary>
    public bool HasLocks => throw new UnreachableException();

    public LockFigures Figures => throw new UnreachableException();

    /// <summary>Locks a key; waits on the caller's thread.</summary>
    public LockResult Acquire(LockOwner owner, ReadOnlySpan<byte> key, LockMode mode, TimeSpan timeout) => throw new UnreachableException();

    /// <summary>Locks a key; completed when it returns if nobody is in the way. The key is copied. Await it once.</summary>
    public ValueTask<LockResult> AcquireAsync(LockOwner owner, ReadOnlySpan<byte> key, LockMode mode, TimeSpan timeout) => throw new UnreachableException();

    /// <summary>Locks a key if nobody is in the way; otherwise <see cref="LockOutcome.TimedOut"/>.</summary>
    public LockResult TryAcquire(LockOwner owner, ReadOnlySpan<byte> key, LockMode mode) => Acquire(owner, key, mode, TimeSpan.Zero);

    /// <summary>Locks all keys of a range, those that are not there too; waits on the caller's thread.</summary>
    public LockResult AcquireRange(
        LockOwner owner, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, LockMode mode, TimeSpan timeout) => throw new UnreachableException();

    /// <summary>Locks all keys of a range; completed when it returns if nobody is in the way. The bounds are copied. Await it once.</summary>
    public ValueTask<LockResult> AcquireRangeAsync(
        LockOwner owner, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, LockMode mode, TimeSpan timeout) => throw new UnreachableException();

    /// <summary>Locks all keys of a range if nobody is in the way; otherwise <see cref="LockOutcome.TimedOut"/>.</summary>
    public LockResult TryAcquireRange(LockOwner owner, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, LockMode mode) =>
        AcquireRange(owner, from, to, mode, TimeSpan.Zero);

    /// <summary>Releases everything that the owner holds. It must not be waiting.</summary>
    public void ReleaseAll(LockOwner owner) => throw new UnreachableException();

    /// <summary>Releases what the owner took since the mark; what it upgraded since is shared again. It must not be waiting.</summary>
    public void ReleaseTo(LockOwner owner, LockMark mark) => throw new UnreachableException();

    /// <summary>
    /// Ends the owner's wait, if it waits, with <see cref="LockOutcome.Aborted"/>, and all its requests to come (until
    /// <see cref="LockOwner.Renew"/>). It keeps what it holds: releasing is its own to do. At any time, from any thread.
    /// </summary>
    /// <param name="owner">Whose wait ends.</param>
    /// <param name="reason">Goes into the result: "its time limit passed", for example.</param>
    public void Abort(LockOwner owner, string reason) => throw new UnreachableException();

    /// <summary>Whether an owner other than <paramref name="owner"/> holds the key, shared or exclusive, by itself or in a range.</summary>
    public bool IsLockedByOther(ReadOnlySpan<byte> key, LockOwner? owner) => throw new UnreachableException();

    /// <summary>At most <paramref name="most"/> locks and waiting requests, as they are at one moment.</summary>
    public IReadOnlyList<LockDescription> Describe(int most) => throw new UnreachableException();

    /// <summary>Ends all waits with <see cref="LockOutcome.Aborted"/>.</summary>
    public void Dispose() => throw new UnreachableException();
}
