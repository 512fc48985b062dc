using System.Buffers.Binary;
using KeyVa.Io;
using KeyVa.Log;

namespace KeyVa.Partitions;

/// <summary>
/// The journal record of a group of commands. The payload (docs/format.md, Commands):
/// <code>
///   format    1 byte  1; 2 if a command removes a range; 4 if it has other operations without a key of their own or evaluated at apply
///                     (heads above 128); 5 if one belongs to a session (see SessionHead); 6 if one is a step of a commit over several
///                     partitions of a cluster (see CommitStep; with a long head alone); 7 if one changes a setting of the partition; bit 4 is set; bit 5: one command, whose length follows from the payload's
///   version   varint  version of the first command; the others follow by one
///   stamp     varint  Unix milliseconds, never falling along the log
///   count     varint  not with bit 5
///   command*  varint length (not with bit 5), operations (see OperationEncoding)
/// </code>
/// Commits and bulk loads, whose format is 3 and whose commands are the tables of a partition (see StagedTable), have the long head, as groups had it
/// before: without bit 4, version and stamp 8 bytes each, count and lengths 4.
/// </summary>
internal sealed class GroupEntry(long partition, Action completed) : JournalEntry
{
    /// <summary>Bytes of the long head.</summary>
    public const int HeaderBytes = 21;

    /// <summary>Of a head's first byte: version, stamp, count and lengths are varints.</summary>
    public const byte ShortHeadBit = 16;

    /// <summary>Of a short head: one command, and neither count nor length.</summary>
    public const byte SingleBit = 32;

    /// <summary>The bits of a head's first byte that are the format.</summary>
    public const byte FormatMask = 15;

    // Of a short head, with the length of the first command, which stands in front of it.
    private const int MaxHeadBytes = 1 + (4 * Varint.MaxLength);

    /// <summary>Without removals of ranges, as it always was: a build that does not know them reads it.</summary>
    public const byte Format = 1;
    public const byte FormatWithRanges = 2;

    /// <summary>The payload of a bulk load: builds that know none refuse it.</summary>
    public const byte IngestFormat = 3;

    /// <summary>Commands with operations that builds of format 2 do not know.</summary>
    public const byte ExtendedFormat = 4;

    /// <summary>Commands of sessions, which builds of format 4 do not know.</summary>
    public const byte SessionFormat = 5;

    /// <summary>Steps of commits over several partitions of a cluster, which builds of format 5 do not know.</summary>
    public const byte CommitFormat = 6;

    /// <summary>Changes of the partition's own settings, which builds of format 6 do not know.</summary>
    public const byte SettingsFormat = 7;

    private const int KeptBytes = 4 << 20;

    private readonly LogPosition[] _positions = [new LogPosition(partition, 0, 0)];
    private byte _format;
    private int _firstLength;

    public override ReadOnlySpan<LogPosition> Positions => _positions;

    public int Count { get; private set; }

    public void Begin(long term, long index)
    {
        _positions[0] = new LogPosition(_positions[0].Partition, term, index);
        Kind = RecordKind.Commands;
        MayUseReserve = true;
        _format = Format;
        Count = 0;
        Payload.Clear(KeptBytes);
        Payload.Append(MaxHeadBytes);
        PayloadFrom = MaxHeadBytes;
    }

    public void Add(CommandBuilder command)
    {
        if (Count == 0)
        {
            _firstLength = command.Length;
        }
        else
        {
            Payload.AppendVarint((ulong)command.Length);
        }

        if (command.Session.IsSet)
        {
            command.Session.WriteTo(Payload.Append(command.Session.Length));
        }

        Payload.Append(command.Buffer.Written);
        MayUseReserve &= command.OnlyRemovals;
        _format = Math.Max(_format, command.Format);
        Count++;
    }

    /// <summary>Writes the head, right in front of the first command.</summary>
    public void Seal(long version, long stamp)
    {
        Span<byte> head = stackalloc byte[MaxHeadBytes];
        bool single = Count == 1;
        head[0] = (byte)(_format | ShortHeadBit | (single ? SingleBit : 0));
        int length = 1;
        length += Varint.Write(head[length..], (ulong)version);
        length += Varint.Write(head[length..], (ulong)stamp);
        if (!single)
        {
            length += Varint.Write(head[length..], (ulong)Count);
            if (Count > 0)
            {
                length += Varint.Write(head[length..], (ulong)_firstLength);
            }
        }

        PayloadFrom = MaxHeadBytes - length;
        head[..length].CopyTo(Payload.Slice(PayloadFrom, length));
    }

