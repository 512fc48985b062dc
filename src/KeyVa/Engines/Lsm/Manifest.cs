using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// The list of the engine's tables: a file of edits, each synced before anyone relies on it. CURRENT names the manifest
/// in force; it is replaced by rename. See docs/format.md (Manifest).
/// </summary>
/// <remarks>
/// <code>
/// file:   magic u64 | format version u32 | crc32c u32 of the 12 bytes before | record ...
/// record: length u32 | crc32c u32 of the payload | payload (a ManifestEdit; the first makes the whole state)
/// </code>
/// One thread at a time. An append that did not get as far as its sync may leave a torn record: the next opening ignores
/// it, if it is the last. Anything else that does not fit is damage. So that a synced edit is never the last record, a
/// seal follows it: an edit that says nothing new, written once the sync has returned and not synced itself.
/// </remarks>
internal sealed class Manifest : IDisposable
{
    private const ulong Magic = 0x3130_4E41_4D53_564B; // "KVSMAN01"
    private const uint FormatVersion = 2;

    /// <summary>Notes what was forgotten: written only where versions are retained, so that others can go back to an older build.</summary>
    private const uint FormatWithHistory = 3;

    /// <summary>Without value files.</summary>
    private const uint FirstVersion = 1;
    private const int HeaderBytes = 16;
    private const int RecordHeadBytes = 8;

    /// <summary>A manifest is rewritten beyond this size, if it is also several times what it needs.</summary>
    internal const long RewriteBytes = 1 << 20;
    private const int RewriteFactor = 4;

    /// <summary>No manifest and no CURRENT is longer.</summary>
    private const long MaxBytes = 1 << 30;
    private const long MaxCurrentBytes = 256;

    private readonly IFileSystem _files;
    private readonly string _directory;
    private readonly NativeBuffer _record = new();
    private readonly NativeBuffer _seal = new(64);
    private StorageFile _file;
    private long _length;
    private long _snapshotLength;

    private bool _sealIsUnsynced;

    private Manifest(IFileSystem files, string directory, StorageFile file, long length)
    {
        _files = files;
        _directory = directory;
        _file = file;
        _length = length;
        _snapshotLength = length;
    }

    public long Bytes => _length;

    public bool WantsRewrite => _length > RewriteBytes && _length > RewriteFactor * _snapshotLength;

    /// <summary>Reads the state that CURRENT leads to; null if there is no engine in the folder yet.</summary>
    public static ManifestState? Read(IFileSystem files, string directory)
    {
        string current = Path.Combine(directory, FileNames.Current);
        if (!files.FileExists(current))
        {
            IReadOnlyList<string> names = files.List(directory);
            string? table = names.FirstOrDefault(name => FileNames.TryParseTable(name, out _) || FileNames.TryParseValues(name, out _))
                ?? names.FirstOrDefault(name => FileNames.TryParseManifest(name, out _) && SaysMoreThanNothing(files, Path.Combine(directory, name)));
            return table is null
                ? null
                : throw new CorruptionException(current, 0, $"the file is missing, though there is '{table}'");
        }

        string name = ReadCurrent(files, current);
        string path = Path.Combine(directory, name);
        return files.FileExists(path)
            ? Load(files, path)
            : throw new CorruptionException(path, 0, "the manifest that CURRENT names is missing");
    }

    /// <summary>Reads one manifest, whether CURRENT names it or not.</summary>
    public static ManifestState Load(IFileSystem files, string path) => Replay(ReadAll(files, path, MaxBytes), path);

    /// <summary>The name that CURRENT holds.</summary>
    public static string ReadCurrent(IFileSystem files, string current)
    {
        string text = Encoding.ASCII.GetString(ReadAll(files, current, MaxCurrentBytes));
        string[] parts = text.Split(' ');
        return parts.Length == 2 && FileNames.TryParseManifest(parts[0], out _) && parts[1] == CurrentCheck(parts[0])
            ? parts[0]
            : throw new CorruptionException(current, 0, "it does not name a manifest");
    }

