using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>Encodes and decodes a table's range tombstones: one block of the file. See docs/format.md (SSTable). Stateless.</summary>
/// <remarks>
/// <code>
/// block:     fragments u32 | fragment ...
/// fragment:  flags u8 | start | end | versions varint | version varint, stamp varint, of the newest
///            | (how much lower varint, stamp varint) for each further version
/// flags:     bit 0: starts where the fragment before ends, start is left out | bit 1: open at its end, end is left out
/// start, end: length varint | bytes
/// </code>
/// </remarks>
internal static class RangeTombstoneBlock
{
    private const int Adjacent = 1;
    private const int Open = 2;

    /// <summary>A fragment has flags, a number of versions, one version and its stamp at least.</summary>
    private const int MinFragmentBytes = 4;

    public static void Encode(RangeTombstones fragments, NativeBuffer output)
    {
        output.AppendUInt32((uint)fragments.Count);
        for (int i = 0; i < fragments.Count; i++)
        {
            ReadOnlySpan<byte> start = fragments.Start(i);
            ReadOnlySpan<byte> end = fragments.End(i);
            bool adjacent = i > 0 && fragments.End(i - 1).SequenceEqual(start);
            bool open = end.SequenceEqual(RangeTombstones.OpenEnd);
            output.AppendByte((byte)((adjacent ? Adjacent : 0) | (open ? Open : 0)));
            if (!adjacent)
            {
                AppendKey(output, start);
            }

            if (!open)
            {
                AppendKey(output, end);
            }

            AppendVersions(output, fragments.Versions(i), fragments.Stamps(i));
        }
    }

    /// <summary>Null if the bytes are no range tombstones. What it allocates is bounded by a small multiple of the bytes.</summary>
    public static RangeTombstones? TryDecode(ReadOnlySpan<byte> block)
    {
        if (!System.Buffers.Binary.BinaryPrimitives.TryReadUInt32LittleEndian(block, out uint count)
            || count == 0 || count > (block.Length - 4) / MinFragmentBytes)
        {
            return null;
        }

        ReadOnlySpan<byte> rest = block[4..];
        RangeTombstoneBuilder builder = new();
        ReadOnlySpan<byte> before = default;
        for (uint i = 0; i < count; i++)
        {
            if (!TryReadBounds(ref rest, before, i == 0, out ReadOnlySpan<byte> start, out ReadOnlySpan<byte> end)
                || !TryReadVersions(ref rest, out long[] versions, out long[] stamps))
            {
                return null;
            }

            builder.Add(start, end, versions, stamps);
            before = end;
        }

        return rest.IsEmpty ? builder.Build() : null;
    }

    private static void AppendKey(NativeBuffer output, ReadOnlySpan<byte> key)
    {
        output.AppendVarint((ulong)key.Length);
        output.Append(key);
    }

    private static void AppendVersions(NativeBuffer output, ReadOnlySpan<long> versions, ReadOnlySpan<long> stamps)
    {
        output.AppendVarint((ulong)versions.Length);
        for (int i = 0; i < versions.Length; i++)
        {
            output.AppendVarint((ulong)(i == 0 ? versions[0] : versions[i - 1] - versions[i]));
            output.AppendVarint((ulong)stamps[i]);
        }
    }

    private static bool TryReadBounds(
        scoped ref ReadOnlySpan<byte> rest, ReadOnlySpan<byte> before, bool first, out ReadOnlySpan<byte> start, out ReadOnlySpan<byte> end)
    {
        start = before;
        end = default;
        if (rest.IsEmpty || rest[0] > (Adjacent | Open))
        {
            return false;
        }

        int flags = rest[0];
        ReadOnlySpan<byte> read = rest[1..];
        bool adjacent = (flags & Adjacent) != 0;
        if ((adjacent && first) || (!adjacent && !TryReadKey(ref read, out start)))
        {
            return false;
        }

        end = RangeTombstones.OpenEnd;
        if ((flags & Open) == 0 && !TryReadKey(ref read, out end))
        {
            return false;
        }

        rest = read;
        return KeyOrder.Compare(start, end) < 0 && (first || KeyOrder.Compare(before, start) <= 0);
    }

    private static bool TryReadVersions(scoped ref ReadOnlySpan<byte> rest, out long[] versions, out long[] stamps)
    {
        versions = stamps = [];

        // A version takes two bytes at least, which bounds what is allocated.
        if (!TryReadNumber(ref rest, out long count) || count <= 0 || count > rest.Length / 2)
        {
            return false;
        }

        versions = new long[count];
        stamps = new long[count];
        long version = 0;
        for (int i = 0; i < count; i++)
        {
            if (!TryReadNumber(ref rest, out long number) || !TryReadNumber(ref rest, out stamps[i]))
            {
                return false;
            }

            version = i == 0 ? number : version - number;
            if (version <= 0 || number <= 0)
            {
                return false;
            }

            versions[i] = version;
        }

        return true;
    }

    private static bool TryReadKey(scoped ref ReadOnlySpan<byte> rest, out ReadOnlySpan<byte> key)
    {
        key = default;
        int taken = Varint.Read(rest, out ulong length);
        if (taken == 0 || length > (ulong)RangeTombstones.OpenEnd.Length || length > (ulong)(rest.Length - taken))
        {
            return false;
        }

        key = rest.Slice(taken, (int)length);
        rest = rest[(taken + (int)length)..];
        return true;
    }

    private static bool TryReadNumber(scoped ref ReadOnlySpan<byte> rest, out long number)
    {
        int taken = Varint.Read(rest, out ulong value);
        number = (long)value;
        rest = rest[taken..];
        return taken > 0;
    }
}
