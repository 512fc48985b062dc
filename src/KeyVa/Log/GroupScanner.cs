using System.Buffers.Binary;
using System.Runtime.InteropServices;
using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// Walks the groups of one segment file through a window of bounded size; a longer group grows the window for as long as
/// it is looked at. One thread at a time. Hands out nothing whose checksum, place and chain were not found right.
/// </summary>
internal sealed class GroupScanner : IDisposable
{
    public const int WindowBytes = 1 << 20;

    private readonly NativeBuffer _window = new(WindowBytes);
    private StorageFile? _file;
    private ulong _salt;
    private long _base;
    private long _limit;
    private long _windowAt;
    private int _groupLength;

    /// <summary>Where in the file the next group is expected.</summary>
    public long Position { get; private set; }

    /// <summary>Checksum of the group before <see cref="Position"/>.</summary>
    public uint Previous { get; private set; }

    /// <summary>The group that <see cref="TryNext"/> found.</summary>
    public GroupHeader Group { get; private set; }

    /// <summary>The absolute offset of <see cref="Position"/>.</summary>
    public long Offset => _base + Position - JournalFormat.SegmentHeaderBytes;

    /// <summary>Begins at the first group of a segment; nothing at or past <paramref name="limit"/> in the file is looked at.</summary>
    public void Begin(StorageFile file, in SegmentHeader header, long limit)
    {
        _file = file;
        _salt = header.Salt;
        _base = header.Base;
        _limit = limit;
        _window.Clear(WindowBytes);
        _windowAt = 0;
        Position = JournalFormat.SegmentHeaderBytes;
        Previous = header.Previous;
        _groupLength = 0;
    }

    /// <summary>Moves to the next group; false, without moving, where no intact and chained group begins.</summary>
    public bool TryNext()
    {
        if (!TryGroup(Position, _salt, out GroupHeader header)
            || header.Previous != Previous
            || header.Offset != Offset)
        {
            return false;
        }

        Group = header;
        _groupLength = header.Length;
        Previous = header.Checksum;
        Position += header.Length;
        return true;
    }

    /// <summary>Hands the group's records to a reader, those with a position that it asks for.</summary>
    public void ReadRecords<TReader>(ref TReader reader)
        where TReader : IRecordVisitor, allows ref struct =>
        ReadRecords(Position - _groupLength, Group, ref reader);

    /// <summary>As above, for a group that <see cref="TryGroup"/> found.</summary>
    public void ReadRecords<TReader>(long groupAt, in GroupHeader header, ref TReader reader)
        where TReader : IRecordVisitor, allows ref struct
    {
        ReadOnlySpan<byte> group = View(groupAt, header.Length);
        int at = JournalFormat.GroupHeaderBytes;
        for (int i = 0; i < header.Records; i++)
        {
            int length = JournalFormat.RecordLength(group[at..]);
            Visit(group.Slice(at, length), ref reader);
            at += length;
        }
    }

    /// <summary>The header that stands at a place, if it is one of a group or something near it; nothing of it was checked.</summary>
    public bool TryPeek(long at, out GroupHeader header, out bool hasMagic)
    {
        ReadOnlySpan<byte> head = at + JournalFormat.GroupHeaderBytes <= _limit ? View(at, JournalFormat.GroupHeaderBytes) : default;
        bool there = head.Length == JournalFormat.GroupHeaderBytes;
        hasMagic = there && BinaryPrimitives.ReadUInt32LittleEndian(head) == JournalFormat.GroupMagic;
        header = there ? JournalFormat.ReadGroupHeader(head) : default;
        return there;
    }

    /// <summary>
    /// Hands over the one record at a place, if its checksum fits, whatever its group is like. <paramref name="length"/>:
    /// the bytes it says it has, checked or not; 0 if what is there cannot be a record.
    /// </summary>
    public bool TryRecord<TReader>(long at, ref TReader reader, out int length)
        where TReader : IRecordVisitor, allows ref struct
    {
        length = 0;
        if (at + JournalFormat.RecordHeaderBytes > _limit)
        {
            return false;
        }

        ReadOnlySpan<byte> head = View(at, JournalFormat.RecordHeaderBytes);
        int claimed = JournalFormat.ClaimedRecordLength(head);
        if (claimed == 0 || claimed > _limit - at)
        {
            return false;
        }

        length = claimed;
        ReadOnlySpan<byte> record = View(at, claimed);
        if (record.Length != claimed
            || BinaryPrimitives.ReadUInt32LittleEndian(record) != Crc32C.Compute(record[4..])
            || (RecordKind)record[8] is not (RecordKind.Commands or RecordKind.Commit))
        {
            return false;
        }

        Visit(record, ref reader);
        return true;
    }

