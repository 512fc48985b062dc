using System.Buffers;
using System.Buffers.Binary;

namespace KeyVa.Raft;

/// <summary>
/// A table of sessions as bytes, the same on every replica. docs/format.md draws it:
/// <code>
/// version u8 = 1 | sessions u32 | per session, the one used longest ago first:
///   client i64 | floor i64 | results u32 | (sequence i64 | length u32 | bytes) × results
/// </code>
/// Little-endian. Whoever stores it adds a checksum. Stateless.
/// </summary>
public static class SessionEncoding
{
    private const byte Version = 1;

    /// <summary>The bytes of a table.</summary>
    public static byte[] Encode(SessionTable table)
    {
        ArgumentNullException.ThrowIfNull(table);
        ArrayBufferWriter<byte> to = new();
        to.Write([Version]);
        Write(to, (uint)table.Count);
        foreach (Session session in table.Sessions)
        {
            Write(to, session.Client);
            Write(to, session.Floor);
            Write(to, (uint)session.Results.Count);
            foreach ((long sequence, ReadOnlyMemory<byte> result) in session.Results)
            {
                Write(to, sequence);
                Write(to, (uint)result.Length);
                to.Write(result.Span);
            }
        }

        return to.WrittenSpan.ToArray();
    }

    /// <summary>Adds to an empty table what <see cref="Encode"/> wrote; false for anything else, and the table is of no use then.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> bytes, SessionTable into)
    {
        ArgumentNullException.ThrowIfNull(into);
        if (bytes.IsEmpty || bytes[0] != Version || into.Count != 0)
        {
            return false;
        }

        bytes = bytes[1..];
        if (!TryRead(ref bytes, out uint sessions))
        {
            return false;
        }

        HashSet<long> seen = [];
        for (uint i = 0; i < sessions; i++)
        {
            if (!TryRead(ref bytes, out Session? session) || !seen.Add(session!.Client))
            {
                return false;
            }

            into.Add(session);
        }

        return bytes.IsEmpty;
    }

    private static bool TryRead(ref ReadOnlySpan<byte> from, out Session? session)
    {
        session = null;
        if (!TryRead(ref from, out long client) || !TryRead(ref from, out long floor) || !TryRead(ref from, out uint results) || floor < 0)
        {
            return false;
        }

        session = new Session(client);
        session.Forget(floor);
        for (uint i = 0; i < results; i++)
        {
            if (!TryRead(ref from, out long sequence) || !TryRead(ref from, out uint length) || length > SessionTable.MaxResultBytes || length > from.Length
                || sequence <= floor || !session.Results.TryAdd(sequence, from[..(int)length].ToArray()))
            {
                return false;
            }

            from = from[(int)length..];
        }

        return true;
    }

    private static void Write(ArrayBufferWriter<byte> to, long number)
    {
        BinaryPrimitives.WriteInt64LittleEndian(to.GetSpan(sizeof(long)), number);
        to.Advance(sizeof(long));
    }

    private static void Write(ArrayBufferWriter<byte> to, uint number)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(to.GetSpan(sizeof(uint)), number);
        to.Advance(sizeof(uint));
    }

    private static bool TryRead(ref ReadOnlySpan<byte> from, out long number)
    {
        bool isThere = BinaryPrimitives.TryReadInt64LittleEndian(from, out number);
        from = isThere ? from[sizeof(long)..] : from;
        return isThere;
    }

    private static bool TryRead(ref ReadOnlySpan<byte> from, out uint number)
    {
        bool isThere = BinaryPrimitives.TryReadUInt32LittleEndian(from, out number);
        from = isThere ? from[sizeof(uint)..] : from;
        return isThere;
    }
}
