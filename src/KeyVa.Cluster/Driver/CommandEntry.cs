using System.Buffers.Binary;
using KeyVa.Partitions;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// The data of an entry that holds commands (docs/format.md, Replicated partitions), little-endian:
/// <code>
///   format   1 byte   1; 2 if the payload's format is above 6: builds that do not know those look at no more than this byte, and refuse the entry
///   node     8 bytes  whose callers wait for it
///   group    8 bytes  a number that this node gives once
///   payload           of a group, as in the record of a partition that is not replicated (GroupEntry)
/// </code>
/// So the node that a request came to knows its group again when the entry is applied there, whoever proposed it.
/// </summary>
internal static class CommandEntry
{
    public const int HeadBytes = 17;

    private const byte Format = 1;
    private const byte FormatOfLaterPayloads = 2;

    /// <summary>In front of a payload that is there already.</summary>
    public static void WriteHead(Span<byte> data, long node, long group)
    {
        data[0] = data.Length > HeadBytes && (data[HeadBytes] & GroupEntry.FormatMask) > GroupEntry.CommitFormat ? FormatOfLaterPayloads : Format;
        BinaryPrimitives.WriteInt64LittleEndian(data[1..], node);
        BinaryPrimitives.WriteInt64LittleEndian(data[9..], group);
    }

    /// <summary>False if the bytes are of no format that this build knows.</summary>
    public static bool TryRead(ReadOnlySpan<byte> data, out long node, out long group, out ReadOnlySpan<byte> payload)
    {
        node = group = 0;
        payload = default;
        if (data.Length < HeadBytes || data[0] is not (Format or FormatOfLaterPayloads))
        {
            return false;
        }

        node = BinaryPrimitives.ReadInt64LittleEndian(data[1..]);
        group = BinaryPrimitives.ReadInt64LittleEndian(data[9..]);
        payload = data[HeadBytes..];
        return true;
    }
}
