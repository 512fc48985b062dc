using System.Buffers.Binary;
using KeyVa.Io;

namespace KeyVa.Engines.Memory;

/// <summary>
/// Reads a checkpoint file entry by entry, block by block; nothing is returned before its block's checksum was checked,
/// and the end is reached only if the footer's counts and checksum fit. One thread. See <see cref="CheckpointFormat"/>.
/// </summary>
internal sealed class CheckpointReader(StorageFile file) : IDisposable
{
    private readonly NativeBuffer _block = new(CheckpointFormat.BlockBytes * 2);
    private long _nextBlock = CheckpointFormat.HeaderBytes;
    private long _blockStart;
    private int _position;
    private uint _entriesLeft;
    private uint _total;
    private long _blocksRead;
    private long _keysRead;
    private long _valueBytesRead;

    private long _blocks;
    private long _valueBytes;
    private uint _expectedTotal;

    private int _keyStart;
    private int _keyLength;
    private int _valueLength;

    public string Path => file.Path;

    public long FileBytes => file.Length;

    public CheckpointHeader Header { get; private set; }

    /// <summary>Whether the entry is a tombstone.</summary>
    public bool IsRemoval { get; private set; }

    /// <summary>How many entries follow, by the footer.</summary>
    public long Keys { get; private set; }

    public ReadOnlySpan<byte> Key => _block.Written.Slice(_keyStart, _keyLength);

    public ReadOnlySpan<byte> Value => _block.Written.Slice(_keyStart + _keyLength, _valueLength);

    public long Version { get; private set; }

    public long Stamp { get; private set; }

    public long ExpiresAt { get; private set; }

    /// <summary>Reads and checks header and footer; first of all.</summary>
    public void ReadEnds()
    {
        if (file.Length < CheckpointFormat.HeaderBytes + CheckpointFormat.FooterBytes)
        {
            throw new CorruptionException(Path, file.Length, "the checkpoint is cut off");
        }

        Span<byte> header = stackalloc byte[CheckpointFormat.HeaderBytes];
        ReadFully(0, header);
        if (BinaryPrimitives.ReadUInt32LittleEndian(header[60..]) != Crc32C.Compute(header[..60])
            || !header.StartsWith(CheckpointFormat.Magic))
        {
            throw new CorruptionException(Path, 0, "the header's checksum does not fit");
        }

        uint format = BinaryPrimitives.ReadUInt32LittleEndian(header[8..]);
        if (format is not (CheckpointFormat.Version or CheckpointFormat.VersionWithHistory))
        {
            throw new StoreException($"'{Path}' has checkpoint format {format}; this version reads {CheckpointFormat.Version} and {CheckpointFormat.VersionWithHistory}");
        }

        Header = Decode(header);
        _total = Crc32C.Compute(header[60..]);
        ReadFooter();
    }

    /// <summary>What a header says whose checksum fits.</summary>
    public static CheckpointHeader Decode(ReadOnlySpan<byte> header) => new(
        BinaryPrimitives.ReadInt64LittleEndian(header[16..]),
        BinaryPrimitives.ReadInt64LittleEndian(header[24..]),
        BinaryPrimitives.ReadInt64LittleEndian(header[32..]))
    {
        History = BinaryPrimitives.ReadUInt32LittleEndian(header[8..]) != CheckpointFormat.VersionWithHistory ? null : new HistoryMark(
            BinaryPrimitives.ReadInt64LittleEndian(header[40..]),
            BinaryPrimitives.ReadInt32LittleEndian(header[56..]),
            BinaryPrimitives.ReadInt64LittleEndian(header[48..])),
    };

    /// <summary>Goes to the next entry; false at the end, when everything was there.</summary>
    public bool MoveNext()
    {
        if (_entriesLeft == 0)
        {
            if (_position != _block.Length)
            {
                throw Damage("a block holds more than its entries");
            }

            if (_nextBlock == file.Length - CheckpointFormat.FooterBytes)
            {
                CheckTotals();
                return false;
            }

            ReadBlock();
        }

        ReadEntry();
        return true;
    }

    /// <summary>What is said of the block that is being read.</summary>
    public CorruptionException Damage(string detail) => new(Path, _blockStart, detail);

