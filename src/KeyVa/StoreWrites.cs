using System.Diagnostics;
using KeyVa.Indexes;
using KeyVa.Log;
using KeyVa.Measurements;
using KeyVa.Partitions;
using KeyVa.Sessions;
using KeyVa.Transactions;
using KeyVa.Transactions.Locks;

namespace KeyVa;

/// <summary>
/// How a <see cref="Store"/> writes: refuses what breaks a rule before anything happens, finds the partition, hands the
/// command to its writer (to the writers of several: <see cref="CrossPartitionCommit"/>), counts and times. Thread-safe. A
/// part of its store: a struct, so that a write pays no indirection.
/// </summary>
internal readonly struct StoreWrites
{
    private readonly PartitionRegistry _registry;
    private readonly Journal _journal;
    private readonly StoreContext _context;
    private readonly UniqueGuard _guard;
    private readonly StoreCounters _counters;
    private readonly LatencyHistogram _latency;
    private readonly int _sampleMask;

    public StoreWrites(PartitionRegistry registry, Journal journal, StoreContext context, UniqueGuard guard, StoreCounters counters, LatencyHistogram latency)
    {
        _registry = registry;
        _journal = journal;
        _context = context;
        _guard = guard;
        _counters = counters;
        _latency = latency;
        _sampleMask = context.Options.Durability == Durability.Always ? 0 : Store.SampleMask;
    }

    /// <summary>Writes a command of one key and waits for it.</summary>
    public WriteResult Write(SyncWriteRequest request, ReadOnlySpan<byte> key, CommandBuilder command)
    {
        if (Refuse(command, out WriteResult refusal))
        {
            return refusal;
        }

        if (_context.HeldLocks is { } locks)
        {
            return WriteLocked(locks, command);
        }

        if (_guard.IsNeeded)
        {
            return WriteGuarded(command);
        }

        Partition? partition = _registry.Map.Find(key);
        return partition is null ? Count(command, Refusals.BadNode(0)) : Write(request, partition, command);
    }

    /// <summary>Writes a command, in one partition or across several, and waits for it.</summary>
    public WriteResult Write(CommandBuilder command)
    {
        if (Refuse(command, out WriteResult refusal))
        {
            return refusal;
        }

        return _context.HeldLocks is { } locks ? WriteLocked(locks, command) : WriteUnlocked(command);
    }

    private WriteResult WriteUnlocked(CommandBuilder command) => _guard.IsNeeded ? WriteGuarded(command) : WriteNow(command);

    private WriteResult WriteGuarded(CommandBuilder command)
    {
        using UniquePermit permit = _guard.EnterAsync(command).AsTask().GetAwaiter().GetResult();
        return permit.Refusal is { } refusal ? Count(command, refusal) : WriteNow(command);
    }

    private WriteResult WriteNow(CommandBuilder command)
    {
        PartitionMap map = _registry.Map;
        return map.OwnerOfAll(command) is { } owner
            ? Write(SyncWriteRequest.ForThisThread, owner, command)
            : Count(command, CrossPartitionCommit.Run(command, map, _journal, _context).GetAwaiter().GetResult());
    }

    /// <summary>Begins to write a command of one key; the request, rented, goes back by itself.</summary>
    public ValueTask<WriteResult> WriteAsync(AsyncWriteRequest request, ReadOnlySpan<byte> key, CommandBuilder command, CancellationToken cancellation)
    {
        if (Refuse(command, out WriteResult refusal))
        {
            request.Return();
            return ValueTask.FromResult(refusal);
        }

        if (_context.HeldLocks is { } locks)
        {
            _context.NoteDetour();
            return WriteLocked(locks, request, command);
        }

        if (_guard.IsNeeded)
        {
            _context.NoteDetour();
            return new ValueTask<WriteResult>(WriteGuardedAsync(request, command).WaitAsync(cancellation));
        }

        Partition? partition = _registry.Map.Find(key);
        if (partition is null)
        {
            refusal = Count(command, Refusals.BadNode(0));
            request.Return();
            return ValueTask.FromResult(refusal);
        }

        return Start(request, partition, command, cancellation);
    }

    /// <summary>Begins to write a command, in one partition or across several.</summary>
    public ValueTask<WriteResult> WriteAsync(CommandBuilder command, CancellationToken cancellation)
    {
        if (Refuse(command, out WriteResult refusal))
        {
            return ValueTask.FromResult(refusal);
        }

        if (_context.HeldLocks is { } locks)
        {
            _context.NoteDetour();
            return WriteLocked(locks, null, command);
        }

        if (_guard.IsNeeded)
        {
            _context.NoteDetour();
            return new ValueTask<WriteResult>(WriteGuardedAsync(null, command).WaitAsync(cancellation));
        }

        PartitionMap map = _registry.Map;
        if (map.OwnerOfAll(command) is { } owner)
        {
            return Start(AsyncWriteRequest.Rent(), owner, command, cancellation);
        }

        _context.NoteDetour();
        return new ValueTask<WriteResult>(CommitAcross(command, map, cancellation));
    }

    /// <summary>Opens a session in every partition; otherwise than Ok if that failed in one.</summary>
    public async Task<WriteResult> OpenSessionAsync(long client)
    {
        var result = new WriteResult { FailedOperation = -1 };
        foreach (Partition partition in _registry.Map.Partitions.ToArray())
        {
            AsyncWriteRequest request = AsyncWriteRequest.Rent();
            request.OwnCommand.Session = new SessionHead(client, 0);
            request.OwnCommand.Acknowledgement = Acknowledgement.Sync;
            result = await Start(request, partition, request.OwnCommand, CancellationToken.None).ConfigureAwait(false);
            if (!result.IsOk)
            {
                return result;
            }
        }

        return result;
    }

    /// <summary>
    /// Transactions hold locks: the write waits for those in its way. Locks come first, and the values of unique indexes are reserved behind
    /// them, as a transaction does that commits with its locks: who has reserved waits for nobody who waits for a lock.
    /// </summary>
    private WriteResult WriteLocked(LockTable locks, CommandBuilder command)
    {
        LockOwner? owner = CommandLocks.Acquire(_context, locks, command, _context.Options.LockTimeout, out WriteResult refusal);
        if (owner is null)
        {
            return Count(command, refusal);
        }

        try
        {
            return WriteUnlocked(command);
        }
        finally
        {
            locks.ReleaseAll(owner);
        }
    }

    // Not cancelled: the locks are held until the write is done.
    private async ValueTask<WriteResult> WriteLocked(LockTable locks, AsyncWriteRequest? request, CommandBuilder command)
    {
        (LockOwner? owner, WriteResult refusal) = await CommandLocks.AcquireAsync(_context, locks, command, _context.Options.LockTimeout).ConfigureAwait(false);
        if (owner is null)
        {
            refusal = Count(command, refusal);
            request?.Return();
            return refusal;
        }

        try
        {
            return await (_guard.IsNeeded ? WriteGuardedAsync(request, command) : WriteNowAsync(request, command)).ConfigureAwait(false);
        }
        finally
        {
            locks.ReleaseAll(owner);
        }
    }

    private bool Refuse(CommandBuilder command, out WriteResult refusal)
    {
        Status status = Refusals.Check(command, _context.Options, out string? detail);
        int operation = command.EmptyRange >= 0 ? command.EmptyRange : command.DuplicateKey;
        if (status == Status.Ok && command.HasMerges)
        {
            status = Refusals.CheckMerges(command, _context, out operation, out detail);
        }

        if (status == Status.Ok)
        {
            status = AcknowledgementRules.Accept(command, _context, out detail);
        }

        if (status == Status.Ok)
        {
            refusal = default;
            return false;
        }

        refusal = Count(command, new WriteResult { Status = status, FailedOperation = operation, Detail = detail });
        return true;
    }

    private WriteResult Write(SyncWriteRequest request, Partition partition, CommandBuilder command)
    {
        if (AcknowledgementRules.IsRefusedBy(command, partition, _context, out WriteResult refusal))
        {
            return Count(command, refusal);
        }

        request.Begin(command);
        bool timed = (_counters.Add(command.HasRemovals ? Counter.Removes : Counter.Sets, command.Count) & _sampleMask) == 0;
        long start = timed ? Stopwatch.GetTimestamp() : 0;
        partition.Writer.Write(request);
        if (timed)
        {
            _latency.RecordSince(start);
        }

        if (request.Result.Status > Status.NotFound)
        {
            _counters.AddRefused(command.HasRemovals ? Counter.Removes : Counter.Sets, command.Count);
        }

        return request.Result;
    }

    /// <summary>Holds what it has reserved until the write is done, whether or not its caller still waits.</summary>
    private async Task<WriteResult> WriteGuardedAsync(AsyncWriteRequest? request, CommandBuilder command)
    {
        using UniquePermit permit = await _guard.EnterAsync(command).ConfigureAwait(false);
        if (permit.Refusal is { } refusal)
        {
            refusal = Count(command, refusal);
            request?.Return();
            return refusal;
        }

        return await WriteNowAsync(request, command).ConfigureAwait(false);
    }

    private async Task<WriteResult> WriteNowAsync(AsyncWriteRequest? request, CommandBuilder command)
    {
        PartitionMap map = _registry.Map;
        if (map.OwnerOfAll(command) is { } owner)
        {
            return await Start(request ?? AsyncWriteRequest.Rent(), owner, command, CancellationToken.None).ConfigureAwait(false);
        }

        WriteResult result = await CommitAcross(command, map, CancellationToken.None).ConfigureAwait(false);
        request?.Return();
        return result;
    }

    private ValueTask<WriteResult> Start(AsyncWriteRequest request, Partition partition, CommandBuilder command, CancellationToken cancellation)
    {
        if (AcknowledgementRules.IsRefusedBy(command, partition, _context, out WriteResult refusal))
        {
            refusal = Count(command, refusal);
            request.Return();
            return ValueTask.FromResult(refusal);
        }

        request.Begin(command, _latency, _counters);
        _counters.Add(command.HasRemovals ? Counter.Removes : Counter.Sets, command.Count);
        var result = new ValueTask<WriteResult>(request, request.Token);
        partition.Writer.WriteAsync(request);
        return cancellation.CanBeCanceled && !result.IsCompleted
            ? new ValueTask<WriteResult>(result.AsTask().WaitAsync(cancellation))
            : result;
    }

    private async Task<WriteResult> CommitAcross(CommandBuilder command, PartitionMap map, CancellationToken cancellation)
    {
        long start = Stopwatch.GetTimestamp();
        WriteResult result = await CrossPartitionCommit.Run(command, map, _journal, _context).WaitAsync(cancellation).ConfigureAwait(false);
        _latency.RecordSince(start);
        return Count(command, result);
    }

    private WriteResult Count(CommandBuilder command, WriteResult result)
    {
        if (result.Status > Status.NotFound)
        {
            _counters.Add(Counter.Refused);
        }
        else
        {
            _counters.Add(command.HasRemovals ? Counter.Removes : Counter.Sets, command.Count);
        }

        return result;
    }
}
