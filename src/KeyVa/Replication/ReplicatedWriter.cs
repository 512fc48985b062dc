using System.Buffers.Binary;
using System.Globalization;
using KeyVa.Commits;
using KeyVa.Engines;
using KeyVa.Partitions;
using KeyVa.Sessions;

namespace KeyVa.Replication;

/// <summary>
/// The role of a partition's writer where its log is replicated: whoever drives the log has it for as long as the store is open. It takes
/// what callers have queued, and applies what the log hands back, its own groups and those of other nodes, by the one way there is.
/// </summary>
/// <remarks>
/// Not thread-safe: the driver's loop alone. Invariant: <see cref="WriteRound.InFlight"/> is the first version of the oldest group that was
/// sealed here and has neither been applied nor been given up, so that a snapshot at or above it waits.
/// </remarks>
internal sealed class ReplicatedWriter
{
    private readonly PartitionWriter _writer;
    private readonly RequestQueue _queue;
    private readonly VersionOracle _oracle;

    // First versions of the groups sealed here that are still under way, oldest first.
    private readonly Queue<long> _sealed = new();

    public ReplicatedWriter(PartitionWriter writer, RequestQueue queue, VersionOracle oracle)
    {
        _writer = writer;
        _queue = queue;
        _oracle = oracle;
    }

    public long PartitionId => _writer.PartitionId;

    public Engine Engine => _writer.Engine;

    /// <summary>What stopped the partition, or null.</summary>
    public StoreException? Failure => _writer.Failure;

    /// <summary>Whether something is queued.</summary>
    public bool HasRequests => _queue.Peek() is not null;

    /// <summary>Runs what asks for the role in its turn, and takes the next group of commands; null if there is none.</summary>
    public ReplicatedGroup? TakeGroup()
    {
        while (_queue.Peek() is { } request)
        {
            if (request is ExclusiveRequest exclusive)
            {
                _queue.Dequeue();
                _queue.Leave();
                exclusive.Acquired(_writer);
                continue;
            }

            var group = new WriteGroup(_queue);
            group.TakeQueued();
            if (_writer.Closed == Status.Ok && Failure is null)
            {
                return new ReplicatedGroup(group);
            }

            group.Complete(_writer.Closed != Status.Ok ? Refusals.Gone(PartitionId, _writer.Closed) : Refusals.Failed(Failure!));
        }

        return null;
    }

    /// <summary>A group of a request that was never queued.</summary>
    public ReplicatedGroup Alone(WriteRequest request)
    {
        var group = new WriteGroup(_queue);
        group.TakeAlone(request);
        return new ReplicatedGroup(group);
    }

    /// <summary>What step of a commit over several partitions a payload is, or None: it holds ordinary commands.</summary>
    public static StepKind StepOf(ReadOnlySpan<byte> payload) => FirstStep(payload)?.Kind ?? StepKind.None;