    public void Dispose()
    {
        _block.Dispose();
        file.Dispose();
    }

    private void ReadFooter()
    {
        Span<byte> footer = stackalloc byte[CheckpointFormat.FooterBytes];
        long offset = file.Length - CheckpointFormat.FooterBytes;
        ReadFully(offset, footer);
        if (BinaryPrimitives.ReadUInt32LittleEndian(footer[36..]) != Crc32C.Compute(footer[..36])
            || BinaryPrimitives.ReadUInt32LittleEndian(footer) != 0
            || BinaryPrimitives.ReadUInt32LittleEndian(footer[4..]) != CheckpointFormat.FooterMagic)
        {
            throw new CorruptionException(Path, offset, "the footer's checksum does not fit");
        }

        _blocks = BinaryPrimitives.ReadInt64LittleEndian(footer[8..]);
        Keys = BinaryPrimitives.ReadInt64LittleEndian(footer[16..]);
        _valueBytes = BinaryPrimitives.ReadInt64LittleEndian(footer[24..]);
        _expectedTotal = BinaryPrimitives.ReadUInt32LittleEndian(footer[32..]);
    }

    private void ReadBlock()
    {
        _blockStart = _nextBlock;
        long room = file.Length - CheckpointFormat.FooterBytes - _blockStart - CheckpointFormat.BlockHeaderBytes;
        if (room <= 0)
        {
            throw Damage("a block does not fit before the footer");
        }

        Span<byte> header = stackalloc byte[CheckpointFormat.BlockHeaderBytes];
        ReadFully(_blockStart, header);
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(header);
        uint entries = BinaryPrimitives.ReadUInt32LittleEndian(header[4..]);
        if (length == 0 || entries == 0 || length > room || length > CheckpointFormat.MaxBlockBytes)
        {
            throw Damage("a block's length is impossible");
        }

        _block.Clear(CheckpointFormat.BlockBytes * 2);
        Span<byte> payload = _block.Append((int)length);
        ReadFully(_blockStart + CheckpointFormat.BlockHeaderBytes, payload);
        uint checksum = Crc32C.Extend(Crc32C.Compute(header[..8]), payload);
        if (checksum != BinaryPrimitives.ReadUInt32LittleEndian(header[8..]))
        {
            throw Damage("a block's checksum does not fit");
        }

        _total = Crc32C.Extend(_total, header[8..]);
        _nextBlock = _blockStart + CheckpointFormat.BlockHeaderBytes + length;
        _position = 0;
        _entriesLeft = entries;
        _blocksRead++;
    }

    private void ReadEntry()
    {
        ulong keyLength = ReadNumber();
        ulong valueLength = ReadNumber();
        IsRemoval = Header.History is not null && valueLength == 0;
        valueLength -= Header.History is not null && !IsRemoval ? 1UL : 0;
        Version = (long)ReadNumber();
        Stamp = (long)ReadNumber();
        ExpiresAt = (long)ReadNumber();
        ulong room = (ulong)(_block.Length - _position);
        if (keyLength is 0 or > ushort.MaxValue || keyLength > room || valueLength > room - keyLength)
        {
            throw Damage("an entry's lengths do not fit into its block");
        }

        _keyStart = _position;
        _keyLength = (int)keyLength;
        _valueLength = (int)valueLength;
        _position += _keyLength + _valueLength;
        _entriesLeft--;
        _keysRead++;
        _valueBytesRead += _valueLength;
    }

    private ulong ReadNumber()
    {
        int read = Varint.Read(_block.Written[_position..], out ulong value);
        if (read == 0)
        {
            throw Damage("an entry's numbers are cut off");
        }

        _position += read;
        return value;
    }

    private void CheckTotals()
    {
        if (_blocksRead != _blocks || _keysRead != Keys || _valueBytesRead != _valueBytes || _total != _expectedTotal)
        {
            throw new CorruptionException(Path, _nextBlock, "the footer does not fit the blocks");
        }
    }

    private void ReadFully(long offset, Span<byte> destination)
    {
        if (file.Read(offset, destination) != destination.Length)
        {
            throw new CorruptionException(Path, offset, "the checkpoint is cut off");
        }
    }
}
