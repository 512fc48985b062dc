using System.Buffers.Binary;
using System.Diagnostics;
using System.Runtime.InteropServices;
using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// Lays out one group for one gathered write. One thread at a time: the flusher. Headers and short payloads are copied
/// into one run of native memory; long payloads are written from where they are. Allocates nothing once its buffers
/// have grown.
/// </summary>
internal sealed class GroupBuilder : IDisposable
{
    // Below this many bytes, copying a payload is cheaper than one more segment of the gathered write.
    private const int CopiedPayloadBytes = 8 << 10;

    // Above what a bounded group stages, so that only an unusual one gives memory back.
    private const int KeptBytes = 8 << 20;

    private readonly NativeBuffer _staging = new(64 << 10);
    private Piece[] _pieces = new Piece[16];
    private WriteSegment[] _segments = new WriteSegment[16];
    private int _pieceCount;
    private int _stagedFrom;
    private long _length;
    private int _checksumCount;
    private uint[] _checksums = new uint[64];
    private ulong _salt;
    private uint _seed;

    /// <summary>Bytes an entry takes in a group.</summary>
    public static int Size(JournalEntry entry) =>
        JournalFormat.Align(JournalFormat.RecordHeadBytes(entry.Positions, entry.ContentLength) + entry.ContentLength);

    /// <summary>Begins a group of a segment with this salt.</summary>
    public void Begin(ulong salt)
    {
        if (_seed == 0 || _salt != salt)
        {
            (_salt, _seed) = (salt, JournalFormat.RecordSeed(JournalFormat.Version, salt));
        }

        _staging.Clear(KeptBytes);
        _staging.Append(JournalFormat.GroupHeaderBytes);
        _pieceCount = 0;
        _stagedFrom = 0;
        _checksumCount = 0;
        _length = JournalFormat.GroupHeaderBytes;
    }

    public void Add(JournalEntry entry)
    {
        ReadOnlySpan<LogPosition> positions = entry.Positions;
        ReadOnlySpan<byte> payload = entry.Content;
        Debug.Assert(positions.Length is > 0 and <= JournalFormat.MaxPositions, "a record is for somebody");
        int head = JournalFormat.RecordHeadBytes(positions, payload.Length);
        int size = JournalFormat.Align(head + payload.Length);
        Span<byte> header = _staging.Append(head);
        int headerAt = _staging.Length - head;
        JournalFormat.WriteRecordHead(header, entry.Kind, positions, payload.Length);
        uint checksum = Crc32C.Extend(JournalFormat.RecordChecksum(_seed, header), payload);

        if (payload.Length <= CopiedPayloadBytes)
        {
            _staging.Append(payload);
        }
        else
        {
            CloseStaged();
            AddPiece(new Piece(entry.Payload.Address + entry.PayloadFrom, 0, payload.Length));
        }

        Span<byte> padding = _staging.Append(size - head - payload.Length);
        padding.Clear();
        checksum = Crc32C.Extend(checksum, padding);
        BinaryPrimitives.WriteUInt32LittleEndian(_staging.Slice(headerAt, sizeof(uint)), checksum);
        AddChecksum(checksum);
        _length += size;
    }

    /// <summary>Completes the group at its place; returns its checksum, to which the next group is chained.</summary>
    public uint Finish(long offset, long synced, uint previous)
    {
        Debug.Assert(synced <= offset, "nothing is synced before it is written");
        Debug.Assert(_length <= int.MaxValue, "groups are bounded");
        CloseStaged();
        Span<byte> header = _staging.Slice(0, JournalFormat.GroupHeaderBytes);
        JournalFormat.WriteGroupHeader(header, new GroupHeader
        {
            Length = (int)_length,
            Previous = previous,
            Salt = _salt,
            Offset = offset,
            Synced = synced,
        });
        uint checksum = JournalFormat.HeaderChecksum(header);
        checksum = Crc32C.Extend(checksum, MemoryMarshal.AsBytes(_checksums.AsSpan(0, _checksumCount)));
        JournalFormat.WriteGroupChecksum(header, checksum);
        return checksum;
    }

    /// <summary>Writes the finished group with one call.</summary>
    public void WriteTo(StorageFile file, long fileOffset)
    {
        if (_pieceCount == 1)
        {
            file.Write(fileOffset, _staging.Written);
            return;
        }

        if (_segments.Length < _pieceCount)
        {
            _segments = new WriteSegment[_pieces.Length];
        }

        for (int i = 0; i < _pieceCount; i++)
        {
            Piece piece = _pieces[i];
            nint address = piece.Address != 0 ? piece.Address : _staging.Address + piece.StagedAt;
            _segments[i] = new WriteSegment(address, piece.Length);
        }

        file.Write(fileOffset, _segments.AsSpan(0, _pieceCount));
    }

    public void Dispose() => _staging.Dispose();

    // Staged bytes move when the buffer grows, so pieces of it are kept as offsets until the end.
    private void CloseStaged()
    {
        if (_staging.Length > _stagedFrom)
        {
            AddPiece(new Piece(0, _stagedFrom, _staging.Length - _stagedFrom));
            _stagedFrom = _staging.Length;
        }
    }

    private void AddPiece(Piece piece)
    {
        if (_pieceCount == _pieces.Length)
        {
            Array.Resize(ref _pieces, _pieces.Length * 2);
        }

        _pieces[_pieceCount++] = piece;
    }

    private void AddChecksum(uint checksum)
    {
        if (_checksumCount == _checksums.Length)
        {
            Array.Resize(ref _checksums, _checksums.Length * 2);
        }

        _checksums[_checksumCount++] = checksum;
    }

    private readonly record struct Piece(nint Address, int StagedAt, int Length);
}
