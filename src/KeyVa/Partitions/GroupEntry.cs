using System.Buffers.Binary;
using KeyVa.Log;

namespace KeyVa.Partitions;

/// <summary>
/// The journal record of a group of commands. The payload (docs/format.md, Commands):
/// <code>
///   format    1 byte  1; 2 if a command removes a range; 4 if it has other operations without a key of their own or evaluated at apply
///                     (heads above 128); 3 for a bulk load, whose commands are the tables of a partition (see StagedTable)
///   version   8 bytes version of the first command; the others follow by one
///   stamp     8 bytes Unix milliseconds, never falling along the log
///   count     4 bytes
///   command*  4 bytes length, operations (see OperationEncoding)
/// </code>
/// </summary>
internal sealed class GroupEntry(long partition, Action completed) : JournalEntry
{
    public const int HeaderBytes = 21;

    /// <summary>Without removals of ranges, as it always was: a build that does not know them reads it.</summary>
    public const byte Format = 1;
    public const byte FormatWithRanges = 2;

    /// <summary>The payload of a bulk load: builds that know none refuse it.</summary>
    public const byte IngestFormat = 3;

    /// <summary>Commands with operations that builds of format 2 do not know.</summary>
    public const byte ExtendedFormat = 4;

    private const int KeptBytes = 4 << 20;

    private readonly LogPosition[] _positions = [new LogPosition(partition, 0, 0)];
    private byte _format;

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
        Payload.Append(HeaderBytes);
    }

    public void Add(CommandBuilder command)
    {
        Payload.AppendUInt32((uint)command.Buffer.Length);
        Payload.Append(command.Buffer.Written);
        MayUseReserve &= command.OnlyRemovals;
        _format = Math.Max(_format, command.Format);
        Count++;
    }

    public void Seal(long version, long stamp) => WriteHeader(Payload.Slice(0, HeaderBytes), _format, version, stamp, Count);

    public override void Completed() => completed();

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
    private ReadOnlySpan<byte> _rest;

    private GroupReader(ReadOnlySpan<byte> rest, long version, long stamp, int count)
    {
        _rest = rest;
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
        if (payload.Length < GroupEntry.HeaderBytes || payload[0] is not (GroupEntry.Format or GroupEntry.FormatWithRanges or GroupEntry.IngestFormat or GroupEntry.ExtendedFormat))
        {
            return false;
        }

        reader = new GroupReader(
            payload[GroupEntry.HeaderBytes..],
            BinaryPrimitives.ReadInt64LittleEndian(payload[1..]),
            BinaryPrimitives.ReadInt64LittleEndian(payload[9..]),
            BinaryPrimitives.ReadInt32LittleEndian(payload[17..]));
        return reader.Count >= 0;
    }

    public bool TryRead(out ReadOnlySpan<byte> command)
    {
        if (!BinaryPrimitives.TryReadInt32LittleEndian(_rest, out int length) || (uint)length > (uint)(_rest.Length - 4))
        {
            command = default;
            return false;
        }

        command = _rest.Slice(4, length);
        _rest = _rest[(4 + length)..];
        return true;
    }
}
