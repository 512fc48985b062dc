using System.Buffers.Binary;
using KeyVa.Io;

namespace KeyVa.Partitions;

/// <summary>
/// The file HISTORY of a data folder: what the version clock knows, and what rolling back needs until it is in the engines'
/// files. Replaced as a whole, by rename. A store without it is whole, and keeps its versions longer than it was asked to.
/// </summary>
/// <remarks>
/// <code>
///   magic     8 bytes  "KeyVaHis"
///   format    4 bytes  1
///   samples   4 bytes  how many
///   pins      4 bytes  how many
///   sample*   8 bytes stamp, 8 bytes version, rising (see VersionSample)
///   pin*      8 bytes partition, 8 bytes version
///   checksum  4 bytes  CRC32C of all before
/// </code>
/// </remarks>
internal static class HistoryFile
{
    public const string FileName = "HISTORY";
    public const string TemporaryName = "HISTORY.tmp";

    private const int Format = 1;
    private const int HeaderBytes = 20;
    private const int EntryBytes = 16;

    private static ReadOnlySpan<byte> Magic => "KeyVaHis"u8;

    public static void Write(IFileSystem files, string directory, ReadOnlySpan<VersionSample> samples, ReadOnlySpan<HistoryPin> pins)
    {
        string temporary = Path.Combine(directory, TemporaryName);
        if (files.FileExists(temporary))
        {
            files.DeleteFile(temporary);
        }

        using NativeBuffer bytes = new();
        bytes.Append(Magic);
        bytes.AppendUInt32(Format);
        bytes.AppendUInt32((uint)samples.Length);
        bytes.AppendUInt32((uint)pins.Length);
        foreach (VersionSample sample in samples)
        {
            bytes.AppendInt64(sample.Stamp);
            bytes.AppendInt64(sample.Version);
        }

        foreach (HistoryPin pin in pins)
        {
            bytes.AppendInt64(pin.Partition);
            bytes.AppendInt64(pin.Version);
        }

        bytes.AppendUInt32(Crc32C.Compute(bytes.Written));
        using (StorageFile file = files.Create(temporary))
        {
            file.Write(0, bytes.Written);
            file.Sync();
        }

        files.Rename(temporary, Path.Combine(directory, FileName));
        files.SyncDirectory(directory);
    }

    /// <summary>What the file says; nothing if there is none. False if it cannot be relied on.</summary>
    public static bool TryRead(IFileSystem files, string directory, out VersionSample[] samples, out HistoryPin[] pins)
    {
        samples = [];
        pins = [];
        string path = Path.Combine(directory, FileName);
        if (!files.FileExists(path))
        {
            return true;
        }

        using StorageFile file = files.Open(path, writable: false);
        if (file.Length is < HeaderBytes + 4 or > HeaderBytes + 4 + ((long)EntryBytes * (VersionClock.Capacity + VersionHistory.MaxPins + 1)))
        {
            return false;
        }

        byte[] bytes = new byte[file.Length];
        return file.Read(0, bytes) == bytes.Length && TryDecode(bytes, out samples, out pins);
    }

    private static bool TryDecode(ReadOnlySpan<byte> bytes, out VersionSample[] samples, out HistoryPin[] pins)
    {
        samples = [];
        pins = [];
        long sampleCount = BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]);
        long pinCount = BinaryPrimitives.ReadUInt32LittleEndian(bytes[16..]);
        if (!bytes.StartsWith(Magic) || BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]) != Format
            || BinaryPrimitives.ReadUInt32LittleEndian(bytes[^4..]) != Crc32C.Compute(bytes[..^4])
            || HeaderBytes + 4 + (EntryBytes * (sampleCount + pinCount)) != bytes.Length)
        {
            return false;
        }

        samples = new VersionSample[sampleCount];
        pins = new HistoryPin[pinCount];
        ReadOnlySpan<byte> rest = bytes[HeaderBytes..];
        for (int i = 0; i < samples.Length; i++, rest = rest[EntryBytes..])
        {
            samples[i] = new VersionSample(BinaryPrimitives.ReadInt64LittleEndian(rest), BinaryPrimitives.ReadInt64LittleEndian(rest[8..]));
        }

        for (int i = 0; i < pins.Length; i++, rest = rest[EntryBytes..])
        {
            pins[i] = new HistoryPin(BinaryPrimitives.ReadInt64LittleEndian(rest), BinaryPrimitives.ReadInt64LittleEndian(rest[8..]));
        }

        return true;
    }
}

/// <summary>A partition must not forget what is visible at this version: the log holds a command that reads it.</summary>
internal readonly record struct HistoryPin(long Partition, long Version);
