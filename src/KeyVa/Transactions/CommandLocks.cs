using System.Diagnostics;
using KeyVa.Partitions;
using KeyVa.Transactions.Locks;

namespace KeyVa.Transactions;

/// <summary>
/// The locks of a command that is written while transactions hold locks: a write outside of transactions, or the commit of an
/// optimistic one. It takes exclusive what it writes and shared what it checks, and holds it until it is applied.
/// </summary>
/// <remarks>
/// Where nobody holds a lock it takes none. One that asks just before the first is taken passes by; what the holder of that lock
/// has read is validated when it commits, all the same.
/// </remarks>
internal static class CommandLocks
{
    /// <summary>Takes the locks and waits for them; null with the reason if it did not get them.</summary>
    public static LockOwner? Acquire(StoreContext context, LockTable locks, CommandBuilder command, TimeSpan timeout, out WriteResult refusal)
    {
        var owner = new CommandOwner(context.NextOwner());
        ReadOnlySpan<byte> rest = command.Buffer.Written;
        refusal = default;
        while (OperationEncoding.TryRead(ref rest, out Operation operation))
        {
            if (operation.IsIndexCheck)
            {
                // A stretch of an index is no range of keys: what comes into it is seen when the check is evaluated.
                continue;
            }

            LockMode mode = operation.IsCheck ? LockMode.Shared : LockMode.Exclusive;
            LockResult result = operation.SpansRange
                ? locks.AcquireRange(owner, operation.Key, operation.To, mode, timeout)
                : locks.Acquire(owner, operation.Key, mode, timeout);
            if (!result.IsGranted)
            {
                locks.ReleaseAll(owner);
                refusal = Refused(result);
                return null;
            }
        }

        return owner;
    }

    /// <summary>As <see cref="Acquire"/>, without blocking the thread.</summary>
    public static async ValueTask<(LockOwner? Owner, WriteResult Refusal)> AcquireAsync(StoreContext context, LockTable locks, CommandBuilder command, TimeSpan timeout)
    {
        var owner = new CommandOwner(context.NextOwner());
        int at = 0;
        while (at < command.Buffer.Length)
        {
            LockResult result = await AcquireNext(locks, owner, command, ref at, timeout).ConfigureAwait(false);
            if (!result.IsGranted)
            {
                locks.ReleaseAll(owner);
                return (null, Refused(result));
            }
        }

        return (owner, default);
    }

    private static ValueTask<LockResult> AcquireNext(LockTable locks, LockOwner owner, CommandBuilder command, ref int at, TimeSpan timeout)
    {
        ReadOnlySpan<byte> rest = command.Buffer.Written[at..];
        bool read = OperationEncoding.TryRead(ref rest, out Operation operation);
        Debug.Assert(read, "a command is operations and nothing else");
        at = command.Buffer.Length - rest.Length;
        if (operation.IsIndexCheck)
        {
            return ValueTask.FromResult(new LockResult(LockOutcome.Granted, null));
        }

        LockMode mode = operation.IsCheck ? LockMode.Shared : LockMode.Exclusive;
        return operation.SpansRange
            ? locks.AcquireRangeAsync(owner, operation.Key, operation.To, mode, timeout)
            : locks.AcquireAsync(owner, operation.Key, mode, timeout);
    }

    private static WriteResult Refused(in LockResult result) => new()
    {
        Status = result.Outcome switch
        {
            LockOutcome.TimedOut => Status.LockTimeout,
            LockOutcome.Deadlock => Status.Deadlock,
            LockOutcome.LimitExceeded => Status.TooLarge,
            _ => Status.Failed,
        },
        FailedOperation = -1,
        Detail = result.Detail,
    };

    /// <summary>It has nothing to lose but its place: of a deadlock it is the victim.</summary>
    private sealed class CommandOwner(long id) : LockOwner(id)
    {
        public override string Name => "a write";

        public override long Cost => 0;
    }
}
