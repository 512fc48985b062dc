using System.Buffers.Binary;
using KeyVa.Indexes;
using KeyVa.Io;

namespace KeyVa.Partitions;

/// <summary>One put, merge or removal of a key, the removal of a range, or a check, of a command, as read from its bytes.</summary>
internal readonly ref struct Operation
{
    public bool IsPut { get; init; }

    /// <summary>A removal that does not ask whether the key was there.</summary>
    public bool IsBlind { get; init; }

    /// <summary>A removal of [<see cref="Key"/>, <see cref="To"/>); empty bounds are open.</summary>
    public bool IsRange { get; init; }

    /// <summary>A condition without a write: on a key, or (<see cref="IsRangeCheck"/>) on what a range holds.</summary>
    public bool IsCheck { get; init; }

    /// <summary>A check of [<see cref="Key"/>, <see cref="To"/>): <see cref="ConditionValue"/> holds what it must be like (see <see cref="RangeCheck"/>).</summary>
    public bool IsRangeCheck => Condition == RangeCheck.Condition;

    /// <summary>A check of what an index of the partition [<see cref="Key"/>, <see cref="To"/>) holds (see <see cref="IndexCheck"/>).</summary>
    public bool IsIndexCheck => Condition == IndexCheck.Condition;

    /// <summary>A merge: <see cref="Value"/> is the operand, and without an <see cref="Expiry"/> a key that is there keeps its own.</summary>
    public bool IsMerge { get; init; }

    /// <summary>Whether it is about [<see cref="Key"/>, <see cref="To"/>) instead of a key.</summary>
    public bool SpansRange => IsRange || IsRangeCheck || IsIndexCheck || IsRollBack;

    /// <summary>Brings [<see cref="Key"/>, <see cref="To"/>) back to what it was at <see cref="TargetVersion"/>; empty bounds are open.</summary>
    public bool IsRollBack { get; init; }

    public long TargetVersion { get; init; }

    /// <summary>Says something of an index; <see cref="Key"/> is where a filling goes on.</summary>
    public IndexAction IndexAction { get; init; }

    public long IndexId => ConditionVersion;

    /// <summary>Changes one of the partition's own settings: <see cref="Key"/> is its name, <see cref="Value"/> what it becomes.</summary>
    public bool IsSetting { get; init; }

    /// <summary>A put, merge or removal of one key.</summary>
    public bool IsWrite => !IsRange && !IsCheck && !IsRollBack && !IsSetting && IndexAction == IndexAction.None;

    public ReadOnlySpan<byte> Key { get; init; }

    /// <summary>The end of a range.</summary>
    public ReadOnlySpan<byte> To { get; init; }

    public ReadOnlySpan<byte> Value { get; init; }

    /// <summary>Of a merge: its function as encoded (see <see cref="MergeEncoding"/>).</summary>
    public ReadOnlySpan<byte> Function { get => To; init => To = value; }

    /// <summary>Of a merge: the longest value that it may come to.</summary>
    public int Limit { get; init; }

    /// <summary>Milliseconds; 0: never.</summary>
    public long Expiry { get; init; }

    /// <summary>The expiry counts from the command's stamp.</summary>
    public bool IsExpiryRelative { get; init; }

    public ConditionKind Condition { get; init; }

    /// <summary>Of a condition; of an operation about an index, the index's number.</summary>
    public long ConditionVersion { get; init; }

    public ReadOnlySpan<byte> ConditionValue { get; init; }

    /// <summary>When the key expires, for a command accepted at <paramref name="stamp"/>; 0: never.</summary>
    public long ExpiresAt(long stamp)
    {
        if (!IsExpiryRelative)
        {
            return Expiry;
        }

        long at = unchecked(stamp + Expiry);
        return at < stamp ? long.MaxValue : at;
    }
}