    public override void Completed() => completed();

    /// <summary>Writes the long head.</summary>
    public static void WriteHeader(Span<byte> header, byte format, long version, long stamp, int count)
    {
        header[0] = format;
        BinaryPrimitives.WriteInt64LittleEndian(header[1..], version);
        BinaryPrimitives.WriteInt64LittleEndian(header[9..], stamp);
        BinaryPrimitives.WriteInt32LittleEndian(header[17..], count);
    }
}

/// <summary>Reads a group's payload command by command.</summary>
internal ref struct GroupReader
{
    private readonly bool _short;
    private readonly bool _single;
    private ReadOnlySpan<byte> _rest;
    private bool _read;

    private GroupReader(ReadOnlySpan<byte> rest, byte head, long version, long stamp, int count)
    {
        _rest = rest;
        _short = (head & GroupEntry.ShortHeadBit) != 0;
        _single = _short && (head & GroupEntry.SingleBit) != 0;
        Version = version;
        Stamp = stamp;
        Count = count;
    }

    public long Version { get; }

    public long Stamp { get; }

    public int Count { get; }

    public static bool TryOpen(ReadOnlySpan<byte> payload, out GroupReader reader)
    {
        reader = default;
        if (!payload.IsEmpty && (payload[0] & GroupEntry.ShortHeadBit) != 0)
        {
            return TryOpenShort(payload, out reader);
        }

        if (payload.Length < GroupEntry.HeaderBytes || payload[0] is not (GroupEntry.Format or GroupEntry.FormatWithRanges or GroupEntry.IngestFormat or GroupEntry.ExtendedFormat or GroupEntry.SessionFormat or GroupEntry.CommitFormat or GroupEntry.SettingsFormat))
        {
            return false;
        }

        reader = new GroupReader(
            payload[GroupEntry.HeaderBytes..],
            payload[0],
            BinaryPrimitives.ReadInt64LittleEndian(payload[1..]),
            BinaryPrimitives.ReadInt64LittleEndian(payload[9..]),
            BinaryPrimitives.ReadInt32LittleEndian(payload[17..]));
        return reader.Count >= 0;
    }

    public bool TryRead(out ReadOnlySpan<byte> command)
    {
        if (_single)
        {
            command = _rest;
            _rest = default;
            return !_read && (_read = true);
        }

        command = default;
        int taken = sizeof(int);
        ulong length;
        if (_short)
        {
            taken = Varint.Read(_rest, out length);
        }
        else if (BinaryPrimitives.TryReadUInt32LittleEndian(_rest, out uint fixedLength))
        {
            length = fixedLength;
        }
        else
        {
            return false;
        }

        if (taken == 0 || length > (ulong)(_rest.Length - taken))
        {
            return false;
        }

        command = _rest.Slice(taken, (int)length);
        _rest = _rest[(taken + (int)length)..];
        return true;
    }

    private static bool TryOpenShort(ReadOnlySpan<byte> payload, out GroupReader reader)
    {
        reader = default;
        byte head = payload[0];
        int format = head & GroupEntry.FormatMask;
        const int known = GroupEntry.FormatMask | GroupEntry.ShortHeadBit | GroupEntry.SingleBit;
        ReadOnlySpan<byte> rest = payload[1..];
        if ((head & ~known) != 0
            || format is not (GroupEntry.Format or GroupEntry.FormatWithRanges or GroupEntry.ExtendedFormat or GroupEntry.SessionFormat or GroupEntry.SettingsFormat)
            || !TryTake(ref rest, out long version)
            || !TryTake(ref rest, out long stamp))
        {
            return false;
        }

        long count = 1;
        if ((head & GroupEntry.SingleBit) == 0 && (!TryTake(ref rest, out count) || count > int.MaxValue))
        {
            return false;
        }

        reader = new GroupReader(rest, head, version, stamp, (int)count);
        return true;
    }

    private static bool TryTake(ref ReadOnlySpan<byte> from, out long value)
    {
        int taken = Varint.Read(from, out ulong read);
        from = from[taken..];
        value = (long)read;
        return taken > 0 && value >= 0;
    }
}