    private static void Visit<TReader>(ReadOnlySpan<byte> record, ref TReader reader)
        where TReader : IRecordVisitor, allows ref struct
    {
        int payload = BinaryPrimitives.ReadInt32LittleEndian(record[4..]);
        int positions = BinaryPrimitives.ReadUInt16LittleEndian(record[10..]);
        int payloadAt = JournalFormat.RecordHeaderBytes + (positions * JournalFormat.PositionBytes);
        reader.Visit(new JournalRecord
        {
            Kind = (RecordKind)record[8],
            Positions = MemoryMarshal.Cast<byte, LogPosition>(
                record[JournalFormat.RecordHeaderBytes..payloadAt]),
            Payload = record.Slice(payloadAt, payload),
        });
    }

    /// <summary>
    /// Whether an intact group begins at a place in the file; with a salt it must also carry that and stand where it says.
    /// Its chain is not looked at.
    /// </summary>
    public bool TryGroup(long at, ulong? salt, out GroupHeader header)
    {
        header = default;
        if (at + JournalFormat.GroupHeaderBytes > _limit)
        {
            return false;
        }

        ReadOnlySpan<byte> head = View(at, JournalFormat.GroupHeaderBytes);
        if (head.Length < JournalFormat.GroupHeaderBytes
            || BinaryPrimitives.ReadUInt32LittleEndian(head) != JournalFormat.GroupMagic)
        {
            return false;
        }

        header = JournalFormat.ReadGroupHeader(head);
        if (header.Length < JournalFormat.GroupHeaderBytes
            || header.Length % JournalFormat.Alignment != 0
            || header.Length > _limit - at
            || header.Records < 0
            || header.Synced > header.Offset
            || (salt is { } expected
                && (header.Salt != expected || header.Offset != _base + at - JournalFormat.SegmentHeaderBytes)))
        {
            return false;
        }

        ReadOnlySpan<byte> group = View(at, header.Length);
        return group.Length == header.Length && JournalFormat.IsIntact(group, header);
    }

    /// <summary>
    /// The next place at or after <paramref name="at"/> with a byte that is not zero, rounded down to the alignment; -1 if
    /// there is none before the limit.
    /// </summary>
    public long SkipZeros(long at)
    {
        while (at < _limit)
        {
            // Whatever of the window lies ahead; a new one is read only at its end.
            long ahead = _windowAt + _window.Length - at;
            bool inside = at >= _windowAt && ahead > 0;
            ReadOnlySpan<byte> view = View(at, (int)Math.Min(inside ? ahead : WindowBytes, _limit - at));
            if (view.IsEmpty)
            {
                return -1;
            }

            int found = view.IndexOfAnyExcept((byte)0);
            if (found >= 0)
            {
                return at + (found & -JournalFormat.Alignment);
            }

            at += view.Length;
        }

        return -1;
    }

    public void Dispose() => _window.Dispose();

    // Fewer bytes than asked for only where the file ends.
    private ReadOnlySpan<byte> View(long at, int count)
    {
        long within = at - _windowAt;
        if (within < 0 || within + count > _window.Length)
        {
            _window.Clear(WindowBytes);
            int wanted = (int)Math.Max(count, Math.Min(WindowBytes, _limit - at));
            int read = _file!.Read(at, _window.Append(wanted));
            _window.Truncate(read);
            _windowAt = at;
            within = 0;
        }

        return _window.Written.Slice((int)within, (int)Math.Min(count, _window.Length - within));
    }
}

/// <summary>Receives the records of a group; a struct, so that walking costs no dispatch.</summary>
internal interface IRecordVisitor
{
    void Visit(in JournalRecord record);
}
