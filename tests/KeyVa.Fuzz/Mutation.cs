using System.Buffers.Binary;

namespace KeyVa.Fuzz;

/// <summary>Makes hostile bytes: random ones, and valid ones with a few edits as damage and attackers make them. Stateless.</summary>
internal static class Mutation
{
    private const int MostRandomBytes = 300;
    private const int MostEdits = 4;

    // Lengths, counts and offsets at the edges of their types.
    private static readonly long[] Edges =
        [0, 1, -1, 127, 128, 255, 256, 32767, 65535, int.MaxValue, int.MinValue, uint.MaxValue, long.MaxValue, long.MinValue];

    public static byte[] Next(Random random, IReadOnlyList<byte[]> corpus)
    {
        if (corpus.Count == 0 || random.Next(10) == 0)
        {
            byte[] noise = new byte[random.Next(MostRandomBytes)];
            random.NextBytes(noise);
            return noise;
        }

        byte[] bytes = corpus[random.Next(corpus.Count)];
        for (int edits = random.Next(1, MostEdits + 1); edits > 0; edits--)
        {
            bytes = Edit(random, bytes, corpus);
        }

        return bytes;
    }

    /// <summary>One edit; the input stays as it is.</summary>
    public static byte[] Edit(Random random, byte[] bytes, IReadOnlyList<byte[]> corpus)
    {
        int at = random.Next(bytes.Length + 1);
        int end = random.Next(at, Math.Min(bytes.Length, at + 64) + 1);
        switch (random.Next(8))
        {
            case 0:
                return bytes[..at];
            case 1:
                return [.. bytes[..at], .. bytes[end..]];
            case 2:
                return [.. bytes[..end], .. bytes[at..]];
            case 3:
                byte[] other = corpus[random.Next(corpus.Count)];
                return [.. bytes[..at], .. other[random.Next(other.Length + 1)..]];
            case 4:
                byte[] noise = new byte[random.Next(1, 9)];
                random.NextBytes(noise);
                return [.. bytes[..at], .. noise, .. bytes[at..]];
            case 5:
                return Overwrite(random, bytes);
            default:
                byte[] flipped = [.. bytes];
                if (flipped.Length > 0)
                {
                    flipped[random.Next(flipped.Length)] ^= (byte)(1 << random.Next(8));
                }

                return flipped;
        }
    }

    private static byte[] Overwrite(Random random, byte[] bytes)
    {
        Span<byte> edge = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(edge, Edges[random.Next(Edges.Length)]);
        edge = edge[..(1 << random.Next(4))];
        byte[] changed = [.. bytes];
        if (changed.Length >= edge.Length)
        {
            edge.CopyTo(changed.AsSpan(random.Next(changed.Length - edge.Length + 1)));
        }

        return changed;
    }
}
