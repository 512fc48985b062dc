using KeyVa.Cluster.Driver;
using KeyVa.Commits;
using KeyVa.Partitions;

namespace KeyVa.Cluster.Commits;

/// <summary>
/// What a node has to do with commits over several partitions: those that its callers want, those that are to be ended since others have died, and partitions that are to
/// reach a version. Each step is an entry of a partition's log and takes the way of a write: to whoever leads the partition, and back when it is applied here.
/// </summary>
/// <remarks>
/// Thread-safety: <see cref="CommitAsync"/> and <see cref="ReachAsync"/> any thread; the rest is the driver's loop's. Steps are handed over through the loop's inbox, never within
/// a replica's own work.
/// </remarks>
internal sealed class CommitTraffic
{
    /// <summary>Beyond the time that steps may take: for clocks that differ.</summary>
    private const long ClockAllowance = 60_000;

    private readonly ClusterDriver _driver;
    private readonly CommitRecovery _recovery;

    // Decided here, and not everywhere yet; with the time at which the caller is told nevertheless.
    private readonly List<(DistributedCommit Commit, long Deadline)> _finishing = [];

    // By partition: the version that is being reached, and who waits for it.
    private readonly Dictionary<long, (long Version, List<Action<WriteResult>> Waiters)> _reaching = [];

    public CommitTraffic(ClusterDriver driver)
    {
        _driver = driver;
        _recovery = new CommitRecovery(this, driver.Options);
    }

    /// <summary>The store's versions and its clock; set while opening.</summary>
    public VersionOracle? Oracle { get; set; }

    public bool Has(DriverDefects defect) => _driver.Options.Has(defect);

    public Task<WriteResult> CommitAsync(CommandBuilder command, IReadOnlyList<CommitPart> parts)
    {
        var ended = new TaskCompletionSource<WriteResult>(TaskCreationOptions.RunContinuationsAsynchronously);
        Commit(command, parts, ended.SetResult);
        return ended.Task;
    }

    /// <summary>As <see cref="CommitAsync"/>; <paramref name="done"/> is called on the loop. Any thread.</summary>
    public void Commit(CommandBuilder command, IReadOnlyList<CommitPart> parts, Action<WriteResult> done)
    {
        // Now: a caller that waits no longer may fill the command anew before the loop looks.
        int operations = command.Count;
        bool tellsRemoved = command.HasRemovals && command.Count > 1;
        _driver.Post(() =>
        {
            long deadline = Oracle!.Now() + (2 * _driver.Options.RequestTimeout) + ClockAllowance;
            new DistributedCommit(this, new TransactionId(_driver.Options.Node, _driver.NextNumber()), deadline, operations, tellsRemoved, parts, done).Begin();
        });
    }

    public Task<WriteResult> ReachAsync(long partition, long version)
    {
        var reached = new TaskCompletionSource<WriteResult>(TaskCreationOptions.RunContinuationsAsynchronously);
        Reach(partition, version, reached.SetResult);
        return reached.Task;
    }

    /// <summary>As <see cref="ReachAsync"/>; <paramref name="done"/> is called on the loop. Any thread. Those that want no more than is under way share it.</summary>
    public void Reach(long partition, long version, Action<WriteResult> done) => _driver.Post(partition, (replica, _) =>
    {
        if (replica.Writer.Engine.VisibleVersion >= version)
        {
            done(new WriteResult { Status = Status.Ok, FailedOperation = -1 });
        }
        else if (_reaching.TryGetValue(partition, out (long Version, List<Action<WriteResult>> Waiters) under) && under.Version >= version)
        {
            under.Waiters.Add(done);
        }
        else
        {
            List<Action<WriteResult>> waiters = [done];
            _reaching[partition] = (version, waiters);
            Submit(partition, CommitStep.Close(version), default, result =>
            {
                if (_reaching.GetValueOrDefault(partition).Waiters == waiters)
                {
                    _reaching.Remove(partition);
                }

                // Nothing was to be done, so there is nothing that may be done yet.
                WriteResult told = result.Status == Status.Unknown ? ReplicaRefusals.Unavailable(partition) : result;
                foreach (Action<WriteResult> waiter in waiters)
                {
                    waiter(told);
                }
            });
        }
    });

    /// <summary>For a defect: what this node's copy of the first partition shows of a decision; 0: nothing.</summary>
    internal long DecisionSeen(PreparedPart part) => _driver.Replicas[part.First].Writer.Engine.Commits.Decisions.GetValueOrDefault(part.Id)?.Version ?? 0;

    /// <summary>Has a step done in a partition. <paramref name="done"/> follows, on the loop and outside any replica's work.</summary>
    public void Submit(long partition, CommitStep step, ReadOnlySpan<byte> operations, Action<WriteResult> done)
    {
        var request = new StepRequest(step, operations, result => _driver.Post(() => done(result)));
        _driver.Post(partition, (replica, now) => replica.Submit(request, now));
    }

    /// <summary>Whether the cluster has a partition. What is prepared and decided may name others: where the state is a copy of a partition of another cluster, or of one before.</summary>
    public bool Has(long partition) => _driver.Replicas.ContainsKey(partition);

    /// <summary>The loop's: a commit that was decided is to be ended once all partitions have it; at once if the node stops, and nobody will look any more.</summary>
    public void Await(DistributedCommit commit)
    {
        if (_driver.IsStopping)
        {
            commit.TryEnd(static _ => 0, isLate: true);
            return;
        }

        _finishing.Add((commit, _driver.Now + _driver.Options.RequestTimeout));
    }

    /// <summary>The loop's: looks after what callers wait for, and what this node leads; when to come again at the latest.</summary>
    public long Run(long now)
    {
        long next = long.MaxValue;
        for (int i = 0; i < _finishing.Count; i++)
        {
            (DistributedCommit commit, long deadline) = _finishing[i];
            if (commit.TryEnd(partition => _driver.Replicas[partition].Writer.Engine.VisibleVersion, now >= deadline))
            {
                _finishing.RemoveAt(i--);
            }
            else
            {
                next = Math.Min(next, deadline);
            }
        }

        return Math.Min(next, _recovery.Run(_driver.Replicas.Values, now));
    }

    /// <summary>The loop's: the node stops. Who waits hears what was decided.</summary>
    public void End()
    {
        foreach ((DistributedCommit commit, _) in _finishing)
        {
            commit.TryEnd(static _ => 0, isLate: true);
        }

        _finishing.Clear();
    }
}