    /// <summary>Writes a new manifest with this state and makes it the one in force.</summary>
    public static Manifest Create(IFileSystem files, string directory, ManifestState state)
    {
        (StorageFile file, long length) = Prepare(files, directory, state);
        try
        {
            SwitchCurrent(files, directory);
            return new Manifest(files, directory, file, length);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Adds an edit and syncs it. If it throws <see cref="StorageFullException"/>, nothing has happened.</summary>
    public void Append(ManifestEdit edit)
    {
        EncodeRecord(_record, edit);
        if (_sealIsUnsynced)
        {
            // Else a power loss could leave this edit behind a torn seal, which would look like damage.
            _file.SyncData();
            _sealIsUnsynced = false;
        }

        try
        {
            _file.Write(_length, _record.Written);
        }
        catch (StorageFullException)
        {
            _file.SetLength(_length);
            throw;
        }

        _file.SyncData();
        _length += _record.Length;
        Seal(edit.NextId);
    }

    /// <summary>
    /// Takes disk room for so many bytes of records to come, as zeros behind the last record: to a reader that is a torn
    /// tail. Throws <see cref="StorageFullException"/> if there is none.
    /// </summary>
    public void Reserve(int bytes)
    {
        try
        {
            _file.Allocate(_length + bytes);
        }
        catch (StorageFullException)
        {
            _file.SetLength(_length);
            throw;
        }
    }

    /// <summary>
    /// Starts over in a new file. If there is no room for it, the old one goes on and false is returned; any other
    /// failure leaves it open which of the two is in force, and ends the manifest's use.
    /// </summary>
    public bool TryRewrite(ManifestState state)
    {
        StorageFile file;
        long length;
        try
        {
            (file, length) = Prepare(_files, _directory, state);
        }
        catch (StorageFullException)
        {
            return false;
        }

        string old = _file.Path;
        _file.Dispose();
        _file = file;
        _length = length;
        _snapshotLength = length;
        _sealIsUnsynced = false;
        SwitchCurrent(_files, _directory);
        _files.DeleteFile(old);
        return true;
    }

    public void Dispose()
    {
        _file.Dispose();
        _record.Dispose();
        _seal.Dispose();
    }

    private void Seal(long nextId)
    {
        EncodeRecord(_seal, new ManifestEdit { NextId = Math.Max(1, nextId) });
        try
        {
            _file.Write(_length, _seal.Written);
            _sealIsUnsynced = true;
            _length += _seal.Length;
        }
        catch (StorageFullException)
        {
            // The edit stands; it stays the last record until the next one.
            _file.SetLength(_length);
        }
    }

    /// <summary>Goes through the records of a manifest; the tail may be torn, nothing else.</summary>
    internal static ManifestState Replay(ReadOnlySpan<byte> bytes, string path)
    {
        CheckHeader(bytes, path);
        ManifestState state = new();
        int at = HeaderBytes;
        while (at < bytes.Length)
        {
            int length = ValidRecord(bytes[at..]);
            if (length == 0)
            {
                // The first record was synced before CURRENT named the file: it is never a tail.
                if (at == HeaderBytes || HasRecordBehind(bytes[(at + 1)..]))
                {
                    throw new CorruptionException(path, at, "the checksum of a record does not fit");
                }

                state.TornAt = at;
                return state;
            }

            ManifestEdit? edit = ManifestEdit.TryDecode(bytes.Slice(at + RecordHeadBytes, length));
            if (edit is null || !state.TryApply(edit))
            {
                throw new CorruptionException(path, at, "a record does not fit those before it");
            }

            at += RecordHeadBytes + length;
        }

        return at > HeaderBytes ? state : throw new CorruptionException(path, at, "the manifest has no record");
    }

    /// <summary>Whether a manifest that nothing names was ever in force: creating an engine may leave an empty one.</summary>
    private static bool SaysMoreThanNothing(IFileSystem files, string path)
    {
        try
        {
            ManifestState state = Load(files, path);
            return state.Mark.Index > 0 || state.Tables.Count > 0;
        }
        catch (CorruptionException)
        {
            // A creation that power loss interrupted leaves one that cannot be read.
            return false;
        }
    }

    private static void CheckHeader(ReadOnlySpan<byte> bytes, string path)
    {
        if (bytes.Length < HeaderBytes || BinaryPrimitives.ReadUInt64LittleEndian(bytes) != Magic
            || BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]) != Crc32C.Compute(bytes[..12]))
        {
            throw new CorruptionException(path, 0, "the file does not begin as a manifest");
        }

        uint version = BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]);
        if (version is not (FirstVersion or FormatVersion or FormatWithHistory))
        {
            throw new StoreException($"'{path}' has manifest format version {version}; this build reads versions {FirstVersion} to {FormatWithHistory}: use the build that wrote it, or a newer one");
        }
    }

    /// <summary>The length of the record at the beginning of the bytes, or 0 if there is none whose checksum fits.</summary>
    private static int ValidRecord(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < RecordHeadBytes)
        {
            return 0;
        }

        uint length = BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        if (length == 0 || length > bytes.Length - RecordHeadBytes)
        {
            return 0;
        }

        uint checksum = BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]);
        return Crc32C.Compute(bytes.Slice(RecordHeadBytes, (int)length)) == checksum ? (int)length : 0;
    }

    private static bool HasRecordBehind(ReadOnlySpan<byte> bytes)
    {
        for (int at = 0; at < bytes.Length - RecordHeadBytes; at++)
        {
            if (ValidRecord(bytes[at..]) > 0)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Writes a manifest and the file that is to become CURRENT; leaves nothing in force behind if it fails.</summary>
    private static (StorageFile File, long Length) Prepare(IFileSystem files, string directory, ManifestState state)
    {
        long number = state.NextId++;
        string name = FileNames.Manifest(number);
        string path = Path.Combine(directory, name);
        StorageFile file = files.Create(path);
        try
        {
            using NativeBuffer content = new();
            content.AppendInt64((long)Magic);
            content.AppendUInt32(state.History is null ? FormatVersion : FormatWithHistory);
            content.AppendUInt32(Crc32C.Compute(content.Written));
            using NativeBuffer record = new();
            EncodeRecord(record, state.ToEdit());
            content.Append(record.Written);
            file.Write(0, content.Written);
            file.Sync();
            WriteNextCurrent(files, directory, name);
            files.SyncDirectory(directory);
            return (file, content.Length);
        }
        catch
        {
            // The file itself is an orphan that the next opening deletes.
            file.Dispose();
            throw;
        }
    }

    private static void WriteNextCurrent(IFileSystem files, string directory, string manifest)
    {
        string temporary = Path.Combine(directory, FileNames.CurrentTemporary);
        if (files.FileExists(temporary))
        {
            files.DeleteFile(temporary);
        }

        using StorageFile current = files.Create(temporary);
        current.Write(0, Encoding.ASCII.GetBytes($"{manifest} {CurrentCheck(manifest)}"));
        current.Sync();
    }

    private static void SwitchCurrent(IFileSystem files, string directory)
    {
        files.Rename(Path.Combine(directory, FileNames.CurrentTemporary), Path.Combine(directory, FileNames.Current));
        files.SyncDirectory(directory);
    }

    private static void EncodeRecord(NativeBuffer record, ManifestEdit edit)
    {
        record.Clear();
        record.Append(RecordHeadBytes).Clear();
        edit.Encode(record);
        ReadOnlySpan<byte> payload = record.Written[RecordHeadBytes..];
        BinaryPrimitives.WriteInt32LittleEndian(record.Slice(0, 4), payload.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(record.Slice(4, 4), Crc32C.Compute(payload));
    }

    private static string CurrentCheck(string manifest) =>
        Crc32C.Compute(Encoding.ASCII.GetBytes(manifest)).ToString("x8", CultureInfo.InvariantCulture) + "\n";

    private static byte[] ReadAll(IFileSystem files, string path, long most)
    {
        using StorageFile file = files.Open(path, writable: false);
        if (file.Length > most)
        {
            throw new CorruptionException(path, most, $"the file has {file.Length} bytes, more than is ever written");
        }

        byte[] bytes = new byte[file.Length];
        int read = file.Read(0, bytes);
        return read == bytes.Length ? bytes : throw new CorruptionException(path, read, "the file ended while it was read");
    }
}
