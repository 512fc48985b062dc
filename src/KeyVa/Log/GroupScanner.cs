using System.Buffers.Binary;
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
    private uint _version;
    private ulong _salt;
    private long _base;
    private long _limit;
    private long _windowAt;
    private int _groupLength;
    private readonly RecordReader _records = new();

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
        _version = header.Version;
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

    /// <summary>The bytes of the group that <see cref="TryNext"/> found; valid until it is called again.</summary>
    public ReadOnlySpan<byte> GroupBytes => View(Position - _groupLength, _groupLength);

    /// <summary>Hands the group's records to a reader, those with a position that it asks for.</summary>
    public void ReadRecords<TReader>(ref TReader reader)
        where TReader : IRecordVisitor, allows ref struct =>
        ReadRecords(Position - _groupLength, Group, ref reader);

    /// <summary>As above, for a group that <see cref="TryGroup"/> found.</summary>
    public void ReadRecords<TReader>(long groupAt, in GroupHeader header, ref TReader reader)
        where TReader : IRecordVisitor, allows ref struct =>
        _records.ReadGroup(View(groupAt, header.Length), header.Version, ref reader);

    /// <summary>The header that stands at a place, if it is one of a group or something near it; nothing of it was checked.</summary>
    public bool TryPeek(long at, out GroupHeader header, out bool hasMagic)
    {
        int bytes = HeaderBytes(_version);
        ReadOnlySpan<byte> head = at + bytes <= _limit ? View(at, bytes) : default;
        bool there = head.Length == bytes;
        hasMagic = there && (_version == JournalFormat1.Version ? JournalFormat1.HasGroupMagic(head) : JournalFormat.HasGroupMagic(head));
        header = !there ? default
            : _version == JournalFormat1.Version ? JournalFormat1.ReadGroupHeader(head)
            : JournalFormat.ReadGroupHeader(head, _version);
        return there;
    }

    /// <summary>
    /// Whether what stands at a place can only be what is left of a group of this segment: two of magic, salt and offset are right.
    /// </summary>
    public bool IsRecognizable(long at, out GroupHeader header) =>
        TryPeek(at, out header, out bool hasMagic)
        && (hasMagic ? 1 : 0) + (IsSalt(header, _salt) ? 1 : 0) + (header.Offset == _base + at - JournalFormat.SegmentHeaderBytes ? 1 : 0) >= 2;

    /// <summary>Whether a group's salt is the one that its segment's header names.</summary>
    public static bool IsSalt(in GroupHeader header, ulong salt) =>
        header.Salt == (header.Version == JournalFormat1.Version ? salt : (uint)salt);

    /// <summary>Bytes of a group's header.</summary>
    public static int HeaderBytes(uint version) =>
        version == JournalFormat1.Version ? JournalFormat1.GroupHeaderBytes : JournalFormat.GroupHeaderBytesOf(version);

    /// <summary>Bytes of the group that begins here, which was found intact.</summary>
    public static int LengthOf(ReadOnlySpan<byte> group, uint version) =>
        (version == JournalFormat1.Version ? JournalFormat1.ReadGroupHeader(group) : JournalFormat.ReadGroupHeader(group, version)).Length;

    /// <summary>
    /// Hands over the one record at a place, if its checksum fits, whatever its group is like. <paramref name="length"/>:
    /// the bytes it says it has, checked or not; 0 if what is there cannot be a record.
    /// </summary>
    public bool TryRecord<TReader>(long at, ref TReader reader, out int length)
        where TReader : IRecordVisitor, allows ref struct
    {
        length = 0;
        if (!RecordReader.TryReadHead(View(at, (int)Math.Clamp(_limit - at, 0, JournalFormat.MaxRecordHeadBytes)), _version, out RecordHead head)
            || head.Length > _limit - at)
        {
            return false;
        }

        length = head.Length;
        ReadOnlySpan<byte> record = View(at, length);
        if (record.Length != length
            || BinaryPrimitives.ReadUInt32LittleEndian(record) != JournalFormat.RecordChecksum(JournalFormat.RecordSeed(_version, _salt), record)
            || head.Kind is not (RecordKind.Commands or RecordKind.Commit or RecordKind.Ingest or RecordKind.Reached or RecordKind.Replicated))
        {
            return false;
        }

        _records.Visit(record, _version, head, ref reader);
        return true;
    }

    /// <summary>
    /// Whether an intact group begins at a place in the file; with a salt it must also carry that and stand where it says.
    /// Its chain is not looked at. Where the segment's header is not known, a group of any version will do.
    /// </summary>
    public bool TryGroup(long at, ulong? salt, out GroupHeader header) =>
        _version == 0
            ? TryGroupOf(JournalFormat.Version, at, salt, out header)
                || TryGroupOf(JournalFormat.Version2, at, salt, out header)
                || TryGroupOf(JournalFormat1.Version, at, salt, out header)
            : TryGroupOf(_version, at, salt, out header);

    private bool TryGroupOf(uint version, long at, ulong? salt, out GroupHeader header)
    {
        header = default;
        int headerBytes = HeaderBytes(version);
        if (at + headerBytes > _limit)
        {
            return false;
        }

        bool first = version == JournalFormat1.Version;
        ReadOnlySpan<byte> head = View(at, headerBytes);
        if (head.Length < headerBytes || !(first ? JournalFormat1.HasGroupMagic(head) : JournalFormat.HasGroupMagic(head)))
        {
            return false;
        }

        header = first ? JournalFormat1.ReadGroupHeader(head) : JournalFormat.ReadGroupHeader(head, version);
        if (header.Length < headerBytes
            || header.Length % JournalFormat.Alignment != 0
            || header.Length > _limit - at
            || header.Records < 0
            || header.Synced < 0
            || header.Synced > header.Offset
            || (salt is { } expected
                && (!IsSalt(header, expected) || header.Offset != _base + at - JournalFormat.SegmentHeaderBytes)))
        {
            return false;
        }

        ReadOnlySpan<byte> group = View(at, header.Length);
        if (group.Length != header.Length)
        {
            return false;
        }

        if (first)
        {
            return JournalFormat1.IsIntact(group, header);
        }

        bool intact = JournalFormat.IsIntact(group, header, out int records);
        header = header with { Records = records };
        return intact;
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
