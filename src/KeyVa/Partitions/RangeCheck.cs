using System.Buffers.Binary;
using System.Diagnostics;
using KeyVa.Engines;
using KeyVa.Io;

namespace KeyVa.Partitions;

/// <summary>
/// The condition that a range of one partition holds exactly the records, by key and version, that somebody has seen there:
/// nothing was put into it, changed or taken away (so there is no phantom). The body of its encoding:
/// <code>
///   flags     1 byte: bit 0 the keys were met in the order of their hashes (an engine without key order)
///   count     8 bytes: records
///   sum       8 bytes: see RangeDigest
///   first     varint length, bytes, if bit 0: where in that order it began; empty: at its beginning
///   last      the rest, if bit 0: the last key that was met; empty: it went to the end
/// </code>
/// </summary>
/// <remarks>
/// It depends on the newest state of keys alone, never on their history: what a replay finds in files that a compaction has
/// been over is the same. Keys that have expired by the stamp of the command do not exist.
/// </remarks>
internal readonly ref struct RangeCheck
{
    /// <summary>Stands in <see cref="Operation.Condition"/>; no condition of a key has this number.</summary>
    public const ConditionKind Condition = (ConditionKind)7;

    private const int FixedBytes = 17;
    private const byte ByHashFlag = 1;

    public ReadOnlySpan<byte> From { get; init; }

    public ReadOnlySpan<byte> To { get; init; }

    public RangeDigest Digest { get; init; }

    /// <summary>Whether the engine has no key order: its own is that of (hash, key), and the range is all of its partition's.</summary>
    public bool IsByHash { get; init; }

    /// <summary>In the order by hash: the first key, inclusive; empty: from the beginning.</summary>
    public ReadOnlySpan<byte> First { get; init; }

    /// <summary>In the order by hash: the last key, inclusive; empty: to the end.</summary>
    public ReadOnlySpan<byte> Last { get; init; }

    /// <summary>Whether bytes are a body.</summary>
    public static bool IsBody(ReadOnlySpan<byte> body)
    {
        if (body.Length < FixedBytes || body[0] > ByHashFlag)
        {
            return false;
        }

        ReadOnlySpan<byte> rest = body[FixedBytes..];
        return body[0] == ByHashFlag ? OperationEncoding.TryReadBytes(ref rest, out _) : rest.IsEmpty;
    }

    public static RangeCheck Read(in Operation operation)
    {
        ReadOnlySpan<byte> body = operation.ConditionValue;
        Debug.Assert(IsBody(body), "it was looked at when the operation was read");
        bool isByHash = body[0] == ByHashFlag;
        ReadOnlySpan<byte> rest = body[FixedBytes..];
        ReadOnlySpan<byte> first = default;
        if (isByHash)
        {
            OperationEncoding.TryReadBytes(ref rest, out first);
        }

        return new RangeCheck
        {
            From = operation.Key,
            To = operation.To,
            Digest = new RangeDigest { Count = BinaryPrimitives.ReadInt64LittleEndian(body[1..]), Sum = BinaryPrimitives.ReadUInt64LittleEndian(body[9..]) },
            IsByHash = isByHash,
            First = first,
            Last = rest,
        };
    }

    public void AppendBody(NativeBuffer buffer)
    {
        int bytes = FixedBytes + (IsByHash ? Varint.Length((ulong)First.Length) + First.Length + Last.Length : 0);
        buffer.AppendVarint((ulong)bytes);
        buffer.AppendByte(IsByHash ? ByHashFlag : (byte)0);
        buffer.AppendInt64(Digest.Count);
        buffer.AppendInt64((long)Digest.Sum);
        if (IsByHash)
        {
            buffer.AppendVarint((ulong)First.Length);
            buffer.Append(First);
            buffer.Append(Last);
        }
    }

    /// <summary>Writer only. Reads the range as the commands applied so far have left it.</summary>
    public bool Holds(Engine engine, long stamp)
    {
        var digest = default(RangeDigest);
        bool isOrdered = engine.IsOrdered;
        if (isOrdered == IsByHash)
        {
            // The partition has another engine than the one that was read.
            return false;
        }

        using EngineCursor cursor = engine.OpenCursor(isOrdered ? From : default, isOrdered ? To : default, ReadVersion.Newest, reverse: false);
        if (IsByHash && !First.IsEmpty)
        {
            cursor.Seek(First);
        }

        ulong lastHash = Last.IsEmpty ? ulong.MaxValue : XxHash64.Compute(Last);
        while (cursor.MoveNext())
        {
            if (IsByHash && !Last.IsEmpty && HashOrder.Compare(XxHash64.Compute(cursor.Key), cursor.Key, lastHash, Last) > 0)
            {
                break;
            }

            if (cursor.ExpiresAt == 0 || cursor.ExpiresAt > stamp)
            {
                digest.Add(cursor.Key, cursor.Version);
                if (digest.Count > Digest.Count)
                {
                    return false;
                }
            }
        }

        return digest.Equals(Digest);
    }
}

/// <summary>The order of keys on an engine without key order: by hash, then by key.</summary>
internal static class HashOrder
{
    public static int Compare(ulong leftHash, ReadOnlySpan<byte> left, ulong rightHash, ReadOnlySpan<byte> right)
    {
        int order = leftHash.CompareTo(rightHash);
        return order != 0 ? order : left.SequenceCompareTo(right);
    }
}
