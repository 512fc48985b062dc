using System.Buffers.Binary;

namespace KeyVa.Raft;

/// <summary>
/// A membership as bytes, in a log entry or beside a snapshot. The whole of it, never a difference: so each entry can be
/// read by itself. docs/format.md draws it:
/// <code>
/// version u8 = 1 | voters u8 | old voters u8 | learners u8 | node i64 × (voters + old voters + learners)
/// </code>
/// Little-endian; each list rises. Stateless.
/// </summary>
public static class MembershipEncoding
{
    private const byte Version = 1;
    private const int HeadBytes = 4;

    /// <summary>The bytes of a membership.</summary>
    public static byte[] Encode(Membership membership)
    {
        ArgumentNullException.ThrowIfNull(membership);
        int nodes = membership.Voters.Length + membership.OldVoters.Length + membership.Learners.Length;
        byte[] bytes = new byte[HeadBytes + (nodes * sizeof(long))];
        bytes[0] = Version;
        bytes[1] = (byte)membership.Voters.Length;
        bytes[2] = (byte)membership.OldVoters.Length;
        bytes[3] = (byte)membership.Learners.Length;
        Span<byte> rest = bytes.AsSpan(HeadBytes);
        rest = Write(rest, membership.Voters);
        rest = Write(rest, membership.OldVoters);
        Write(rest, membership.Learners);
        return bytes;
    }

    /// <summary>Reads what <see cref="Encode"/> wrote; false for anything else.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> bytes, out Membership membership)
    {
        membership = Membership.Empty;
        if (bytes.Length < HeadBytes || bytes[0] != Version || bytes.Length != HeadBytes + ((bytes[1] + bytes[2] + bytes[3]) * sizeof(long)))
        {
            return false;
        }

        ReadOnlySpan<byte> rest = bytes[HeadBytes..];
        if (!TryRead(ref rest, bytes[1], out long[] voters) || !TryRead(ref rest, bytes[2], out long[] old) || !TryRead(ref rest, bytes[3], out long[] learners)
            || voters.Intersect(learners).Any())
        {
            return false;
        }

        membership = new Membership(voters, old, learners);
        return true;
    }

    private static Span<byte> Write(Span<byte> to, ReadOnlySpan<long> nodes)
    {
        foreach (long node in nodes)
        {
            BinaryPrimitives.WriteInt64LittleEndian(to, node);
            to = to[sizeof(long)..];
        }

        return to;
    }

    private static bool TryRead(ref ReadOnlySpan<byte> from, int count, out long[] nodes)
    {
        nodes = new long[count];
        long last = NodeId.None;
        for (int i = 0; i < count; i++)
        {
            nodes[i] = BinaryPrimitives.ReadInt64LittleEndian(from);
            from = from[sizeof(long)..];
            if (nodes[i] <= last)
            {
                return false;
            }

            last = nodes[i];
        }

        return count <= Membership.MaxMembers;
    }
}
