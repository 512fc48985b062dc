using KeyVa.Indexes;
using KeyVa.Io;

namespace KeyVa.Partitions;

/// <summary>
/// Encodes and decodes checks: conditions without a write (docs/format.md, Commands; format 4 of the record).
/// <code>
///   head      1 byte: 129
///   key       varint length, bytes
///   kind      1 byte: 1 if-absent, 2 if-present, 3 if-version, 4 if-value
///   condition 8 bytes version (if-version), or varint length and bytes (if-value)
///
///   head      1 byte: 130
///   from      varint length, bytes: the first key of the range; empty: open
///   to        varint length, bytes: the first key behind it; empty: open
///   body      varint length, bytes: see RangeCheck
///
///   head      1 byte: 134
///   from, to  as above: the range of a partition
///   body      varint length, bytes: see IndexCheck
/// </code>
/// </summary>
internal static class CheckEncoding
{
    private const int KeyHead = 129;
    private const int RangeHead = 130;
    private const int IndexHead = 134;

    public static void AppendKey(NativeBuffer buffer, ReadOnlySpan<byte> key, in Condition condition)
    {
        OperationEncoding.AppendHeadAndKey(buffer, KeyHead, key);
        buffer.AppendByte((byte)condition.Kind);
        OperationEncoding.AppendCondition(buffer, condition);
    }

    public static void AppendRange(NativeBuffer buffer, in RangeCheck check)
    {
        OperationEncoding.AppendHeadAndKey(buffer, RangeHead, check.From);
        buffer.AppendVarint((ulong)check.To.Length);
        buffer.Append(check.To);
        check.AppendBody(buffer);
    }

    public static void AppendIndex(NativeBuffer buffer, in IndexCheck check)
    {
        OperationEncoding.AppendHeadAndKey(buffer, IndexHead, check.PartitionFrom);
        buffer.AppendVarint((ulong)check.PartitionTo.Length);
        buffer.Append(check.PartitionTo);
        check.AppendBody(buffer);
    }

    /// <summary>Reads what stands behind the head and the key; false if it is no check.</summary>
    public static bool TryRead(
        scoped ref ReadOnlySpan<byte> bytes, int head, ReadOnlySpan<byte> key, ReadOnlySpan<byte> rest, out Operation operation)
    {
        operation = default;
        if (head is RangeHead or IndexHead)
        {
            bool isIndex = head == IndexHead;
            if (!OperationEncoding.TryReadBytes(ref rest, out ReadOnlySpan<byte> to)
                || !OperationEncoding.TryReadBytes(ref rest, out ReadOnlySpan<byte> body)
                || !(isIndex ? IndexCheck.IsBody(body) : RangeCheck.IsBody(body)))
            {
                return false;
            }

            operation = new Operation { IsCheck = true, Key = key, To = to, Condition = isIndex ? IndexCheck.Condition : RangeCheck.Condition, ConditionValue = body };
            bytes = rest;
            return true;
        }

        if (head != KeyHead || rest.IsEmpty)
        {
            return false;
        }

        var kind = (ConditionKind)rest[0];
        rest = rest[1..];
        long version = 0;
        ReadOnlySpan<byte> expected = default;
        bool read = kind switch
        {
            ConditionKind.IfAbsent or ConditionKind.IfPresent => true,
            ConditionKind.IfVersion => OperationEncoding.TryReadInt64(ref rest, out version),
            ConditionKind.IfValue => OperationEncoding.TryReadBytes(ref rest, out expected),
            _ => false,
        };
        if (!read)
        {
            return false;
        }

        operation = new Operation { IsCheck = true, Key = key, Condition = kind, ConditionVersion = version, ConditionValue = expected };
        bytes = rest;
        return true;
    }
}