/// <summary>
/// Encodes and decodes operations. The layout (docs/format.md, Commands):
/// <code>
///   head      1 byte: bit 0 put, bits 1-3 condition, bit 4 has expiry, bit 5 expiry is relative, bit 6 blind removal;
///             128: removal of a range (format 2 of the record); 132: roll back, 133: of an index (format 4); 143: of a setting (format 7)
///   key       varint length, bytes
///   expiry    8 bytes, if bit 4
///   condition 8 bytes version (if-version), or varint length and bytes (if-value)
///   value     varint length, bytes, if bit 0 or the head is 143, whose key is the setting's name
///   to        varint length, bytes, if the head is 128 or 132: the end of the range that begins with the key; empty bounds are open
///   version   8 bytes, if the head is 132: the version to roll back to
///   index     1 byte what (1 define, 2 fill, 3 ready, 4 drop), 8 bytes the index's number, if the head is 133
///   checks    heads 129, 130 and 134, see CheckEncoding
///   merge     head 131, see MergeEncoding
/// </code>
/// </summary>
internal static class OperationEncoding
{
    private const int PutBit = 1;
    private const int ConditionShift = 1;
    private const int ConditionMask = 7;
    private const int ExpiryBit = 16;
    private const int RelativeBit = 32;
    private const int BlindBit = 64;
    private const int RangeHead = 128;
    private const int RollBackHead = 132;
    private const int IndexHead = 133;
    private const int SettingHead = 143;

    public static void AppendPut(NativeBuffer buffer, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, in WriteOptions options)
    {
        Expiry expiry = options.Expiry;
        int head = PutBit | ((int)options.Condition.Kind << ConditionShift);
        if (expiry.Milliseconds != 0)
        {
            head |= ExpiryBit | (expiry.IsRelative ? RelativeBit : 0);
        }

        AppendHeadAndKey(buffer, head, key);
        if (expiry.Milliseconds != 0)
        {
            buffer.AppendInt64(expiry.Milliseconds);
        }

        AppendCondition(buffer, options.Condition);
        buffer.AppendVarint((ulong)value.Length);
        buffer.Append(value);
    }

    public static void AppendRemove(NativeBuffer buffer, ReadOnlySpan<byte> key, in Condition condition, bool blind)
    {
        int head = ((int)condition.Kind << ConditionShift) | (blind ? BlindBit : 0);
        AppendHeadAndKey(buffer, head, key);
        AppendCondition(buffer, condition);
    }

    public static void AppendRemoveRange(NativeBuffer buffer, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        AppendHeadAndKey(buffer, RangeHead, from);
        buffer.AppendVarint((ulong)to.Length);
        buffer.Append(to);
    }

    public static void AppendRollBack(NativeBuffer buffer, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version)
    {
        AppendHeadAndKey(buffer, RollBackHead, from);
        buffer.AppendVarint((ulong)to.Length);
        buffer.Append(to);
        buffer.AppendInt64(version);
    }

    public static void AppendIndex(NativeBuffer buffer, IndexAction action, long index, ReadOnlySpan<byte> from)
    {
        AppendHeadAndKey(buffer, IndexHead, from);
        buffer.AppendByte((byte)action);
        buffer.AppendInt64(index);
    }

    public static void AppendSetting(NativeBuffer buffer, ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        AppendHeadAndKey(buffer, SettingHead, name);
        buffer.AppendVarint((ulong)value.Length);
        buffer.Append(value);
    }

