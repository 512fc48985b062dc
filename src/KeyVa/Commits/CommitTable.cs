using System.Buffers.Binary;
using System.Collections.Immutable;
using KeyVa.Io;

namespace KeyVa.Commits;

/// <summary>A partition's part of a commit that is not decided yet, or whose decision has not come here.</summary>
/// <param name="Id">The commit.</param>
/// <param name="First">The partition that decides.</param>
/// <param name="Deadline">By the first partition's stamps, it is not decided any more that the commit happens.</param>
/// <param name="Version">The version that the partition gave; that of the commit will be above it.</param>
/// <param name="Stamp">The log's time at which it was evaluated, and is written.</param>
/// <param name="Index">The log's index of the prepare.</param>
/// <param name="Operations">What it writes. Not to be changed.</param>
internal sealed record PreparedPart(TransactionId Id, long First, long Deadline, long Version, long Stamp, long Index, byte[] Operations);

/// <summary>What a first partition has decided.</summary>
/// <param name="Version">The commit's version; 0: it does not happen.</param>
/// <param name="Deadline">See <see cref="PreparedPart"/>.</param>
/// <param name="Others">The other partitions of a commit that happens.</param>
internal sealed record Decision(long Version, long Deadline, long[] Others);

/// <summary>
/// What is prepared in a partition and what was decided in it (docs/decisions/commits-over-partitions.md). A part of the partition's state: changed by nothing but the log, so
/// that it is the same on every replica and after a replay; it goes into the partition's files with the index that they contain (<see cref="Sessions.PartitionTables"/>).
/// </summary>
/// <remarks>
/// <para>One part at most is prepared at a time. A decision that the commit happens is kept until all other partitions have finished it; one that it does not, until the
/// log's time is past the deadline, from when on nothing else could be decided.</para>
/// <para>Thread-safety: changed by the partition's writer alone. <see cref="Prepared"/>, <see cref="Decisions"/> and <see cref="Capture"/> show what it was at the end of the
/// last group, on any thread.</para>
/// </remarks>
internal sealed class CommitTable
{
    /// <summary>Decisions of a partition; beyond, commits are refused until some are finished.</summary>
    public const int MaxDecisions = 16_384;

    // Prepared 1 or 0, then node, number, first, deadline, version, stamp, index i64, length u32.
    private const int PreparedBytes = 60;

    // Node, number, version, deadline i64, others u16.
    private const int DecisionBytes = 34;

    private static readonly State Empty = new(null, ImmutableSortedDictionary<TransactionId, Decision>.Empty, 0);

    // Of the group that is being applied; null: it has changed nothing.
    private State? _next;
    private State _published = Empty;

    private sealed record State(PreparedPart? Prepared, ImmutableSortedDictionary<TransactionId, Decision> Decisions, int Dropped);

    /// <summary>What is prepared, or null.</summary>
    public PreparedPart? Prepared => Volatile.Read(ref _published).Prepared;

    public ImmutableSortedDictionary<TransactionId, Decision> Decisions => Volatile.Read(ref _published).Decisions;

    /// <summary>Whether there is nothing in it.</summary>
    public bool IsEmpty => Volatile.Read(ref _published) is { Prepared: null, Decisions.Count: 0 };

    /// <summary>Whether nobody is still to do something for a commit: nothing is prepared, and of what was decided to happen the others have finished all.</summary>
    public bool IsSettled => Volatile.Read(ref _published) is { Prepared: null } state && state.Decisions.Count == state.Dropped;

    /// <summary>As <see cref="Prepared"/>, with what the group that is being applied has done.</summary>
    public PreparedPart? PreparedNow => Now.Prepared;

    /// <summary>Whether no more decisions can be kept.</summary>
    public bool IsFull => Now.Decisions.Count >= MaxDecisions;

    private State Now => _next ?? _published;

    public void Prepare(PreparedPart part) => _next = Now with { Prepared = part };

    /// <summary>What was prepared is finished.</summary>
    public void EndPrepared() => _next = Now with { Prepared = null };

    public bool TryFind(TransactionId id, out Decision? decision) => Now.Decisions.TryGetValue(id, out decision);

    public void Decide(TransactionId id, Decision decision) =>
        _next = Now with { Decisions = Now.Decisions.Add(id, decision), Dropped = Now.Dropped + (decision.Version == 0 ? 1 : 0) };

    /// <summary>All partitions have finished a commit that happened.</summary>
    public void Forget(TransactionId id)
    {
        if (Now.Decisions.TryGetValue(id, out Decision? decision) && decision.Version > 0)
        {
            _next = Now with { Decisions = Now.Decisions.Remove(id) };
        }
    }

    /// <summary>The group is applied, whose stamp this is.</summary>
    public void Publish(long stamp)
    {
        if (Now.Dropped > 0)
        {
            DropPast(stamp);
        }

        if (_next is { } next)
        {
            Volatile.Write(ref _published, next);
            _next = null;
        }
    }

