using System.Buffers.Binary;

namespace KeyVa.Commits;

/// <summary>What a command does for a commit over several partitions, or for a snapshot of several.</summary>
internal enum StepKind : byte
{
    /// <summary>An ordinary command.</summary>
    None = 0,

    /// <summary>Evaluates the checks of one partition's part, and keeps the part: from here on nothing else is written in the partition until it is finished.</summary>
    Prepare,

    /// <summary>In the first partition, once all others have prepared: evaluates its part and writes it, and so decides that the commit happens.</summary>
    Decide,

    /// <summary>Writes what was prepared, at the version that was decided, or drops it.</summary>
    Finish,

    /// <summary>In the first partition: all others have finished, nobody will ask again.</summary>
    Forget,

    /// <summary>In the first partition: what was decided; if nothing was, it is decided now that the commit does not happen.</summary>
    Resolve,

    /// <summary>Whatever is written from here on has a version above the one that it names, which is visible from here on.</summary>
    Close,
}

/// <summary>
/// What stands in front of a command's operations if it is a step of a commit over several partitions (docs/format.md, Commands; format 6 of the record), little-endian:
/// <code>
///   head           1 byte   137 prepare, 138 decide, 139 finish, 140 forget, 141 resolve, 142 close
///   node           8 bytes  the coordinator's node; close: 0
///   number         8 bytes  which of its commits; close: 0
///   argument       8 bytes  prepare: the first partition; decide and close: the version must be above this one; finish: the version, 0: dropped; else 0
///   deadline       8 bytes  prepare, decide, resolve: by the log's stamp, it is not decided any more that the commit happens; else 0
///   count          2 bytes  decide: the other partitions; else 0
///   partitions     8 bytes each
///   operations              of prepare and decide
/// </code>
/// Immutable.
/// </summary>
internal sealed record CommitStep(StepKind Kind, TransactionId Id, long Argument, long Deadline, long[] Partitions)
{
    private const byte FirstHead = 137;
    private const int FixedBytes = 35;

    private static readonly long[] NoPartitions = [];

    public int Length => FixedBytes + (sizeof(long) * Partitions.Length);

    /// <summary>A leader gives it a version above this one.</summary>
    public long Floor => Kind is StepKind.Decide or StepKind.Close ? Argument : 0;

    /// <summary>Whether it goes into the log of a partition in which something is prepared: without it that would never end.</summary>
    public bool PassesPrepared => Kind is StepKind.Finish or StepKind.Forget or StepKind.Resolve;

    public static CommitStep Prepare(TransactionId id, long first, long deadline) => new(StepKind.Prepare, id, first, deadline, NoPartitions);

    public static CommitStep Decide(TransactionId id, long floor, long deadline, long[] others) => new(StepKind.Decide, id, floor, deadline, others);

    /// <summary><paramref name="version"/>: as it was decided; 0: it does not happen.</summary>
    public static CommitStep Finish(TransactionId id, long version) => new(StepKind.Finish, id, version, 0, NoPartitions);

    public static CommitStep Forget(TransactionId id) => new(StepKind.Forget, id, 0, 0, NoPartitions);

    public static CommitStep Resolve(TransactionId id, long deadline) => new(StepKind.Resolve, id, 0, deadline, NoPartitions);

    public static CommitStep Close(long floor) => new(StepKind.Close, default, floor, 0, NoPartitions);

    /// <summary>Whether a command begins as a step does.</summary>
    public static bool IsAt(ReadOnlySpan<byte> command) => !command.IsEmpty && KindOf(command[0]) != StepKind.None;

    /// <summary>Writes it; there is room for <see cref="Length"/>.</summary>
    public void WriteTo(Span<byte> to)
    {
        to[0] = (byte)(FirstHead + (int)Kind - 1);
        BinaryPrimitives.WriteInt64LittleEndian(to[1..], Id.Node);
        BinaryPrimitives.WriteInt64LittleEndian(to[9..], Id.Number);
        BinaryPrimitives.WriteInt64LittleEndian(to[17..], Argument);
        BinaryPrimitives.WriteInt64LittleEndian(to[25..], Deadline);
        BinaryPrimitives.WriteUInt16LittleEndian(to[33..], (ushort)Partitions.Length);
        for (int i = 0; i < Partitions.Length; i++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(to[(FixedBytes + (sizeof(long) * i))..], Partitions[i]);
        }
    }

    /// <summary>Reads it and moves behind it; false if the command is no step, or not a whole one.</summary>
    public static bool TryTake(ref ReadOnlySpan<byte> command, out CommitStep step)
    {
        step = null!;
        if (command.Length < FixedBytes || KindOf(command[0]) is not (not StepKind.None and var kind))
        {
            return false;
        }

        int count = BinaryPrimitives.ReadUInt16LittleEndian(command[33..]);
        int length = FixedBytes + (sizeof(long) * count);
        if (command.Length < length)
        {
            return false;
        }

        long[] partitions = count == 0 ? NoPartitions : new long[count];
        for (int i = 0; i < count; i++)
        {
            partitions[i] = BinaryPrimitives.ReadInt64LittleEndian(command[(FixedBytes + (sizeof(long) * i))..]);
        }

        step = new CommitStep(
            kind,
            new TransactionId(BinaryPrimitives.ReadInt64LittleEndian(command[1..]), BinaryPrimitives.ReadInt64LittleEndian(command[9..])),
            BinaryPrimitives.ReadInt64LittleEndian(command[17..]),
            BinaryPrimitives.ReadInt64LittleEndian(command[25..]),
            partitions);
        if (!step.MakesSense || (command.Length > length && kind is not (StepKind.Prepare or StepKind.Decide)))
        {
            return false;
        }

        command = command[length..];
        return true;
    }

    private bool MakesSense => Argument >= 0 && Deadline >= 0
        && (Kind == StepKind.Close ? Argument < long.MaxValue / 2 : Id is { Node: > 0, Number: > 0 })
        && (Kind == StepKind.Decide ? Partitions.Length > 0 && Argument < long.MaxValue / 2 : Partitions.Length == 0);

    private static StepKind KindOf(byte head) => head is >= FirstHead and < FirstHead + (int)StepKind.Close ? (StepKind)(head - FirstHead + 1) : StepKind.None;
}
