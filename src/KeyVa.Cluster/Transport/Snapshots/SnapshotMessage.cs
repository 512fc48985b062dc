using System.Buffers.Binary;
using System.Text;

namespace KeyVa.Cluster.Transport;

/// <summary>What a message of a snapshot stream is. The numbers are on the wire.</summary>
internal enum SnapshotMessageKind : byte
{
    /// <summary>To the receiver: what there is; said again to go on after a break.</summary>
    Offer = 1,

    /// <summary>To the receiver: bytes at a position.</summary>
    Chunk = 2,

    /// <summary>To the receiver: that was all, and its checksum.</summary>
    End = 3,

    /// <summary>To the receiver: there will be no more.</summary>
    Cancel = 4,

    /// <summary>To the sender: begin, or go on, at this position.</summary>
    Accept = 5,

    /// <summary>To the sender: there is room up to this position.</summary>
    Credit = 6,

    /// <summary>To the sender: everything is there and durable.</summary>
    Done = 7,

    /// <summary>To the sender: it is not wanted, or cannot be taken.</summary>
    Failed = 8,
}

/// <summary>
/// The messages of a snapshot stream. The stream's position counts through all files, one behind the other; a chunk lies within one file. Stateless.
/// <code>
/// every message   0 kind u8 · 1 zero 7 bytes · 8 stream u64 · 16 the kind's own
/// Offer           total bytes u64 · head length u32 · files u32 · head · files × (length u64 · name length u16 · name UTF-8)
/// Chunk           position u64 · bytes
/// End             CRC32C u32 of all bytes · zero u32
/// Accept          position u64 · limit u64
/// Credit          limit u64
/// Cancel, Done, Failed   nothing
/// </code>
/// </summary>
internal static class SnapshotMessage
{
    public const int HeaderBytes = 16;
    public const int ChunkHeaderBytes = HeaderBytes + 8;
    public const int MaxHeadBytes = 1 << 20;
    public const int MaxFiles = 1 << 16;
    public const int MaxNameBytes = 255;
    public const int MaxChunkBytes = 4 << 20;

    /// <summary>The longest message that is taken: an offer of many files.</summary>
    public const int MaxBytes = 8 << 20;

    public static void WriteHeader(Span<byte> message, SnapshotMessageKind kind, ulong stream)
    {
        message[..8].Clear();
        message[0] = (byte)kind;
        BinaryPrimitives.WriteUInt64LittleEndian(message[8..], stream);
    }

    public static bool TryReadHeader(ReadOnlySpan<byte> message, out SnapshotMessageKind kind, out ulong stream)
    {
        kind = default;
        stream = 0;
        if (message.Length < HeaderBytes || message.Length > MaxBytes || message[1..8].ContainsAnyExcept((byte)0)
            || message[0] is < (byte)SnapshotMessageKind.Offer or > (byte)SnapshotMessageKind.Failed)
        {
            return false;
        }

        kind = (SnapshotMessageKind)message[0];
        stream = BinaryPrimitives.ReadUInt64LittleEndian(message[8..]);
        return true;
    }

    /// <summary>A message of a kind whose own part is one or two numbers, or none.</summary>
    public static int Write(Span<byte> message, SnapshotMessageKind kind, ulong stream, params ReadOnlySpan<ulong> numbers)
    {
        WriteHeader(message, kind, stream);
        for (int i = 0; i < numbers.Length; i++)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(message[(HeaderBytes + (i * 8))..], numbers[i]);
        }

        return HeaderBytes + (numbers.Length * 8);
    }

    /// <summary>The number at a place of the kind's own part; false if it is not there.</summary>
    public static bool TryReadNumber(ReadOnlySpan<byte> message, int place, out ulong number) =>
        BinaryPrimitives.TryReadUInt64LittleEndian(message.Length < HeaderBytes + (place * 8) ? default : message[(HeaderBytes + (place * 8))..], out number);
}

/// <summary>One file of an offer.</summary>
internal readonly record struct OfferedFile(string Name, long Bytes);

/// <summary>What a sender has: see <see cref="SnapshotMessage"/>. Immutable.</summary>
internal sealed record SnapshotOffer(ReadOnlyMemory<byte> Head, IReadOnlyList<OfferedFile> Files)
{
    private const int FixedBytes = SnapshotMessage.HeaderBytes + 16;

