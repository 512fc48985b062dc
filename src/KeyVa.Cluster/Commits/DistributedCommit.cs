using System.Diagnostics;
using KeyVa.Commits;
using KeyVa.Partitions;

namespace KeyVa.Cluster.Commits;

/// <summary>
/// Brings one commit over several partitions through their logs (docs/decisions/commits-over-partitions.md): all but the first prepare, the one with the highest number first;
/// then the first decides, and the others finish.
/// </summary>
/// <remarks>
/// <para>Owned by its driver's loop. It may die at any point: what it leaves behind is ended by whoever leads the partitions (<see cref="CommitRecovery"/>).</para>
/// <para>Everybody prepares in the same order, and whoever has prepared in a partition waits for lower numbers alone: so commits never wait for each other in a ring.</para>
/// </remarks>
internal sealed class DistributedCommit
{
    private readonly CommitTraffic _traffic;
    private readonly TransactionId _id;
    private readonly long _deadline;
    private readonly int _operations;
    private readonly bool _tellsRemoved;
    private readonly IReadOnlyList<CommitPart> _parts;
    private readonly WriteResult[] _results;
    private readonly Action<WriteResult> _done;

    // The one that is being prepared; behind it all have.
    private int _preparing;
    private long _floor;
    private long _version;
    private bool _isEnded;

    /// <summary>
    /// <paramref name="operations"/>: of the batch; <paramref name="tellsRemoved"/>: whether its caller hears what each of them has removed. <paramref name="done"/>: hears how it ended, on the
    /// loop. The parts rise by partition.
    /// </summary>
    public DistributedCommit(
        CommitTraffic traffic, TransactionId id, long deadline, int operations, bool tellsRemoved, IReadOnlyList<CommitPart> parts, Action<WriteResult> done)
    {
        Debug.Assert(parts.Count > 1, "one part is an ordinary command");
        _traffic = traffic;
        _id = id;
        _deadline = deadline;
        _operations = operations;
        _tellsRemoved = tellsRemoved;
        _parts = parts;
        _results = new WriteResult[parts.Count];
        _done = done;
        _preparing = parts.Count;
    }

    private long First => _parts[0].Writer.PartitionId;

    public void Begin() => PrepareNext();

    /// <summary>
    /// It was decided that it happens: ends it once all have it here, so that the caller reads here what it wrote here, whoever has finished it. What takes longer than a request
    /// may is finished later; the caller hears what was decided. True: it is ended.
    /// </summary>
    public bool TryEnd(Func<long, long> visibleIn, bool isLate)
    {
        // Nothing goes into a partition between its prepare and its part: what shows that version, has the part.
        bool isEverywhere = true;
        for (int i = 1; i < _parts.Count; i++)
        {
            isEverywhere &= visibleIn(_parts[i].Writer.PartitionId) >= _version;
        }

        if (isEverywhere)
        {
            _traffic.Submit(First, CommitStep.Forget(_id), default, static _ => { });
        }

        if (isEverywhere || isLate)
        {
            End(Committed());
            return true;
        }

        return false;
    }

    private void PrepareNext()
    {
        if (--_preparing == 0)
        {
            long[] others = [.. _parts.Skip(1).Select(static part => part.Writer.PartitionId)];
            _traffic.Submit(First, CommitStep.Decide(_id, _floor, _deadline, others), _parts[0].Command.Written, OnDecided);
            if (_traffic.Has(Driver.DriverDefects.FinishesUndecided))
            {
                SubmitFinish(1, _floor + 1);
            }
        }
        else
        {
            _traffic.Submit(_parts[_preparing].Writer.PartitionId, CommitStep.Prepare(_id, First, _deadline), _parts[_preparing].Command.Written, OnPrepared);
        }
    }

    private void OnPrepared(WriteResult result)
    {
        _results[_preparing] = result;
        if (result.IsOk)
        {
            _floor = Math.Max(_floor, result.Version);
            PrepareNext();
            return;
        }

        // Of this one it may not be known whether it has prepared; it never will be decided that the commit happens.
        SubmitFinish(result.Status == Status.Unknown ? _preparing : _preparing + 1, 0);
        End(result.Status == Status.Unknown ? CommitRefusals.Undecided(_parts[_preparing].Writer.PartitionId) : Refused(result, _preparing));
    }

    private void OnDecided(WriteResult result)
    {
        _results[0] = result;
        if (result.IsOk)
        {
            _version = result.Version;
            SubmitFinish(1, _version);
            _traffic.Await(this);
        }
        else if (result.Status == Status.Unknown)
        {
            // Whoever leads the others asks the first.
            End(CommitRefusals.Unknown(First));
        }
        else
        {
            SubmitFinish(1, 0);
            End(Refused(result, 0));
        }
    }

    private void SubmitFinish(int from, long version)
    {
        for (int i = from; i < _parts.Count; i++)
        {
            _traffic.Submit(_parts[i].Writer.PartitionId, CommitStep.Finish(_id, version), default, static _ => { });
        }
    }

    private WriteResult Committed()
    {
        var removed = new bool[_operations];
        var merged = new List<(int Operation, ReadOnlyMemory<byte> Value)>();
        for (int i = 0; i < _parts.Count; i++)
        {
            CommitPart part = _parts[i];
            ReadOnlySpan<bool> found = _results[i].Removed.Span;
            for (int operation = 0; operation < found.Length; operation++)
            {
                removed[part.Operations[operation]] |= found[operation];
            }

            for (int merge = 0; merge < part.Merges.Count; merge++)
            {
                merged.Add((part.Merges[merge], _results[i].Merged[merge]));
            }
        }

        return new WriteResult
        {
            Status = Status.Ok,
            Version = _results[0].Version,
            FailedOperation = -1,
            Removed = _tellsRemoved ? removed : null,
            Merged = [.. merged.OrderBy(static merge => merge.Operation).Select(static merge => merge.Value)],
            Receipt = _results[0].Receipt,
            // Of the others that of the prepare: whoever has it and the decision, has the part.
            PartReceipts = [.. _results.Select(static result => result.Receipt)],
        };
    }

    /// <summary>The operation at fault as the caller counts.</summary>
    private WriteResult Refused(in WriteResult result, int part) =>
        result.FailedOperation < 0 ? result : result with { FailedOperation = _parts[part].Operations[result.FailedOperation] };

    private void End(in WriteResult result)
    {
        Debug.Assert(!_isEnded, "it ends once");
        _isEnded = true;
        foreach (CommitPart part in _parts)
        {
            part.Command.Dispose();
        }

        _done(result);
    }
}
