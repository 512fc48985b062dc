using System.Buffers.Binary;
using KeyVa.Commits;
using KeyVa.Partitions;

namespace KeyVa.Sessions;

/// <summary>
/// The tables of a partition as they go into its files (docs/format.md, Sessions): those of its sessions alone, as it always was, or, if there is something in the others,
/// <code>
///   version u8 = 2 | length of the sessions' u32 | sessions (SessionTable) | commits (CommitTable)
///   version u8 = 3 | length of the sessions' u32 | sessions | length of the commits' u32 | commits | settings (SettingsTable)
/// </code>
/// The third if settings are set, and else the second if there are commits.
/// Stateless.
/// </summary>
internal static class PartitionTables
{
    /// <summary>The first byte where commits are in it.</summary>
    public const byte VersionWithCommits = 2;

    /// <summary>The first byte where settings are in it.</summary>
    public const byte VersionWithSettings = 3;

    private const int HeadBytes = 5;

    public static byte[] Capture(SessionTable sessions, CommitTable commits, SettingsTable settings)
    {
        byte[] first = sessions.Capture();
        byte[] second = commits.Capture();
        byte[] third = settings.Capture();
        if (third.Length > 0)
        {
            byte[] all = new byte[HeadBytes + first.Length + sizeof(uint) + second.Length + third.Length];
            all[0] = VersionWithSettings;
            Span<byte> rest = all.AsSpan(1);
            foreach (byte[] table in (ReadOnlySpan<byte[]>)[first, second])
            {
                BinaryPrimitives.WriteInt32LittleEndian(rest, table.Length);
                table.CopyTo(rest[sizeof(uint)..]);
                rest = rest[(sizeof(uint) + table.Length)..];
            }

            third.CopyTo(rest);
            return all;
        }

        if (second.Length == 0)
        {
            return first;
        }

        byte[] bytes = new byte[HeadBytes + first.Length + second.Length];
        bytes[0] = VersionWithCommits;
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(1), first.Length);
        first.CopyTo(bytes, HeadBytes);
        second.CopyTo(bytes, HeadBytes + first.Length);
        return bytes;
    }

    /// <summary>Fills empty tables with what <see cref="Capture"/> gave; false for anything else, and they are of no use then.</summary>
    public static bool TryLoad(ReadOnlySpan<byte> bytes, SessionTable sessions, CommitTable commits, SettingsTable settings)
    {
        if (!bytes.IsEmpty && bytes[0] == VersionWithSettings)
        {
            bytes = bytes[1..];
            return TryTake(ref bytes, out ReadOnlySpan<byte> first) && sessions.TryLoad(first)
                && TryTake(ref bytes, out ReadOnlySpan<byte> second) && commits.TryLoad(second)
                && !bytes.IsEmpty && settings.TryLoad(bytes);
        }

        if (bytes.IsEmpty || bytes[0] != VersionWithCommits)
        {
            return sessions.TryLoad(bytes);
        }

        if (bytes.Length <= HeadBytes || BinaryPrimitives.ReadUInt32LittleEndian(bytes[1..]) is var length && length > (uint)(bytes.Length - HeadBytes))
        {
            return false;
        }

        return sessions.TryLoad(bytes.Slice(HeadBytes, (int)length)) && commits.TryLoad(bytes[(HeadBytes + (int)length)..]) && !commits.IsEmpty;
    }

    private static bool TryTake(ref ReadOnlySpan<byte> bytes, out ReadOnlySpan<byte> table)
    {
        table = default;
        if (!BinaryPrimitives.TryReadUInt32LittleEndian(bytes, out uint length) || length > (uint)(bytes.Length - sizeof(uint)))
        {
            return false;
        }

        table = bytes.Slice(sizeof(uint), (int)length);
        bytes = bytes[(sizeof(uint) + (int)length)..];
        return true;
    }
}
