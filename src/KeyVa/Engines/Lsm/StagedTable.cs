using System.Buffers.Binary;
using System.Diagnostics;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// A table of a bulk load that is written and synced, but is not in the manifest yet: its entries have version 0 and stamp
/// 0, which become those of the load when it is applied.
/// </summary>
/// <remarks>
/// As a part of the load's journal record (docs/format.md, Commands):
/// <code>
/// id varint | file bytes varint | properties offset varint | properties length varint | properties (see TableProperties)
/// </code>
/// </remarks>
/// <param name="Id">The number in its staging name.</param>
/// <param name="FileBytes">The file's length.</param>
/// <param name="PropertiesOffset">Where the properties are in the file.</param>
/// <param name="Properties">As they are in the file before the load is applied.</param>
internal sealed record StagedTable(long Id, long FileBytes, long PropertiesOffset, byte[] Properties)
{
    /// <summary>About what the manifest's record takes for a table besides its properties: numbers and tags.</summary>
    public const int EditOverheadBytes = 64;

    public void Encode(NativeBuffer output)
    {
        output.AppendVarint((ulong)Id);
        output.AppendVarint((ulong)FileBytes);
        output.AppendVarint((ulong)PropertiesOffset);
        output.AppendVarint((ulong)Properties.Length);
        output.Append(Properties);
    }

    /// <summary>Reads the next table; false if the bytes are none.</summary>
    public static bool TryRead(ref ReadOnlySpan<byte> source, out StagedTable? table)
    {
        table = null;
        if (!TryReadNumber(ref source, out long id) || !TryReadNumber(ref source, out long fileBytes)
            || !TryReadNumber(ref source, out long offset) || !TryReadNumber(ref source, out long length) || (ulong)length > (ulong)source.Length)
        {
            return false;
        }

        table = new StagedTable(id, fileBytes, offset, source[..(int)length].ToArray());
        source = source[(int)length..];
        return true;
    }

    /// <summary>
    /// Writes version and stamp into the file's properties, so that the table says everything itself, and syncs it. May be
    /// repeated: a power loss in between is mended by the replay of the load's record.
    /// </summary>
    public TableProperties Stamp(StorageFile file, long version, long stamp)
    {
        if (file.Length != FileBytes)
        {
            throw new CorruptionException(file.Path, Math.Min(file.Length, FileBytes), $"the file has {file.Length} bytes, the load's journal record says {FileBytes}");
        }

        byte[] block = new byte[Properties.Length + BlockFormat.TrailerBytes];
        Span<byte> stamped = block.AsSpan(0, Properties.Length);
        Properties.CopyTo(stamped);
        TableProperties.Restamp(stamped, version, stamp);
        block[Properties.Length] = BlockFormat.NoCompression;
        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(Properties.Length + 1), Crc32C.Compute(block.AsSpan(0, Properties.Length + 1)));
        Debug.Assert(PropertiesOffset + block.Length <= FileBytes, "the block lies in the file");
        file.Write(PropertiesOffset, block);
        file.Sync();
        return TableProperties.TryDecode(stamped) ?? throw new CorruptionException(file.Path, PropertiesOffset, "the properties in the load's journal record do not fit their length");
    }

    private static bool TryReadNumber(ref ReadOnlySpan<byte> source, out long value)
    {
        int length = Varint.Read(source, out ulong number);
        value = (long)number;
        source = source[length..];
        return length > 0;
    }
}
