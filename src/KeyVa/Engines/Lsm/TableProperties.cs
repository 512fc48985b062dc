using System.Diagnostics;
using System.Runtime.InteropServices;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>What is known of a table without reading its blocks. Kept in the table and in the manifest.</summary>
/// <remarks>
/// <code>
/// fields u32 | field i64 x fields, in the order of the members below | smallestLength u32 | largestLength u32 | smallest | largest
/// | (tag varint | length varint | bytes) ...
/// </code>
/// Numbers are added as fields at the end; a reader ignores those it does not know and takes missing ones as 0. What is
/// no single number gets a tag, up to the end of the bytes; a reader passes over tags that it does not know (so far, all).
/// </remarks>
internal sealed class TableProperties
{
    private const int FieldCount = 17;

    /// <summary>Where VersionBase stands among the fields; StampBase, MinVersion, MaxVersion, MinStamp and MaxStamp follow.</summary>
    private const int VersionField = 5;

    public long Entries { get; set; }

    public long Tombstones { get; set; }

    /// <summary>Entries with an expiry, and the bounds of their expiries (0 if there are none).</summary>
    public long Expiring { get; set; }

    public long SmallestExpiry { get; set; }

    public long LargestExpiry { get; set; }

    /// <summary>Entries store their version and stamp as the distance from these.</summary>
    public long VersionBase { get; init; }

    public long StampBase { get; init; }

    public long MinVersion { get; set; } = long.MaxValue;

    public long MaxVersion { get; set; }

    public long MinStamp { get; set; } = long.MaxValue;

    public long MaxStamp { get; set; }

    public long KeyBytes { get; set; }

    public long ValueBytes { get; set; }

    /// <summary>Estimate: entries that had an older value of their key below them when the table was written.</summary>
    public long Covering { get; set; }

    /// <summary>Versions of range tombstones, all fragments counted. Bounds, versions and stamps hold for them too.</summary>
    public long RangeTombstones { get; set; }

    /// <summary>Bytes of the data blocks before compression; 0 in tables of format version 1.</summary>
    public long UncompressedBytes { get; set; }

    /// <summary>What the data blocks were meant to be compressed with; those that would not have shrunk are not.</summary>
    public Compression Compression { get; init; }

    public byte[] Smallest { get; set; } = [];

    public byte[] Largest { get; set; } = [];

    /// <summary>
    /// Takes range tombstones into bounds and counts, after the entries. Bounds are keys that may be there: a range that
    /// ends before a key counts as reaching to it, unless that key is the next one behind another.
    /// </summary>
    public void Include(RangeTombstones ranges)
    {
        RangeTombstones = ranges.VersionCount;
        ReadOnlySpan<byte> last = ranges.Last is [.. var before, 0] ? before : ranges.Last;
        Smallest = Entries == 0 || KeyOrder.Compare(ranges.First, Smallest) < 0 ? ranges.First.ToArray() : Smallest;
        Largest = Entries == 0 || KeyOrder.Compare(last, Largest) > 0 ? last.ToArray() : Largest;
        for (int i = 0; i < ranges.Count; i++)
        {
            MinVersion = Math.Min(MinVersion, ranges.Versions(i)[^1]);
            MaxVersion = Math.Max(MaxVersion, ranges.Versions(i)[0]);
            foreach (long stamp in ranges.Stamps(i))
            {
                MinStamp = Math.Min(MinStamp, stamp);
                MaxStamp = Math.Max(MaxStamp, stamp);
            }
        }
    }

    public void Encode(NativeBuffer output)
    {
        output.AppendUInt32(FieldCount);
        foreach (long field in (ReadOnlySpan<long>)[Entries, Tombstones, Expiring, SmallestExpiry, LargestExpiry, VersionBase,
            StampBase, MinVersion, MaxVersion, MinStamp, MaxStamp, KeyBytes, ValueBytes, Covering, RangeTombstones,
            UncompressedBytes, (long)Compression])
        {
            output.AppendInt64(field);
        }

        output.AppendUInt32((uint)Smallest.Length);
        output.AppendUInt32((uint)Largest.Length);
        output.Append(Smallest);
        output.Append(Largest);
    }

    /// <summary>
    /// In encoded properties of a table that was written with version and stamp 0 throughout: makes them those of a load.
    /// </summary>
    public static void Restamp(Span<byte> encoded, long version, long stamp)
    {
        Span<long> fields = MemoryMarshal.Cast<byte, long>(encoded.Slice(sizeof(uint), FieldCount * sizeof(long)));
        Debug.Assert(fields[VersionField + 3] == 0 && fields[VersionField + 5] == 0, "a staged table has no versions and stamps");
        fields[VersionField] = version;
        fields[VersionField + 1] = stamp;
        fields[VersionField + 2] = version;
        fields[VersionField + 3] = version;
        fields[VersionField + 4] = stamp;
        fields[VersionField + 5] = stamp;
    }

    /// <summary>Decodes the whole of <paramref name="source"/>; null if it does not fit.</summary>
    public static TableProperties? TryDecode(ReadOnlySpan<byte> source)
    {
        if (source.Length < 4)
        {
            return null;
        }

        uint count = MemoryMarshal.Read<uint>(source);
        if (count > 1024 || source.Length < 4 + (count * 8) + 8)
        {
            return null;
        }

        Span<long> fields = stackalloc long[FieldCount];
        fields.Clear();
        for (int i = 0; i < Math.Min(count, FieldCount); i++)
        {
            fields[i] = MemoryMarshal.Read<long>(source[(4 + (8 * i))..]);
        }

        int at = 4 + ((int)count * 8);
        uint smallest = MemoryMarshal.Read<uint>(source[at..]);
        uint largest = MemoryMarshal.Read<uint>(source[(at + 4)..]);
        at += 8;
        if (source.Length - at < (long)smallest + largest)
        {
            return null;
        }

        if (!AreTags(source[(at + (int)(smallest + largest))..]))
        {
            return null;
        }

        return new TableProperties
        {
            Entries = fields[0],
            Tombstones = fields[1],
            Expiring = fields[2],
            SmallestExpiry = fields[3],
            LargestExpiry = fields[4],
            VersionBase = fields[5],
            StampBase = fields[6],
            MinVersion = fields[7],
            MaxVersion = fields[8],
            MinStamp = fields[9],
            MaxStamp = fields[10],
            KeyBytes = fields[11],
            ValueBytes = fields[12],
            Covering = fields[13],
            RangeTombstones = fields[14],
            UncompressedBytes = fields[15],
            Compression = (Compression)fields[16],
            Smallest = source.Slice(at, (int)smallest).ToArray(),
            Largest = source.Slice(at + (int)smallest, (int)largest).ToArray(),
        };
    }

    private static bool AreTags(ReadOnlySpan<byte> rest)
    {
        while (!rest.IsEmpty)
        {
            int tag = Varint.Read(rest, out _);
            int head = Varint.Read(rest[tag..], out ulong length);
            if (tag == 0 || head == 0 || length > (ulong)(rest.Length - tag - head))
            {
                return false;
            }

            rest = rest[(tag + head + (int)length)..];
        }

        return true;
    }
}
