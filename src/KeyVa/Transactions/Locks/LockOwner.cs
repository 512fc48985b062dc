using System.Diagnostics;
using System.Globalization;
using System.Threading.Tasks.Sources;

#pragma warning disable CA1822 // the bodies follow
namespace KeyVa.Transactions.Locks;

/// <summary>A place in the order in which an owner took its locks: what <see cref="LockTable.ReleaseTo"/> goes back to.</summary>
internal readonly record struct LockMark(long Sequence);

/// <summary>
/// Who holds locks: a transaction, or one plain write. It may be used again and again (<see cref="Renew"/>).
/// </summary>
/// <remarks>
/// Thread-safety: one call on the table at a time for an owner, from any thread (the next may begin when the one before has
/// returned or its value task has completed); <see cref="LockTable.Abort"/> alone may come at any time.
/// </remarks>
internal class LockOwner : IValueTaskSource<LockResult>
{
    public LockOwner(long id) => Id = id;

    /// <summary>Rises with the time at which owners begin: of owners that cost the same, the youngest is the victim.</summary>
    public long Id { get; private set; }

    /// <summary>What errors call it.</summary>
    public virtual string Name => string.Create(CultureInfo.InvariantCulture, $"txn {Id}");

    /// <summary>
    /// What is lost if it is ended, in any unit that is the same for all owners: of a deadlock's owners, the one that costs the
    /// least is its victim. Read while the table is locked, from the thread of another owner: it must not wait, nor
    /// call the table.
    /// </summary>
    public virtual long Cost => Held;

    /// <summary>The locks that it holds.</summary>
    public int Held => throw new UnreachableException();

    /// <summary>The place behind the locks that it holds now.</summary>
    public LockMark Mark => throw new UnreachableException();

    /// <summary>Whether <see cref="LockTable.Abort"/> was called for it; from then on it gets no lock.</summary>
    public bool IsAborted => throw new UnreachableException();

    /// <summary>Makes a new owner of one that holds nothing (any more).</summary>
    public void Renew(long id) => throw new UnreachableException();

    LockResult IValueTaskSource<LockResult>.GetResult(short token) => throw new UnreachableException();

    ValueTaskSourceStatus IValueTaskSource<LockResult>.GetStatus(short token) => throw new UnreachableException();

    void IValueTaskSource<LockResult>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) => throw new UnreachableException();
}
