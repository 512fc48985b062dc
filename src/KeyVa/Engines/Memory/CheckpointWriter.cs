using System.Buffers.Binary;
using System.Diagnostics;
using KeyVa.Io;

namespace KeyVa.Engines.Memory;

/// <summary>Writes one checkpoint file from its beginning to its end; see <see cref="CheckpointFormat"/>. One thread.</summary>
internal sealed class CheckpointWriter : IDisposable
{
    private readonly StorageFile _file;
    private readonly bool _withHistory;
    private readonly NativeBuffer _block = new(CheckpointFormat.BlockBytes * 2);
    private long _offset;
    private uint _total;
    private uint _entriesInBlock;
    private long _blocks;
    private long _keys;
    private long _valueBytes;

    public CheckpointWriter(StorageFile file, CheckpointHeader header)
    {
        _file = file;
        Span<byte> bytes = stackalloc byte[CheckpointFormat.HeaderBytes];
        bytes.Clear();
        CheckpointFormat.Magic.CopyTo(bytes);
        _withHistory = header.History is not null;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], _withHistory ? CheckpointFormat.VersionWithHistory : (uint)CheckpointFormat.Version);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[16..], header.Index);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[24..], header.Version);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[32..], header.Stamp);
        if (header.History is { } history)
        {
            BinaryPrimitives.WriteInt64LittleEndian(bytes[40..], history.From);
            BinaryPrimitives.WriteInt64LittleEndian(bytes[48..], history.CountedFrom);
            BinaryPrimitives.WriteInt32LittleEndian(bytes[56..], history.Count);
        }

        BinaryPrimitives.WriteUInt32LittleEndian(bytes[60..], Crc32C.Compute(bytes[..60]));
        _total = Crc32C.Compute(bytes[60..]);
        _file.Write(0, bytes);
        _offset = bytes.Length;
        BeginBlock();
    }

    public long BytesSoFar => _offset + _block.Length;

    public void Add(EngineCursor entry) => Add(entry.Key, entry.Value, isRemoval: false, entry.Version, entry.Stamp, entry.ExpiresAt);

    /// <summary>Versions of a key come newest first. Removals are in files with history only.</summary>
    public void Add(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, bool isRemoval, long version, long stamp, long expiresAt)
    {
        Debug.Assert(_withHistory || !isRemoval, "a checkpoint without history has what exists");
        _block.AppendVarint((ulong)key.Length);
        _block.AppendVarint(_withHistory ? (isRemoval ? 0 : (ulong)value.Length + 1) : (ulong)value.Length);
        _block.AppendVarint((ulong)version);
        _block.AppendVarint((ulong)stamp);
        _block.AppendVarint((ulong)expiresAt);
        _block.Append(key);
        _block.Append(value);
        _entriesInBlock++;
        _keys++;
        _valueBytes += value.Length;
        if (_block.Length >= CheckpointFormat.BlockBytes)
        {
            WriteBlock();
        }
    }

    /// <summary>Writes what is left and the footer; returns the length of the file. The caller syncs.</summary>
    public long Complete()
    {
        if (_entriesInBlock > 0)
        {
            WriteBlock();
        }

        Span<byte> footer = stackalloc byte[CheckpointFormat.FooterBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(footer, 0);
        BinaryPrimitives.WriteUInt32LittleEndian(footer[4..], CheckpointFormat.FooterMagic);
        BinaryPrimitives.WriteInt64LittleEndian(footer[8..], _blocks);
        BinaryPrimitives.WriteInt64LittleEndian(footer[16..], _keys);
        BinaryPrimitives.WriteInt64LittleEndian(footer[24..], _valueBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(footer[32..], _total);
        BinaryPrimitives.WriteUInt32LittleEndian(footer[36..], Crc32C.Compute(footer[..36]));
        _file.Write(_offset, footer);
        return _offset + footer.Length;
    }

    public void Dispose() => _block.Dispose();

    private void BeginBlock()
    {
        _block.Clear(CheckpointFormat.BlockBytes * 2);
        _block.Append(CheckpointFormat.BlockHeaderBytes);
        _entriesInBlock = 0;
    }

    private void WriteBlock()
    {
        int length = _block.Length - CheckpointFormat.BlockHeaderBytes;
        Span<byte> header = _block.Slice(0, CheckpointFormat.BlockHeaderBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(header, (uint)length);
        BinaryPrimitives.WriteUInt32LittleEndian(header[4..], _entriesInBlock);
        uint checksum = Crc32C.Compute(header[..8]);
        checksum = Crc32C.Extend(checksum, _block.Slice(CheckpointFormat.BlockHeaderBytes, length));
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], checksum);
        _total = Crc32C.Extend(_total, header[8..]);
        _file.Write(_offset, _block.Written);
        _offset += _block.Length;
        _blocks++;
        BeginBlock();
    }
}
