using System.Buffers.Binary;
using System.Diagnostics;
using KeyVa.Engines;
using KeyVa.Io;
using KeyVa.Partitions;

namespace KeyVa.Indexes;

/// <summary>
/// The condition that a stretch of an index of one partition holds exactly the entries that somebody has seen there: no record has come
/// into it or left it (so there is no phantom). The body of its encoding:
/// <code>
///   count     8 bytes: entries
///   sum       8 bytes: see RangeDigest; of entries, with 0 for the version
///   index     8 bytes: the index's number
///   from      varint length, bytes: the first entry of the stretch
///   to        the rest: the first entry behind it
/// </code>
/// </summary>
/// <remarks>
/// <para>It depends on which entries there are alone, and those on the records: not on when they were written, which is another time where an index was
/// filled. What is in the records is checked by the records' own versions.</para>
/// <para>It is evaluated at the version before the command's: in a replay the companion may be ahead of the partition
/// (<see cref="EngineContext.Retained"/>). An index that is not followed any more holds nothing that was seen.</para>
/// </remarks>
internal readonly ref struct IndexCheck
{
    /// <summary>Stands in <see cref="Operation.Condition"/>; no condition of a key has this number.</summary>
    public const ConditionKind Condition = (ConditionKind)8;

    private const int FixedBytes = 24;

    /// <summary>The partition's range, which the command is routed by.</summary>
    public ReadOnlySpan<byte> PartitionFrom { get; init; }

    public ReadOnlySpan<byte> PartitionTo { get; init; }

    public long Index { get; init; }

    /// <summary>The first entry, inclusive.</summary>
    public ReadOnlySpan<byte> From { get; init; }

    /// <summary>The end of the entries, exclusive.</summary>
    public ReadOnlySpan<byte> To { get; init; }

    public RangeDigest Digest { get; init; }

    /// <summary>Whether bytes are a body.</summary>
    public static bool IsBody(ReadOnlySpan<byte> body)
    {
        if (body.Length < FixedBytes)
        {
            return false;
        }

        ReadOnlySpan<byte> rest = body[FixedBytes..];
        return OperationEncoding.TryReadBytes(ref rest, out _);
    }

    public static IndexCheck Read(in Operation operation)
    {
        ReadOnlySpan<byte> body = operation.ConditionValue;
        Debug.Assert(IsBody(body), "it was looked at when the operation was read");
        ReadOnlySpan<byte> rest = body[FixedBytes..];
        OperationEncoding.TryReadBytes(ref rest, out ReadOnlySpan<byte> from);
        return new IndexCheck
        {
            PartitionFrom = operation.Key,
            PartitionTo = operation.To,
            Digest = new RangeDigest { Count = BinaryPrimitives.ReadInt64LittleEndian(body), Sum = BinaryPrimitives.ReadUInt64LittleEndian(body[8..]) },
            Index = BinaryPrimitives.ReadInt64LittleEndian(body[16..]),
            From = from,
            To = rest,
        };
    }

    public void AppendBody(NativeBuffer buffer)
    {
        buffer.AppendVarint((ulong)(FixedBytes + Varint.Length((ulong)From.Length) + From.Length + To.Length));
        buffer.AppendInt64(Digest.Count);
        buffer.AppendInt64((long)Digest.Sum);
        buffer.AppendInt64(Index);
        buffer.AppendVarint((ulong)From.Length);
        buffer.Append(From);
        buffer.Append(To);
    }

    /// <summary>Writer only. Reads the stretch as the commands below a version have left it.</summary>
    public bool Holds(PartitionIndexes? indexes, long version, long stamp)
    {
        if (indexes?.Find(Index) is not { IsActive: true, ReadyVersion: > 0 } index)
        {
            return false;
        }

        var digest = default(RangeDigest);
        using EngineCursor cursor = index.Companion.OpenCursor(From, To, version - 1, reverse: false);
        while (cursor.MoveNext())
        {
            if (cursor.ExpiresAt == 0 || cursor.ExpiresAt > stamp)
            {
                digest.Add(cursor.Key, 0);
                if (digest.Count > Digest.Count)
                {
                    return false;
                }
            }
        }

        return digest.Equals(Digest);
    }
}
