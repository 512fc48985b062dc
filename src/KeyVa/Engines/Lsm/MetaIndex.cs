using System.Buffers.Binary;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>The block before the footer of a table of version 2: names all other blocks that are there once.</summary>
/// <remarks>
/// <code>
///  0 blocks u32 | 4 data blocks u32 | 8 flags u32 (1: two-level index) | 12 filter probes u32
/// 16 compressions u32, bit i: some block has compression i | 20 zero u32
/// 24 (kind u32 | length u32 | offset u64) x blocks     in the order of the file; see TableBlockKind
/// </code>
/// The blocks follow one another without gaps, from the first one named to the meta index itself; before them are the
/// data blocks and index partitions. The meta index is never compressed.
/// </remarks>
internal static class MetaIndex
{
    private const int HeadBytes = 24;
    private const int PlaceBytes = 16;

    /// <summary>More blocks than this are not believed.</summary>
    public const int MaxBlocks = 64;
    private const uint TwoLevelFlag = 1;

    /// <summary>Bytes of one that names so many blocks.</summary>
    public static int Bytes(int blocks) => HeadBytes + (blocks * PlaceBytes);

    public static void Encode(NativeBuffer output, in TableLayout layout)
    {
        Span<(TableBlockKind Kind, BlockPlace Place)> blocks =
        [
            (TableBlockKind.Index, layout.Index), (TableBlockKind.Filter, layout.Filter), (TableBlockKind.Dictionary, layout.Dictionary),
            (TableBlockKind.RangeTombstones, layout.RangeTombstones), (TableBlockKind.Properties, layout.Properties),
        ];
        blocks.Sort(static (a, b) => a.Place.Offset.CompareTo(b.Place.Offset));
        int count = 0;
        foreach ((_, BlockPlace place) in blocks)
        {
            count += place.Exists ? 1 : 0;
        }

        foreach (uint number in (ReadOnlySpan<uint>)[(uint)count, (uint)layout.DataBlocks, layout.TwoLevelIndex ? TwoLevelFlag : 0,
            (uint)layout.FilterProbes, layout.Compressions, 0])
        {
            output.AppendUInt32(number);
        }

        foreach ((TableBlockKind kind, BlockPlace place) in blocks)
        {
            if (place.Exists)
            {
                output.AppendUInt32((uint)kind);
                output.AppendUInt32((uint)place.Length);
                output.AppendInt64(place.Offset);
            }
        }
    }

    /// <summary>Decodes what has passed its checksum; <paramref name="self"/> is where it stands.</summary>
    public static TableLayout Decode(ReadOnlySpan<byte> from, string path, BlockPlace self)
    {
        uint count = from.Length >= HeadBytes ? BinaryPrimitives.ReadUInt32LittleEndian(from) : 0;
        if (count is 0 or > MaxBlocks || from.Length != HeadBytes + (count * PlaceBytes))
        {
            throw new CorruptionException(path, self.Offset, "the meta index does not fit its length");
        }

        TableLayout layout = new()
        {
            Index = default,
            Filter = default,
            Properties = default,
            DataBlocks = BinaryPrimitives.ReadInt32LittleEndian(from[4..]),
            TwoLevelIndex = (BinaryPrimitives.ReadUInt32LittleEndian(from[8..]) & TwoLevelFlag) != 0,
            FilterProbes = BinaryPrimitives.ReadInt32LittleEndian(from[12..]),
            Compressions = BinaryPrimitives.ReadUInt32LittleEndian(from[16..]),
        };
        long end = -1;
        for (ReadOnlySpan<byte> rest = from[HeadBytes..]; !rest.IsEmpty; rest = rest[PlaceBytes..])
        {
            BlockPlace place = new(BinaryPrimitives.ReadInt64LittleEndian(rest[8..]), BinaryPrimitives.ReadInt32LittleEndian(rest[4..]));
            if (!place.Exists || place.Offset < 0 || (end >= 0 && place.Offset != end) || place.End > self.Offset)
            {
                throw new CorruptionException(path, self.Offset, "the places that the meta index names do not fit the file");
            }

            end = place.End;
            layout = With(layout, (TableBlockKind)BinaryPrimitives.ReadUInt32LittleEndian(rest), place, path);
        }

        bool complete = end == self.Offset && layout.Index.Exists && layout.Filter.Exists && layout.Properties.Exists
            && (layout.DataBlocks > 0 || (layout.DataBlocks == 0 && layout.RangeTombstones.Exists));
        return complete ? layout : throw new CorruptionException(path, self.Offset, "the meta index does not name every block");
    }

    private static TableLayout With(in TableLayout layout, TableBlockKind kind, BlockPlace place, string path) => kind switch
    {
        TableBlockKind.Index => layout with { Index = place },
        TableBlockKind.Filter => layout with { Filter = place },
        TableBlockKind.Properties => layout with { Properties = place },
        TableBlockKind.Dictionary => layout with { Dictionary = place },
        TableBlockKind.RangeTombstones => layout with { RangeTombstones = place },
        >= TableBlockKind.Optional => layout,
        _ => throw new StoreException($"'{path}' has a block of kind {(uint)kind}, which this build does not know: use the build that wrote it, or a newer one"),
    };
}
