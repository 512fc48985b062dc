using System.Buffers.Binary;
using KeyVa.Partitions;
using KeyVa.Transactions;

namespace KeyVa.Cluster;

/// <summary>
/// The replicated partitions of a cluster: numbers, ranges and engines. Nodes tell each other theirs when they meet: a node that joins has none and makes them its own, and nodes
/// that have others under the same numbers have nothing to say to each other. As bytes, in a frame (docs/format.md, Layout), little-endian:
/// <code>
///   format u8 = 1 | next number 8 | count u32 | then each, numbers rising: number 8 | engine u8 | from: length u16, bytes | to: length u16, bytes
/// </code>
/// Immutable.
/// </summary>
internal sealed class PartitionLayout(long nextId, IReadOnlyList<PartitionDefinition> partitions)
{
    private const byte Format = 1;
    private const int HeadBytes = 13;
    private const int FixedBytes = 13;

    /// <summary>Places that a message names.</summary>
    private const int MostShown = 8;

    /// <summary>The number of the next partition: no number is given twice.</summary>
    public long NextId { get; } = nextId;

    /// <summary>The partitions, by number.</summary>
    public IReadOnlyList<PartitionDefinition> Partitions { get; } = partitions;

    /// <summary>What a node's catalog says. Volatile partitions are the node's own.</summary>
    public static PartitionLayout Of(Catalog catalog) =>
        new(catalog.NextPartitionId, [.. catalog.Partitions.Where(static one => !one.IsVolatile).OrderBy(static one => one.Id)]);

    /// <summary>Whether both have the same partitions.</summary>
    public bool HasSame(PartitionLayout other) => Partitions.Count == other.Partitions.Count && Partitions.Zip(other.Partitions).All(static pair => IsSame(pair.First, pair.Second));

    /// <summary>For a person: how many there are, and the first places at which they are split.</summary>
    public override string ToString()
    {
        if (Partitions.Count < 2)
        {
            return Partitions.Count == 1 ? "1 partition" : "no partitions";
        }

        string[] starts = [.. Partitions.Select(static one => one.Range.From).Where(static from => from.Length > 0).Order(Comparer<ReadOnlyMemory<byte>>.Create(static (one, other) => one.Span.SequenceCompareTo(other.Span))).Take(MostShown + 1).Select(static from => TransactionCommit.Describe(from.Span))];
        return $"{Partitions.Count} partitions, split at {string.Join(' ', starts.Take(MostShown))}{(starts.Length > MostShown ? " ..." : "")}";
    }

    public byte[] Encode()
    {
        using var stream = new MemoryStream();
        using (var writer = new BinaryWriter(stream))
        {
            writer.Write(Format);
            writer.Write(NextId);
            writer.Write((uint)Partitions.Count);
            foreach (PartitionDefinition one in Partitions)
            {
                writer.Write(one.Id);
                writer.Write((byte)one.Engine);
                writer.Write((ushort)one.Range.From.Length);
                writer.Write(one.Range.From.Span);
                writer.Write((ushort)one.Range.To.Length);
                writer.Write(one.Range.To.Span);
            }
        }

        return stream.ToArray();
    }

    /// <summary>Reads what another node says; false if it is none, or no store could be so.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> bytes, out PartitionLayout layout)
    {
        layout = new PartitionLayout(1, []);
        if (bytes.Length < HeadBytes || bytes[0] != Format)
        {
            return false;
        }

        long nextId = BinaryPrimitives.ReadInt64LittleEndian(bytes[1..]);
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(bytes[9..]);
        bytes = bytes[HeadBytes..];
        if (count > (uint)(bytes.Length / FixedBytes))
        {
            return false;
        }

        var partitions = new PartitionDefinition[count];
        for (int i = 0; i < partitions.Length; i++)
        {
            if (bytes.Length < FixedBytes)
            {
                return false;
            }

            long id = BinaryPrimitives.ReadInt64LittleEndian(bytes);
            var engine = (EngineKind)bytes[8];
            bytes = bytes[9..];
            if (!TryReadBound(ref bytes, out byte[] from) || !TryReadBound(ref bytes, out byte[] to))
            {
                return false;
            }

            partitions[i] = new PartitionDefinition(id, new KeyRange(from, to), engine, IsVolatile: false);
            if (id <= (i == 0 ? 0 : partitions[i - 1].Id) || engine is not (EngineKind.Lsm or EngineKind.Memory) || partitions[i].Range.IsEmpty)
            {
                return false;
            }
        }

        layout = new PartitionLayout(nextId, partitions);
        return bytes.IsEmpty && nextId > (partitions.Length == 0 ? 0 : partitions[^1].Id) && !HasOverlap(partitions);
    }

    private static bool TryReadBound(ref ReadOnlySpan<byte> bytes, out byte[] bound)
    {
        bound = [];
        if (bytes.Length < sizeof(ushort) || BinaryPrimitives.ReadUInt16LittleEndian(bytes) is var length && (length > Limits.MaxKeyBytes || length > bytes.Length - sizeof(ushort)))
        {
            return false;
        }

        bound = bytes.Slice(sizeof(ushort), length).ToArray();
        bytes = bytes[(sizeof(ushort) + length)..];
        return true;
    }

    private static bool HasOverlap(PartitionDefinition[] partitions)
    {
        PartitionDefinition[] rising = [.. partitions];
        Array.Sort(rising, static (one, other) => one.Range.From.Span.SequenceCompareTo(other.Range.From.Span));
        for (int i = 1; i < rising.Length; i++)
        {
            if (rising[i - 1].Range.Overlaps(rising[i].Range))
            {
                return true;
            }
        }

        return false;
    }

    private static bool IsSame(PartitionDefinition one, PartitionDefinition other) => one.Id == other.Id && one.Engine == other.Engine
        && one.Range.From.Span.SequenceEqual(other.Range.From.Span) && one.Range.To.Span.SequenceEqual(other.Range.To.Span);
}
