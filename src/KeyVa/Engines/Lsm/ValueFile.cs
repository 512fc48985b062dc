using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>A value file as the manifest names it. Garbage is what no table leads to: <c>RecordBytes</c> less what the tables say they use.</summary>
internal sealed record ManifestValueFile(long Id, long FileBytes, long RecordBytes, long Records);

/// <summary>What a table uses of a value file: bytes and number of the records that its entries lead to.</summary>
internal readonly record struct ValueFileUse(long Id, long Bytes, long Records);

/// <summary>A value file of the engine: what the manifest knows of it, and its reader while it is open.</summary>
internal sealed class ValueFile : EngineFile
{
    // Immutable.
    private readonly IFileSystem _files;
    private readonly BlockCache _cache;
    private readonly int _maxOpenTables;
    private readonly CompressionLibraries _libraries;

    // Shared: written under the lock on this file or the table cache's, read by anyone inside an epoch.
    private ValueFileReader? _reader;

    public ValueFile(ManifestValueFile entry, EngineContext context)
        : base(entry.Id, System.IO.Path.Combine(context.Directory, FileNames.Values(entry.Id)), entry.FileBytes)
    {
        Entry = entry;
        _files = context.FileSystem;
        _cache = context.BlockCache;
        _maxOpenTables = context.Options.MaxOpenTables;
        _libraries = context.Options.CompressionLibraries;
    }

    public ManifestValueFile Entry { get; }

    /// <summary>Bytes of the records that tables lead to. Guarded by the engine's lock.</summary>
    public long LiveBytes { get; set; }

    public long GarbageBytes => Entry.RecordBytes - LiveBytes;

    public override FileReader? OpenFile => Volatile.Read(ref _reader);

    /// <summary>The reader, opened if need be. The caller is inside an epoch and stays there while it uses it.</summary>
    public ValueFileReader Reader
    {
        get
        {
            ValueFileReader reader = Volatile.Read(ref _reader) ?? OpenReader();
            if (!reader.Referenced)
            {
                reader.Referenced = true;
            }

            return reader;
        }
    }

    public override void ForgetReader() => Volatile.Write(ref _reader, null);

    /// <summary>The reader, pinned until <see cref="FileReader.Unpin"/>.</summary>
    public ValueFileReader PinReader()
    {
        Epochs.Enter();
        try
        {
            ValueFileReader reader;
            do
            {
                reader = Reader;
            }
            while (!reader.TryPin());

            return reader;
        }
        finally
        {
            Epochs.Exit();
        }
    }

    private ValueFileReader OpenReader()
    {
        ValueFileReader? reader;
        lock (this)
        {
            reader = Volatile.Read(ref _reader);
            if (reader is not null)
            {
                return reader;
            }

            StorageFile file = _files.Open(Path, writable: false);
            if (file.Length != FileBytes)
            {
                long length = file.Length;
                file.Dispose();
                throw new CorruptionException(Path, Math.Min(length, FileBytes), $"the file has {length} bytes, the manifest says {FileBytes}");
            }

            reader = ValueFileReader.Open(file, _cache, _libraries);
            ValueFileFooter footer = reader.Footer;
            if (footer.Records != Entry.Records || footer.RecordsEnd - ValueFileHeader.Bytes != Entry.RecordBytes)
            {
                reader.Dispose();
                throw new CorruptionException(Path, FileBytes - ValueFileFooter.Bytes, $"the file has {footer.Records} records, the manifest says {Entry.Records}");
            }

            Volatile.Write(ref _reader, reader);
        }

        _cache.Tables.Opened(this, reader, _maxOpenTables);
        return reader;
    }
}
