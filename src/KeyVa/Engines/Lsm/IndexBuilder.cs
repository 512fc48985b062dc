using System.Buffers.Binary;
using System.Runtime.InteropServices;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Collects the separators and places of a table's blocks, and encodes them as <see cref="IndexBlock"/>s. One thread.
/// Its memory is in proportion to the table's index, some 30 bytes per block.
/// </summary>
internal sealed class IndexBuilder : IDisposable
{
    private readonly NativeBuffer _keys = new();
    private readonly NativeBuffer _keyEnds = new();
    private readonly NativeBuffer _offsets = new();
    private readonly NativeBuffer _versions = new();
    private readonly NativeBuffer _ordinals = new();

    public int Count { get; private set; }

    /// <summary>About how many bytes one index block over all would take.</summary>
    public long EstimatedBytes => _keys.Length + (Count * 28L) + IndexBlock.HeadBytes;

    /// <summary>Adds a block that begins at <paramref name="offset"/>; <paramref name="ordinal"/> counts for a top index alone.</summary>
    public void Add(ReadOnlySpan<byte> separator, long version, long offset, int ordinal)
    {
        _keys.Append(separator);
        _keyEnds.AppendUInt32((uint)_keys.Length);
        _versions.AppendInt64(version);
        _offsets.AppendInt64(offset);
        _ordinals.AppendUInt32((uint)ordinal);
        Count++;
    }

    /// <summary>Says where a block begins that was added before anyone knew.</summary>
    public void SetOffset(int i, long offset) => BinaryPrimitives.WriteInt64LittleEndian(_offsets.Slice(8 * i, 8), offset);

    public ReadOnlySpan<byte> Separator(int i)
    {
        ReadOnlySpan<uint> ends = MemoryMarshal.Cast<byte, uint>(_keyEnds.Written);
        int start = i == 0 ? 0 : (int)ends[i - 1];
        return _keys.Written[start..(int)ends[i]];
    }

    public long Version(int i) => MemoryMarshal.Cast<byte, long>(_versions.Written)[i];

    /// <summary>Where the i-th block begins; <paramref name="end"/> for the one behind the last.</summary>
    public long Offset(int i, long end) => i == Count ? end : MemoryMarshal.Cast<byte, long>(_offsets.Written)[i];

    /// <summary>Encodes the entries [first, first + count); <paramref name="end"/> is where the last block of all ends.</summary>
    public void Encode(NativeBuffer output, int first, int count, long end, bool top, int endOrdinal)
    {
        ReadOnlySpan<byte> common = Common(first, count);
        bool versions = MemoryMarshal.Cast<byte, long>(_versions.Written).Slice(first, count).ContainsAnyExcept(0L);
        uint flags = (versions ? IndexBlock.HasVersions : 0) | (top ? IndexBlock.HasOrdinals : 0);
        output.AppendUInt32((uint)count);
        output.AppendUInt32((uint)first);
        output.AppendUInt32((uint)common.Length);
        output.AppendUInt32(flags);
        for (int i = first; i < first + count; i++)
        {
            output.AppendInt64((long)Head(Separator(i)[common.Length..]));
        }

        for (int i = first; i <= first + count; i++)
        {
            output.AppendInt64(Offset(i, end));
        }

        for (int i = first; versions && i < first + count; i++)
        {
            output.AppendInt64(Version(i));
        }

        ReadOnlySpan<uint> ordinals = MemoryMarshal.Cast<byte, uint>(_ordinals.Written);
        for (int i = first; top && i <= first + count; i++)
        {
            output.AppendUInt32(i == Count ? (uint)endOrdinal : ordinals[i]);
        }

        uint keyEnd = 0;
        for (int i = first; i < first + count; i++)
        {
            keyEnd += (uint)(Separator(i).Length - common.Length);
            output.AppendUInt32(keyEnd);
        }

        output.Append(common);
        for (int i = first; i < first + count; i++)
        {
            output.Append(Separator(i)[common.Length..]);
        }
    }

    public void Clear()
    {
        Count = 0;
        _keys.Clear();
        _keyEnds.Clear();
        _offsets.Clear();
        _versions.Clear();
        _ordinals.Clear();
    }

    public void Dispose()
    {
        _keys.Dispose();
        _keyEnds.Dispose();
        _offsets.Dispose();
        _versions.Dispose();
        _ordinals.Dispose();
    }

    /// <summary>The separators are in order, so what the first and the last have in common, all have.</summary>
    private ReadOnlySpan<byte> Common(int first, int count)
    {
        if (count == 0)
        {
            return default;
        }

        ReadOnlySpan<byte> lowest = Separator(first);
        return count == 1 ? default : lowest[..lowest.CommonPrefixLength(Separator(first + count - 1))];
    }

    private static unsafe ulong Head(ReadOnlySpan<byte> key)
    {
        fixed (byte* p = key)
        {
            return KeyOrder.Head(p, key.Length);
        }
    }
}