    /// <summary>Reads the operation at the beginning of <paramref name="bytes"/> and moves behind it; false if the bytes are none.</summary>
    public static bool TryRead(scoped ref ReadOnlySpan<byte> bytes, out Operation operation)
    {
        operation = default;
        if (bytes.IsEmpty)
        {
            return false;
        }

        int head = bytes[0];
        ReadOnlySpan<byte> rest = bytes[1..];
        if (!TryReadBytes(ref rest, out ReadOnlySpan<byte> key))
        {
            return false;
        }

        if (head >= RangeHead)
        {
            return head switch
            {
                RangeHead or RollBackHead => TryReadRange(ref bytes, head, key, rest, out operation),
                MergeEncoding.Head => MergeEncoding.TryRead(ref bytes, key, rest, out operation),
                IndexHead => TryReadIndex(ref bytes, key, rest, out operation),
                SettingHead => TryReadSetting(ref bytes, key, rest, out operation),
                _ => CheckEncoding.TryRead(ref bytes, head, key, rest, out operation),
            };
        }

        long expiry = 0;
        if ((head & ExpiryBit) != 0 && !TryReadInt64(ref rest, out expiry))
        {
            return false;
        }

        var condition = (ConditionKind)((head >> ConditionShift) & ConditionMask);
        long version = 0;
        ReadOnlySpan<byte> expected = default;
        bool conditionRead = condition switch
        {
            ConditionKind.IfVersion => TryReadInt64(ref rest, out version),
            ConditionKind.IfValue => TryReadBytes(ref rest, out expected),
            _ => condition <= ConditionKind.IfValue,
        };
        ReadOnlySpan<byte> value = default;
        if (!conditionRead || ((head & PutBit) != 0 && !TryReadBytes(ref rest, out value)))
        {
            return false;
        }

        operation = new Operation
        {
            IsPut = (head & PutBit) != 0,
            IsBlind = (head & BlindBit) != 0,
            Key = key,
            Value = value,
            Expiry = expiry,
            IsExpiryRelative = (head & RelativeBit) != 0,
            Condition = condition,
            ConditionVersion = version,
            ConditionValue = expected,
        };
        bytes = rest;
        return true;
    }

    private static bool TryReadRange(
        scoped ref ReadOnlySpan<byte> bytes, int head, ReadOnlySpan<byte> from, ReadOnlySpan<byte> rest, out Operation operation)
    {
        operation = default;
        if (!TryReadBytes(ref rest, out ReadOnlySpan<byte> to))
        {
            return false;
        }

        if (head == RollBackHead)
        {
            if (!TryReadInt64(ref rest, out long version) || version < 0)
            {
                return false;
            }

            operation = new Operation { IsRollBack = true, Key = from, To = to, TargetVersion = version };
            bytes = rest;
            return true;
        }

        operation = new Operation { IsRange = true, Key = from, To = to };
        bytes = rest;
        return true;
    }

    private static bool TryReadIndex(scoped ref ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> key, ReadOnlySpan<byte> rest, out Operation operation)
    {
        operation = default;
        if (rest.Length < 9 || rest[0] is < (byte)IndexAction.Define or > (byte)IndexAction.Drop)
        {
            return false;
        }

        operation = new Operation { Key = key, IndexAction = (IndexAction)rest[0], ConditionVersion = BinaryPrimitives.ReadInt64LittleEndian(rest[1..]) };
        bytes = rest[9..];
        return true;
    }

    private static bool TryReadSetting(scoped ref ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> name, ReadOnlySpan<byte> rest, out Operation operation)
    {
        operation = default;
        if (!TryReadBytes(ref rest, out ReadOnlySpan<byte> value))
        {
            return false;
        }

        operation = new Operation { IsSetting = true, Key = name, Value = value };
        bytes = rest;
        return true;
    }

    internal static void AppendHeadAndKey(NativeBuffer buffer, int head, ReadOnlySpan<byte> key)
    {
        buffer.AppendByte((byte)head);
        buffer.AppendVarint((ulong)key.Length);
        buffer.Append(key);
    }

    internal static void AppendCondition(NativeBuffer buffer, in Condition condition)
    {
        if (condition.Kind == ConditionKind.IfVersion)
        {
            buffer.AppendInt64(condition.Version);
        }
        else if (condition.Kind == ConditionKind.IfValue)
        {
            buffer.AppendVarint((ulong)condition.Value.Length);
            buffer.Append(condition.Value.Span);
        }
    }

    internal static bool TryReadInt64(scoped ref ReadOnlySpan<byte> bytes, out long value)
    {
        if (!BinaryPrimitives.TryReadInt64LittleEndian(bytes, out value))
        {
            return false;
        }

        bytes = bytes[8..];
        return true;
    }

    internal static bool TryReadBytes(scoped ref ReadOnlySpan<byte> bytes, out ReadOnlySpan<byte> value)
    {
        int taken = Varint.Read(bytes, out ulong length);
        if (taken == 0 || length > (ulong)(bytes.Length - taken))
        {
            value = default;
            return false;
        }

        value = bytes.Slice(taken, (int)length);
        bytes = bytes[(taken + (int)length)..];
        return true;
    }
}
