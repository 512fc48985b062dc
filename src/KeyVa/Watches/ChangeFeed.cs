using KeyVa.Partitions;

namespace KeyVa.Watches;

/// <summary>
/// The partitions of a store and, while somebody may watch, the log of each one's changes: from the first watch on, or always.
/// </summary>
/// <remarks>
/// Thread-safe. The gate makes beginning and ceasing to follow, and the coming and going of partitions, one after the other; it is
/// taken before any lock. Invariant: while the feed follows, every open partition has a log, which holds all changes above its floor.
/// </remarks>
internal sealed class ChangeFeed(WatchHub hub, VersionOracle oracle, ChangeMemory memory, bool always) : IDisposable
{
    private readonly SemaphoreSlim _gate = new(1);

    // Under the gate.
    private bool _isFollowing = always;

    // Under the lock.
    private readonly Lock _lock = new();
    private readonly List<Partition> _partitions = [];
    private long _durable;

    // Shared: volatile.
    private ChangeLog[] _logs = [];
    private long _changedAt;

    /// <summary>The newest version when partitions, or their indexes, were last added or removed: what was removed then had changes at or below it.</summary>
    public long ChangedAt
    {
        get => Volatile.Read(ref _changedAt);
        set => Volatile.Write(ref _changedAt, value);
    }

    public ChangeLog[] Logs => Volatile.Read(ref _logs);

    /// <summary>
    /// The newest version that a restart will know; the largest number where nothing is durable. One that was only handed out may be
    /// given to another write then.
    /// </summary>
    public long Durable
    {
        get
        {
            lock (_lock)
            {
                bool nothing = true;
                foreach (Partition partition in _partitions)
                {
                    if (!partition.Definition.IsVolatile)
                    {
                        nothing = false;
                        _durable = Math.Max(_durable, partition.Engine.VisibleVersion);
                    }
                }

                return nothing ? long.MaxValue : _durable;
            }
        }
    }

    /// <summary>A partition is there; nothing was written to it yet since its engine was opened.</summary>
    public void Opened(Partition partition, bool isNew)
    {
        _gate.Wait();
        try
        {
            lock (_lock)
            {
                _partitions.Add(partition);
            }

            if (_isFollowing)
            {
                var log = new ChangeLog(partition, hub, memory);
                log.RaiseFloor(isNew ? oracle.LastVersion : partition.Engine.VisibleVersion);
                partition.Writer.State.Follow(log);
                Publish([.. _logs, log]);
            }
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>A partition was removed: nothing is written to it any more, and the map does not have it.</summary>
    public void Removed(Partition partition)
    {
        _gate.Wait();
        try
        {
            lock (_lock)
            {
                _partitions.Remove(partition);
            }

            hub.EndOverlapping(partition.Range, new RefusedException(Status.BadNode, Refusals.Gone(partition.Id, Status.BadNode).Detail!));
            if (Array.Find(_logs, log => log.Partition == partition) is { } removed)
            {
                Publish([.. _logs.Where(log => log != removed)]);
                hub.Forget(removed);
                memory.Remove(removed);
            }
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>
    /// Follows every partition, if that is not so yet. For a watch that asks for previous values it ends when each writer of its keys has seen
    /// that: groups that were begun before are not told of.
    /// </summary>
    public async ValueTask FollowAsync(WatchTarget target, CancellationToken cancellation)
    {
        await _gate.WaitAsync(cancellation).ConfigureAwait(false);
        try
        {
            if (!_isFollowing)
            {
                ChangeLog[] logs = [.. PartitionsOf(KeyRange.All).Select(partition => new ChangeLog(partition, hub, memory))];
                foreach (ChangeLog log in logs)
                {
                    await VisitAsync(log.Partition, writer =>
                    {
                        writer.State.Follow(log);
                        log.RaiseFloor(writer.Engine.VisibleVersion);
                    }).ConfigureAwait(false);
                }

                Publish(logs);
                _isFollowing = true;
            }

            if (target.PreviousValues)
            {
                foreach (Partition partition in PartitionsOf(target.Range))
                {
                    await VisitAsync(partition, static _ => { }).ConfigureAwait(false);
                }
            }
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Nobody has watched for a while, and nobody does by now: writers copy no more, and what they copied goes.</summary>
    public async Task CeaseAsync(Func<bool> isUnused)
    {
        await _gate.WaitAsync().ConfigureAwait(false);
        try
        {
            if (!_isFollowing || !isUnused())
            {
                return;
            }

            _isFollowing = false;
            ChangeLog[] logs = _logs;
            Publish([]);
            foreach (ChangeLog log in logs)
            {
                await VisitAsync(log.Partition, writer => writer.State.Unfollow(log)).ConfigureAwait(false);
                memory.Remove(log);
            }
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>No partition comes or goes any more, and nobody watches.</summary>
    public void Dispose() => _gate.Dispose();

    /// <summary>Ends when the partition's writer has done this in its turn.</summary>
    private static Task VisitAsync(Partition partition, Action<PartitionWriter> visit)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        partition.Writer.Enter(new ExclusiveAction(writer =>
        {
            visit(writer);
            done.SetResult();
        }));
        return done.Task;
    }

    private Partition[] PartitionsOf(KeyRange range)
    {
        lock (_lock)
        {
            return [.. _partitions.Where(partition => partition.Range.Overlaps(range))];
        }
    }

    /// <summary>Gate held: these are the logs from here on.</summary>
    private void Publish(ChangeLog[] logs)
    {
        foreach (ChangeLog log in logs.Except(_logs))
        {
            memory.Add(log);
        }

        Volatile.Write(ref _logs, logs);
        hub.Merge(logs);
    }
}
