using System.Buffers.Binary;
using System.Text;
using KeyVa.Io;

namespace KeyVa.Partitions;

/// <summary>
/// Encodes and decodes merges (docs/format.md, Commands; format 4 of the record).
/// <code>
///   head      1 byte: 131
///   key       varint length, bytes
///   flags     1 byte: bits 0-2 condition, bit 3 has expiry, bit 4 expiry is relative
///   expiry    8 bytes, above 0, if bit 3; without it a key that is there keeps its own
///   condition 8 bytes version (if-version), or varint length and bytes (if-value)
///   limit     4 bytes: the longest value that it may come to, as the store that accepted it was configured
///   function  varint: the number of one of KeyVa's own; 0: varint length and bytes of a name, varint version; 127: see MergeStack
///   operand   varint length, bytes
/// </code>
/// </summary>
internal static class MergeEncoding
{
    public const int Head = 131;

    private const int ConditionMask = 7;
    private const int ExpiryBit = 8;
    private const int RelativeBit = 16;
    private const int LimitBytes = 4;

    /// <summary>Returns where the limit stands, for <see cref="SetLimit"/>.</summary>
    public static int Append(NativeBuffer buffer, ReadOnlySpan<byte> key, MergeFunction function, ReadOnlySpan<byte> operand, in WriteOptions options)
    {
        int limit = AppendBegin(buffer, key, options);
        Write(buffer.Append(LengthOf(function)), function);
        buffer.AppendVarint((ulong)operand.Length);
        buffer.Append(operand);
        return limit;
    }

    /// <summary>Appends merges of one key (see <see cref="MergeStack"/>), none of which may come to more than the limit.</summary>
    public static void AppendStack(NativeBuffer buffer, ReadOnlySpan<byte> key, ReadOnlySpan<byte> stack, int limit, in WriteOptions options)
    {
        SetLimit(buffer, AppendBegin(buffer, key, options), limit);
        buffer.AppendVarint(MergeStack.Number);
        buffer.AppendVarint((ulong)stack.Length);
        buffer.Append(stack);
    }

    /// <summary>The bytes of a function.</summary>
    public static int LengthOf(MergeFunction function)
    {
        int length = Varint.Length((ulong)function.Number);
        if (function.Number == 0)
        {
            int name = Encoding.UTF8.GetByteCount(function.Name);
            length += Varint.Length((ulong)name) + name + Varint.Length((uint)function.Version);
        }

        return length;
    }

    /// <summary>Writes a function into as many bytes as it has.</summary>
    public static void Write(Span<byte> bytes, MergeFunction function)
    {
        bytes = bytes[Varint.Write(bytes, (ulong)function.Number)..];
        if (function.Number == 0)
        {
            bytes = bytes[Varint.Write(bytes, (ulong)Encoding.UTF8.GetByteCount(function.Name))..];
            bytes = bytes[Encoding.UTF8.GetBytes(function.Name, bytes)..];
            Varint.Write(bytes, (uint)function.Version);
        }
    }

    /// <summary>Appends all before the function; returns where the limit stands.</summary>
    private static int AppendBegin(NativeBuffer buffer, ReadOnlySpan<byte> key, in WriteOptions options)
    {
        Expiry expiry = options.Expiry;
        int flags = (int)options.Condition.Kind;
        if (expiry.Milliseconds != 0)
        {
            flags |= ExpiryBit | (expiry.IsRelative ? RelativeBit : 0);
        }

        OperationEncoding.AppendHeadAndKey(buffer, Head, key);
        buffer.AppendByte((byte)flags);
        if (expiry.Milliseconds != 0)
        {
            buffer.AppendInt64(expiry.Milliseconds);
        }

        OperationEncoding.AppendCondition(buffer, options.Condition);
        int limit = buffer.Length;
        buffer.AppendUInt32(Limits.MaxValueBytesCeiling);
        return limit;
    }

    /// <summary>Sets the limit of a merge that was appended.</summary>
    public static void SetLimit(NativeBuffer buffer, int offset, int limit) =>
        BinaryPrimitives.WriteInt32LittleEndian(buffer.Slice(offset, LimitBytes), limit);

    /// <summary>Reads what stands behind the head and the key; false if it is no merge.</summary>
    public static bool TryRead(scoped ref ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> key, ReadOnlySpan<byte> rest, out Operation operation)
    {
        operation = default;
        if (rest.IsEmpty)
        {
            return false;
        }

        int flags = rest[0];
        rest = rest[1..];
        long expiry = 0;
        bool hasExpiry = (flags & ExpiryBit) != 0;
        bool isRelative = (flags & RelativeBit) != 0;
        if (flags >= RelativeBit * 2 || (isRelative && !hasExpiry) || (hasExpiry && (!OperationEncoding.TryReadInt64(ref rest, out expiry) || expiry <= 0)))
        {
            return false;
        }

        var condition = (ConditionKind)(flags & ConditionMask);
        long version = 0;
        ReadOnlySpan<byte> expected = default;
        bool read = condition switch
        {
            ConditionKind.IfVersion => OperationEncoding.TryReadInt64(ref rest, out version),
            ConditionKind.IfValue => OperationEncoding.TryReadBytes(ref rest, out expected),
            _ => condition <= ConditionKind.IfValue,
        };
        if (!read
            || !TryReadLimit(ref rest, out int limit)
            || !TryReadFunction(ref rest, out ReadOnlySpan<byte> function)
            || !OperationEncoding.TryReadBytes(ref rest, out ReadOnlySpan<byte> operand)
            || (MergeStack.Is(function) && !MergeStack.IsWhole(operand)))
        {
            return false;
        }

        operation = new Operation
        {
            IsMerge = true,
            Key = key,
            Value = operand,
            Function = function,
            Limit = limit,
            Expiry = expiry,
            IsExpiryRelative = isRelative,
            Condition = condition,
            ConditionVersion = version,
            ConditionValue = expected,
        };
        bytes = rest;
        return true;
    }

    private static bool TryReadLimit(scoped ref ReadOnlySpan<byte> bytes, out int limit)
    {
        if (!BinaryPrimitives.TryReadInt32LittleEndian(bytes, out limit) || limit is < 1 or > Limits.MaxValueBytesCeiling)
        {
            return false;
        }

        bytes = bytes[LimitBytes..];
        return true;
    }

    /// <summary>The function as it is encoded; see MergeRegistry.Resolve.</summary>
    public static bool TryReadFunction(scoped ref ReadOnlySpan<byte> bytes, out ReadOnlySpan<byte> function)
    {
        function = default;
        ReadOnlySpan<byte> rest = bytes;
        if (!TryReadVarint(ref rest, out ulong number))
        {
            return false;
        }

        if (number == 0)
        {
            if (!OperationEncoding.TryReadBytes(ref rest, out ReadOnlySpan<byte> name)
                || name.Length is 0 or > MergeFunction.MaxNameLength
                || !Ascii.IsValid(name)
                || !TryReadVarint(ref rest, out ulong version)
                || version is 0 or > int.MaxValue)
            {
                return false;
            }
        }

        function = bytes[..^rest.Length];
        bytes = rest;
        return true;
    }

    private static bool TryReadVarint(scoped ref ReadOnlySpan<byte> bytes, out ulong value)
    {
        int taken = Varint.Read(bytes, out value);
        bytes = bytes[taken..];
        return taken > 0;
    }
}
