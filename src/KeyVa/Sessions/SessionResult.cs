using System.Buffers.Binary;
using KeyVa.Partitions;

namespace KeyVa.Sessions;

/// <summary>
/// The result of a write as a session keeps it, little-endian:
/// <code>
///   status u8 | version i64 | failed operation i32 | current version i64 | cut u8 | removed count u16, a byte each | merged count u16, each length u32 and bytes
/// </code>
/// What removals found and merges came to is left out (cut 1) where all together would be longer than <see cref="SessionTable.MaxResultBytes"/>. Stateless.
/// </summary>
internal static class SessionResult
{
    private const int HeadBytes = 22;
    private const int LeastBytes = HeadBytes + 4;

    public static byte[] Encode(in WriteResult result)
    {
        ReadOnlySpan<bool> removed = result.Removed.Span;
        long length = LeastBytes + removed.Length;
        foreach (ReadOnlyMemory<byte> value in result.Merged)
        {
            length += sizeof(uint) + value.Length;
        }

        bool isCut = length > SessionTable.MaxResultBytes;
        byte[] bytes = new byte[isCut ? LeastBytes : length];
        bytes[0] = (byte)result.Status;
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(1), result.Version);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(9), result.FailedOperation);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(13), result.CurrentVersion);
        bytes[21] = isCut ? (byte)1 : (byte)0;
        if (isCut)
        {
            return bytes;
        }

        Span<byte> rest = bytes.AsSpan(HeadBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(rest, (ushort)removed.Length);
        rest = rest[sizeof(ushort)..];
        foreach (bool one in removed)
        {
            rest[0] = one ? (byte)1 : (byte)0;
            rest = rest[1..];
        }

        BinaryPrimitives.WriteUInt16LittleEndian(rest, (ushort)result.Merged.Count);
        rest = rest[sizeof(ushort)..];
        foreach (ReadOnlyMemory<byte> value in result.Merged)
        {
            BinaryPrimitives.WriteInt32LittleEndian(rest, value.Length);
            value.Span.CopyTo(rest[sizeof(uint)..]);
            rest = rest[(sizeof(uint) + value.Length)..];
        }

        return bytes;
    }

    /// <summary>The result again. The bytes are those of <see cref="Encode"/>: a file's checksum was looked at.</summary>
    public static WriteResult Decode(ReadOnlySpan<byte> bytes)
    {
        var status = (Status)bytes[0];
        int failed = BinaryPrimitives.ReadInt32LittleEndian(bytes[9..]);
        long current = BinaryPrimitives.ReadInt64LittleEndian(bytes[13..]);
        if (status == Status.ConditionFailed)
        {
            return Refusals.ConditionFailed(failed, current);
        }

        ReadOnlySpan<byte> rest = bytes[HeadBytes..];
        bool[] removed = new bool[BinaryPrimitives.ReadUInt16LittleEndian(rest)];
        rest = rest[sizeof(ushort)..];
        for (int i = 0; i < removed.Length; i++)
        {
            removed[i] = rest[i] != 0;
        }

        rest = rest[removed.Length..];
        ReadOnlyMemory<byte>[] merged = new ReadOnlyMemory<byte>[BinaryPrimitives.ReadUInt16LittleEndian(rest)];
        rest = rest[sizeof(ushort)..];
        for (int i = 0; i < merged.Length; i++)
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(rest);
            merged[i] = rest.Slice(sizeof(uint), length).ToArray();
            rest = rest[(sizeof(uint) + length)..];
        }

        return new WriteResult
        {
            Status = status,
            Version = BinaryPrimitives.ReadInt64LittleEndian(bytes[1..]),
            FailedOperation = failed,
            CurrentVersion = current,
            Removed = removed,
            Merged = merged,
            Detail = status is Status.Ok or Status.NotFound
                ? bytes[21] == 0 ? null : "the write was done before; what its removals found and its merges came to was too long to be kept"
                : "the write was refused before, for the same reason",
        };
    }
}