    /// <summary>
    /// Whether a group's commands will be done once they are committed, so that their callers may be told before: a write of a session that has ended by then is not. See
    /// <see cref="SessionTable.IsSureOf"/>.
    /// </summary>
    public bool IsSureOf(ReplicatedGroup group)
    {
        for (WriteRequest? request = group.First; request is not null; request = request.Next)
        {
            if (request.Command!.Session is { IsSet: true } session && !Engine.Sessions.IsSureOf(session.Client, session.Sequence, _oracle.Now()))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>How long to wait before so many bytes are applied (backpressure); zero in the normal case.</summary>
    public TimeSpan Admit(long bytes) => _writer.State.Admit(bytes);

    /// <summary>This node leads: gives a group's payload its versions and its stamp. <see cref="EndSealed"/> follows, in the same order.</summary>
    public void Seal(Span<byte> payload)
    {
        int count = BinaryPrimitives.ReadInt32LittleEndian(payload[17..]);
        if (_sealed.Count == 0)
        {
            _writer.BeginVersions();
        }

        if (FirstStep(payload) is { Floor: > 0 and var floor })
        {
            _oracle.Recover(floor, 0);
        }

        long stamp = _oracle.Now();
        long version = _oracle.Take(count);
        _sealed.Enqueue(version);
        if (_sealed.Count == 1)
        {
            _writer.NoteVersions(version);
        }

        BinaryPrimitives.WriteInt64LittleEndian(payload[1..], version);
        BinaryPrimitives.WriteInt64LittleEndian(payload[9..], stamp);
    }

    /// <summary>The oldest group that was sealed here is applied, or will never be.</summary>
    public void EndSealed()
    {
        _sealed.Dequeue();
        if (_sealed.TryPeek(out long oldest))
        {
            _writer.NoteVersions(oldest);
        }
        else
        {
            _writer.EndVersions();
        }
    }

    /// <summary>
    /// Whether bytes from another node are the payload of a group, with a long head, which can be sealed: every command and operation is whole. What an operation asks for was
    /// checked against the limits where it came in.
    /// </summary>
    public static bool IsWhole(ReadOnlySpan<byte> payload)
    {
        if (!GroupReader.TryOpen(payload, out GroupReader group) || payload[0] == GroupEntry.IngestFormat || (payload[0] & GroupEntry.ShortHeadBit) != 0)
        {
            return false;
        }

        int left = group.Count;
        int bytes = GroupEntry.HeaderBytes;
        while (group.TryRead(out ReadOnlySpan<byte> command))
        {
            left--;
            bytes += sizeof(uint) + command.Length;
            if (CommitStep.IsAt(command))
            {
                // Such a group holds one step and nothing else.
                if (payload[0] != GroupEntry.CommitFormat || group.Count != 1 || !CommitStep.TryTake(ref command, out _))
                {
                    return false;
                }
            }
            else if (payload[0] == GroupEntry.CommitFormat)
            {
                return false;
            }

            _ = SessionHead.TryTake(ref command, out _);
            while (!command.IsEmpty)
            {
                // One that knows no such setting does not lead those who do into it.
                if (!OperationEncoding.TryRead(ref command, out Operation operation) || (operation.IsSetting && !SettingsTable.Knows(operation.Key, operation.Value)))
                {
                    return false;
                }
            }
        }

        return left == 0 && bytes == payload.Length;
    }

    /// <summary>Of a payload that is sealed: the version of its first command.</summary>
    public static long VersionOf(ReadOnlySpan<byte> payload) => BinaryPrimitives.ReadInt64LittleEndian(payload[1..]);

    /// <summary>Applies a group. <paramref name="own"/>: the callers of this node who wait for it; they get their results, and are not completed yet. The receipt is theirs.</summary>
    public void Apply(in WriteReceipt receipt, ReadOnlySpan<byte> payload, ReplicatedGroup? own)
    {
        if (!GroupReader.TryOpen(payload, out GroupReader group))
        {
            // Its leader knew it, or did not look: passed over here it would make this replica another.
            throw new StoreException(string.Create(CultureInfo.InvariantCulture, $"entry {receipt.Index} of partition {PartitionId} holds commands of a format that this build does not know; use a newer KeyVa on this node"));
        }

        try
        {
            long version = group.Version;
            long newest = Engine.VisibleVersion;
            WriteRequest? request = own?.First;
            while (group.TryRead(out ReadOnlySpan<byte> command))
            {
                if (CommitStep.TryTake(ref command, out CommitStep step))
                {
                    WriteResult result = CommitSteps.Apply(_writer.State, step, command, version, group.Stamp, receipt, ref newest);
                    Answer(ref request, result);
                    version++;
                    continue;
                }

                if (Engine.Commits.PreparedNow is not null)
                {
                    Answer(ref request, CommitSteps.Held);
                    version++;
                    continue;
                }

                newest = version;
                if (request is null)
                {
                    JournalReplay.ApplyCommand(_writer.State, command, version, group.Stamp);
                }
                else
                {
                    _writer.ApplyOne(request, version, group.Stamp, receipt);
                    request = request.Next;
                }

                version++;
            }

            End(receipt.Index, newest, version - 1, Math.Max(group.Stamp, Engine.VisibleStamp));
        }
        catch (StoreException failure)
        {
            // The engine could not read what a command depends on: nothing of the group is published, and its callers wait for nothing else.
            _writer.Fail(failure);
            own?.Complete(Refusals.Failed(failure));
            throw;
        }
    }

    /// <summary>An entry of the log that holds no commands.</summary>
    public void Skip(long index) => End(index, Engine.VisibleVersion, Engine.VisibleVersion, Engine.VisibleStamp);

    /// <summary>No more writes: what stopped the log.</summary>
    public void Fail(StoreException failure) => _writer.Fail(failure);

    private static CommitStep? FirstStep(ReadOnlySpan<byte> payload) =>
        !payload.IsEmpty && payload[0] == GroupEntry.CommitFormat && GroupReader.TryOpen(payload, out GroupReader group) && group.TryRead(out ReadOnlySpan<byte> command)
            && CommitStep.TryTake(ref command, out CommitStep step) ? step : null;

    private static void Answer(ref WriteRequest? request, in WriteResult result)
    {
        if (request is not null)
        {
            request.Result = result;
            request = request.Next;
        }
    }

    private void End(long index, long version, long handedOut, long stamp)
    {
        _writer.State.EndGroup(index, version, stamp);

        // Behind it: a snapshot at a version that was handed out elsewhere must find it visible.
        _oracle.Recover(Math.Max(version, handedOut), stamp);
        _writer.State.EndVersions();
    }
}
