using KeyVa.Cluster.Driver;
using KeyVa.Commits;

namespace KeyVa.Cluster.Commits;

/// <summary>
/// Ends commits over several partitions whose coordinator has died, or does not get through: whoever leads a partition that has been prepared for long asks the first partition what
/// was decided, which decides that the commit does not happen if nothing was; whoever leads a first partition has the others finish what it has decided. Both are done again and
/// again until they succeed, by whoever leads then; done twice they change nothing. Owned by its driver's loop.
/// </summary>
internal sealed class CommitRecovery(CommitTraffic traffic, DriverOptions options)
{
    // When what this node sees in the partitions that it leads is looked after; those that are gone leave at the next look.
    private Dictionary<(long Partition, TransactionId Id), long> _due = [];
    private Dictionary<(long Partition, TransactionId Id), long> _stillDue = [];

    /// <summary>Begins what is due; when to come again at the latest.</summary>
    public long Run(IEnumerable<Replica> replicas, long now)
    {
        long next = long.MaxValue;
        foreach (Replica replica in replicas)
        {
            CommitTable table = replica.Writer.Engine.Commits;
            if (table.IsEmpty || replica.Failure is not null || !replica.IsLeading)
            {
                continue;
            }

            if (table.Prepared is { } part && IsDue(replica.Partition, part.Id, now, ref next))
            {
                Ask(replica.Partition, part);
            }

            foreach ((TransactionId id, Decision decision) in table.Decisions)
            {
                if (decision.Version > 0 && IsDue(replica.Partition, id, now, ref next))
                {
                    FinishOthers(replica.Partition, id, decision);
                }
            }
        }

        _due.Clear();
        (_due, _stillDue) = (_stillDue, _due);
        return next;
    }

    private bool IsDue(long partition, TransactionId id, long now, ref long next)
    {
        long due = _due.GetValueOrDefault((partition, id), now + options.InDoubtAfter);
        bool isDue = now >= due;
        due = isDue ? now + options.InDoubtAfter : due;
        _stillDue[(partition, id)] = due;
        next = Math.Min(next, due);
        return isDue;
    }

    private void Ask(long partition, PreparedPart part)
    {
        if (options.Has(DriverDefects.DropsWithoutDecision))
        {
            traffic.Submit(partition, CommitStep.Finish(part.Id, traffic.DecisionSeen(part)), default, static _ => { });
            return;
        }

        if (!traffic.Has(part.First))
        {
            // A copy from elsewhere, of before the decision: nobody here will ever decide that it happens.
            traffic.Submit(partition, CommitStep.Finish(part.Id, 0), default, static _ => { });
            return;
        }

        traffic.Submit(part.First, CommitStep.Resolve(part.Id, part.Deadline), default, result =>
        {
            if (result.IsOk)
            {
                traffic.Submit(partition, CommitStep.Finish(part.Id, result.Version), default, static _ => { });
            }
        });
    }

    private void FinishOthers(long partition, TransactionId id, Decision decision)
    {
        long[] others = [.. decision.Others.Where(traffic.Has)];
        if (others.Length == 0)
        {
            // A copy from elsewhere, without the other partitions: nobody will ever ask.
            traffic.Submit(partition, CommitStep.Forget(id), default, static _ => { });
            return;
        }

        int left = others.Length;
        bool all = true;
        foreach (long other in others)
        {
            traffic.Submit(other, CommitStep.Finish(id, decision.Version), default, result =>
            {
                all &= result.IsOk;
                if (--left == 0 && all)
                {
                    traffic.Submit(partition, CommitStep.Forget(id), default, static _ => { });
                }
            });
        }
    }
}