    /// <summary>The table as bytes (docs/format.md, Sessions), the same on every replica; empty if there is nothing in it.</summary>
    public byte[] Capture()
    {
        State state = Volatile.Read(ref _published);
        if (state is { Prepared: null, Decisions.Count: 0 })
        {
            return [];
        }

        using var buffer = new NativeBuffer();
        buffer.AppendByte(state.Prepared is null ? (byte)0 : (byte)1);
        if (state.Prepared is { } part)
        {
            AppendId(buffer, part.Id);
            buffer.AppendInt64(part.First);
            buffer.AppendInt64(part.Deadline);
            buffer.AppendInt64(part.Version);
            buffer.AppendInt64(part.Stamp);
            buffer.AppendInt64(part.Index);
            buffer.AppendUInt32((uint)part.Operations.Length);
            buffer.Append(part.Operations);
        }

        buffer.AppendUInt32((uint)state.Decisions.Count);
        foreach ((TransactionId id, Decision decision) in state.Decisions)
        {
            AppendId(buffer, id);
            buffer.AppendInt64(decision.Version);
            buffer.AppendInt64(decision.Deadline);
            BinaryPrimitives.WriteUInt16LittleEndian(buffer.Append(sizeof(ushort)), (ushort)decision.Others.Length);
            foreach (long other in decision.Others)
            {
                buffer.AppendInt64(other);
            }
        }

        return buffer.Written.ToArray();
    }

    /// <summary>Fills an empty table with what <see cref="Capture"/> gave; false for anything else, and the table is of no use then.</summary>
    public bool TryLoad(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty)
        {
            return true;
        }

        if (!TryLoadPrepared(ref bytes, out PreparedPart? part) || bytes.Length < sizeof(uint))
        {
            return false;
        }

        uint count = BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        bytes = bytes[sizeof(uint)..];
        int dropped = 0;
        ImmutableSortedDictionary<TransactionId, Decision>.Builder decisions = ImmutableSortedDictionary.CreateBuilder<TransactionId, Decision>();
        for (uint i = 0; i < count; i++)
        {
            if (!TryLoadDecision(ref bytes, out TransactionId id, out Decision? decision) || !decisions.TryAdd(id, decision!))
            {
                return false;
            }

            dropped += decision!.Version == 0 ? 1 : 0;
        }

        _published = new State(part, decisions.ToImmutable(), dropped);
        return bytes.IsEmpty && (part is not null || count > 0);
    }

    private static bool TryLoadPrepared(ref ReadOnlySpan<byte> bytes, out PreparedPart? part)
    {
        part = null;
        byte isThere = bytes[0];
        bytes = bytes[1..];
        if (isThere != 1)
        {
            return isThere == 0;
        }

        if (bytes.Length < PreparedBytes || BinaryPrimitives.ReadUInt32LittleEndian(bytes[56..]) is var length && length > (uint)(bytes.Length - PreparedBytes))
        {
            return false;
        }

        part = new PreparedPart(
            ReadId(bytes),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[16..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[24..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[32..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[40..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[48..]),
            bytes.Slice(PreparedBytes, (int)length).ToArray());
        bytes = bytes[(PreparedBytes + (int)length)..];
        return true;
    }

    private static bool TryLoadDecision(ref ReadOnlySpan<byte> bytes, out TransactionId id, out Decision? decision)
    {
        (id, decision) = (default, null);
        if (bytes.Length < DecisionBytes)
        {
            return false;
        }

        id = ReadId(bytes);
        int others = BinaryPrimitives.ReadUInt16LittleEndian(bytes[32..]);
        (long version, long deadline) = (BinaryPrimitives.ReadInt64LittleEndian(bytes[16..]), BinaryPrimitives.ReadInt64LittleEndian(bytes[24..]));
        bytes = bytes[DecisionBytes..];
        if (bytes.Length < others * sizeof(long) || version < 0)
        {
            return false;
        }

        long[] partitions = new long[others];
        for (int i = 0; i < others; i++)
        {
            partitions[i] = BinaryPrimitives.ReadInt64LittleEndian(bytes[(i * sizeof(long))..]);
        }

        decision = new Decision(version, deadline, partitions);
        bytes = bytes[(others * sizeof(long))..];
        return true;
    }

    private static TransactionId ReadId(ReadOnlySpan<byte> bytes) => new(BinaryPrimitives.ReadInt64LittleEndian(bytes), BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]));

    private static void AppendId(NativeBuffer buffer, TransactionId id)
    {
        buffer.AppendInt64(id.Node);
        buffer.AppendInt64(id.Number);
    }

    private void DropPast(long stamp)
    {
        foreach ((TransactionId id, Decision decision) in Now.Decisions)
        {
            if (decision.Version == 0 && decision.Deadline < stamp)
            {
                _next = Now with { Decisions = Now.Decisions.Remove(id), Dropped = Now.Dropped - 1 };
            }
        }
    }
}
