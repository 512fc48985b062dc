using KeyVa.Merges;
using KeyVa.Server.Identity;

namespace KeyVa.Server;

/// <summary>
/// A whole transaction of one request: conditions on keys, what to do if all of them hold, and what otherwise. Built by one
/// thread, run once; dispose it.
/// </summary>
/// <param name="functions">The merge functions that may be named.</param>
internal sealed class OneShot(MergeRegistry functions) : IDisposable
{
    private readonly List<(ReadOnlyMemory<byte> Key, Condition Condition)> _conditions = [];
    private readonly Branch _then = new();
    private readonly Branch _otherwise = new();

    public MergeRegistry Functions => functions;

    /// <summary>Adds a condition.</summary>
    public void When(ReadOnlyMemory<byte> key, Condition condition) => _conditions.Add((key, condition));

    /// <summary>What to do if the conditions hold, or if one of them does not.</summary>
    public Branch Of(bool then) => then ? _then : _otherwise;

    /// <summary>Whether rights allow everything in it, whichever branch is taken.</summary>
    public bool IsAllowed(Rights rights) =>
        rights.Everywhere >= Level.Write
        || (_conditions.TrueForAll(one => rights.Allows(Level.Read, one.Key.Span)) && _then.IsAllowed(rights) && _otherwise.IsAllowed(rights));

    /// <summary>Runs it, serializable, again and again if it meets others. Not cancelled: it is on its way.</summary>
    public async Task<OneShotResult> RunAsync(Store store)
    {
        bool succeeded = false;
        WriteResult? refusal = null;
        List<(ReadOnlyMemory<byte> Key, Record? Record)> records = [];
        CommitResult commit = await store.TransactAsync(async transaction =>
        {
            (succeeded, refusal) = (true, null);
            records.Clear();
            foreach ((ReadOnlyMemory<byte> key, Condition condition) in _conditions)
            {
                WriteResult check = await transaction.CheckAsync(key, condition, CancellationToken.None);
                succeeded &= check.IsOk;
                if (!check.IsOk && check.Status != Status.ConditionFailed)
                {
                    refusal = GiveUp(transaction, check with { FailedOperation = -1 });
                    return;
                }
            }

            if (await Of(succeeded).RunAsync(transaction, records) is { } refused)
            {
                refusal = GiveUp(transaction, refused);
            }
        });
        return new OneShotResult(commit, refusal, succeeded, records);
    }

    public void Dispose()
    {
        _then.Dispose();
        _otherwise.Dispose();
    }

    /// <summary>Null if another attempt may do better, or the transaction was ended: the commit tells how.</summary>
    private static WriteResult? GiveUp(Transaction transaction, in WriteResult refused)
    {
        if (refused.Status is Status.Deadlock or Status.LockTimeout or Status.Expired)
        {
            return null;
        }

        transaction.Rollback();
        return refused;
    }

    /// <summary>Gets and writes, in order.</summary>
    internal sealed class Branch : IDisposable
    {
        private readonly List<(ReadOnlyMemory<byte> Key, WriteBatch? Writes, int First)> _steps = [];
        private int _count;

        /// <summary>Keys it reads.</summary>
        public int Gets { get; private set; }

        /// <summary>Adds the reading of a key.</summary>
        public void Get(ReadOnlyMemory<byte> key)
        {
            _steps.Add((key, null, _count++));
            Gets++;
        }

        /// <summary>Where the next write goes: those that stand together are one batch.</summary>
        public WriteBatch Write()
        {
            if (_steps.Count == 0 || _steps[^1].Writes is null)
            {
                _steps.Add((default, new WriteBatch(), _count));
            }

            _count++;
            return _steps[^1].Writes!;
        }

        /// <summary>Whether rights allow every step.</summary>
        public bool IsAllowed(Rights rights) =>
            _steps.TrueForAll(step => step.Writes is { } writes ? KeyChecks.All(writes, rights) : rights.Allows(Level.Read, step.Key.Span));

        /// <summary>Does it; the refusal of a step, with its number, or null.</summary>
        public async ValueTask<WriteResult?> RunAsync(Transaction transaction, List<(ReadOnlyMemory<byte> Key, Record? Record)> records)
        {
            foreach ((ReadOnlyMemory<byte> key, WriteBatch? writes, int first) in _steps)
            {
                if (writes is not null)
                {
                    WriteResult written = await transaction.WriteAsync(writes);
                    if (!written.IsOk)
                    {
                        return written with { FailedOperation = first + Math.Max(0, written.FailedOperation) };
                    }

                    continue;
                }

                ReadResult read = await transaction.GetAsync(key);
                if (read.Status > Status.NotFound)
                {
                    return new WriteResult { Status = read.Status, Detail = read.Detail, FailedOperation = first };
                }

                records.Add((key, read.Found ? read.Record : null));
            }

            return null;
        }

        public void Dispose()
        {
            foreach ((_, WriteBatch? writes, _) in _steps)
            {
                writes?.Dispose();
            }
        }
    }
}

/// <summary>How a <see cref="OneShot"/> ended: by a commit, or before it with the refusal of a step.</summary>
internal readonly record struct OneShotResult(
    CommitResult Commit, WriteResult? Refusal, bool Succeeded, List<(ReadOnlyMemory<byte> Key, Record? Record)> Records);