    /// <summary>Bytes of all files.</summary>
    public long TotalBytes { get; } = Files.Sum(static file => file.Bytes);

    public byte[] Encode(ulong stream)
    {
        byte[] message = new byte[FixedBytes + Head.Length + Files.Sum(static file => 10 + Encoding.UTF8.GetByteCount(file.Name))];
        SnapshotMessage.WriteHeader(message, SnapshotMessageKind.Offer, stream);
        BinaryPrimitives.WriteUInt64LittleEndian(message.AsSpan(16), (ulong)TotalBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(message.AsSpan(24), (uint)Head.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(message.AsSpan(28), (uint)Files.Count);
        Head.Span.CopyTo(message.AsSpan(FixedBytes));
        int at = FixedBytes + Head.Length;
        foreach (OfferedFile file in Files)
        {
            int name = Encoding.UTF8.GetBytes(file.Name, message.AsSpan(at + 10));
            BinaryPrimitives.WriteUInt64LittleEndian(message.AsSpan(at), (ulong)file.Bytes);
            BinaryPrimitives.WriteUInt16LittleEndian(message.AsSpan(at + 8), (ushort)name);
            at += 10 + name;
        }

        return message;
    }

    /// <summary>What a message offers; false unless every length fits, the files add up and their names are names, each different.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> message, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out SnapshotOffer? offer)
    {
        offer = null;
        if (message.Length < FixedBytes)
        {
            return false;
        }

        ulong total = BinaryPrimitives.ReadUInt64LittleEndian(message[16..]);
        uint headBytes = BinaryPrimitives.ReadUInt32LittleEndian(message[24..]);
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(message[28..]);
        if (headBytes > SnapshotMessage.MaxHeadBytes || count > SnapshotMessage.MaxFiles || FixedBytes + headBytes + (count * 10L) > message.Length)
        {
            return false;
        }

        byte[] head = message.Slice(FixedBytes, (int)headBytes).ToArray();
        ReadOnlySpan<byte> rest = message[(FixedBytes + (int)headBytes)..];
        List<OfferedFile> files = new((int)count);
        HashSet<string> names = new((int)count, StringComparer.Ordinal);
        ulong sum = 0;
        for (uint i = 0; i < count; i++)
        {
            if (!TryReadFile(ref rest, out OfferedFile file) || !names.Add(file.Name))
            {
                return false;
            }

            files.Add(file);
            sum += (ulong)file.Bytes;
        }

        if (!rest.IsEmpty || sum != total || total > long.MaxValue)
        {
            return false;
        }

        offer = new SnapshotOffer(head, files);
        return true;
    }

    /// <summary>Whether a name can be a file's: one part, of letters, digits, point, hyphen and underscore, and not of points alone.</summary>
    public static bool IsName(ReadOnlySpan<byte> name)
    {
        if (name.IsEmpty || name.Length > SnapshotMessage.MaxNameBytes || !name.ContainsAnyExcept((byte)'.'))
        {
            return false;
        }

        foreach (byte c in name)
        {
            if (!char.IsAsciiLetterOrDigit((char)c) && c is not ((byte)'.' or (byte)'-' or (byte)'_'))
            {
                return false;
            }
        }

        return true;
    }

    private static bool TryReadFile(ref ReadOnlySpan<byte> rest, out OfferedFile file)
    {
        file = default;
        if (rest.Length < 10)
        {
            return false;
        }

        ulong bytes = BinaryPrimitives.ReadUInt64LittleEndian(rest);
        int nameBytes = BinaryPrimitives.ReadUInt16LittleEndian(rest[8..]);
        // The lengths of so many files add up to a number still.
        if (bytes > long.MaxValue / SnapshotMessage.MaxFiles || rest.Length < 10 + nameBytes || !IsName(rest.Slice(10, nameBytes)))
        {
            return false;
        }

        file = new OfferedFile(Encoding.ASCII.GetString(rest.Slice(10, nameBytes)), (long)bytes);
        rest = rest[(10 + nameBytes)..];
        return true;
    }
}
