using System.Buffers.Binary;
using System.Text;

namespace KeyVa.Cluster;

/// <summary>
/// Where the nodes are, for peers and for clients, as far as one node knows. Nodes tell each other their books; of two entries of a node the newer
/// one counts. As bytes, in a frame and in the folder's file (docs/format.md, Cluster), little-endian:
/// <code>
///   count u16 | then each: node 8 | version 8 | port u16 | six texts, each: length u8, UTF-8:
///   host, public key, REST, gRPC data, gRPC control, Redis; empty: not known
/// </code>
/// Not thread-safe.
/// </summary>
internal sealed class AddressBook
{
    /// <summary>More than a cluster can have members; old ones are forgotten when they are removed.</summary>
    public const int MaxEntries = 256;

    private const int Texts = 6;
    private const int FixedBytes = 18;

    private readonly SortedDictionary<long, Entry> _entries = [];

    public IReadOnlyCollection<long> Nodes => _entries.Keys;

    public Entry? Find(long node) => _entries.TryGetValue(node, out Entry? entry) ? entry : null;

    /// <summary>Takes an entry unless a newer one is there; whether anything changed.</summary>
    public bool Learn(long node, Entry entry)
    {
        if (_entries.TryGetValue(node, out Entry? known) ? known.Version >= entry.Version : _entries.Count >= MaxEntries)
        {
            return false;
        }

        _entries[node] = entry;
        return true;
    }

    /// <summary>Takes what is newer in another's book; false if nothing was, or the bytes are none.</summary>
    public bool Merge(ReadOnlySpan<byte> book)
    {
        if (!TryDecode(book, out List<(long Node, Entry Entry)> entries))
        {
            return false;
        }

        bool changed = false;
        foreach ((long node, Entry entry) in entries)
        {
            changed |= Learn(node, entry);
        }

        return changed;
    }

    /// <summary>One that says the same, and goes its own way from here on.</summary>
    public AddressBook Copy()
    {
        var copy = new AddressBook();
        foreach ((long node, Entry entry) in _entries)
        {
            copy._entries[node] = entry;
        }

        return copy;
    }

    public byte[] Encode()
    {
        using var stream = new MemoryStream();
        using (var writer = new BinaryWriter(stream))
        {
            writer.Write((ushort)_entries.Count);
            foreach ((long node, Entry entry) in _entries)
            {
                writer.Write(node);
                writer.Write(entry.Version);
                writer.Write((ushort)entry.Peer.Port);
                foreach (string text in (ReadOnlySpan<string>)[entry.Peer.Host, entry.Peer.PublicKey ?? "", entry.Rest, entry.Data, entry.Control, entry.Resp])
                {
                    byte[] bytes = Encoding.UTF8.GetBytes(text);
                    writer.Write((byte)bytes.Length);
                    writer.Write(bytes);
                }
            }
        }

        return stream.ToArray();
    }

    private static bool TryDecode(ReadOnlySpan<byte> bytes, out List<(long Node, Entry Entry)> entries)
    {
        entries = [];
        if (bytes.Length < sizeof(ushort))
        {
            return false;
        }

        int count = BinaryPrimitives.ReadUInt16LittleEndian(bytes);
        bytes = bytes[sizeof(ushort)..];
        if (count > MaxEntries)
        {
            return false;
        }

        string[] texts = new string[Texts];
        for (int i = 0; i < count; i++)
        {
            if (bytes.Length < FixedBytes)
            {
                return false;
            }

            long node = BinaryPrimitives.ReadInt64LittleEndian(bytes);
            long version = BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]);
            int port = BinaryPrimitives.ReadUInt16LittleEndian(bytes[16..]);
            bytes = bytes[FixedBytes..];
            for (int t = 0; t < Texts; t++)
            {
                if (bytes.IsEmpty || bytes[0] > bytes.Length - 1)
                {
                    return false;
                }

                texts[t] = Encoding.UTF8.GetString(bytes.Slice(1, bytes[0]));
                bytes = bytes[(1 + bytes[0])..];
            }

            if (node < 1 || port == 0 || texts[0].Length == 0)
            {
                return false;
            }

            entries.Add((node, new Entry(version, new ClusterPeer(texts[0], port, texts[1].Length == 0 ? null : texts[1]), texts[2], texts[3], texts[4], texts[5])));
        }

        return bytes.IsEmpty;
    }

    /// <summary>Where a node is; the texts are for clients, and empty where they are not known.</summary>
    public sealed record Entry(long Version, ClusterPeer Peer, string Rest = "", string Data = "", string Control = "", string Resp = "");
}
