using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>A value file as the manifest names it. Garbage is what no table leads to: <c>RecordBytes</c> less what the tables say they use.</summary>
internal sealed record ManifestValueFile(long Id, long FileBytes, long RecordBytes, long Records);

/// <summary>What a table uses of a value file: bytes and number of the records that its entries lead to.</summary>
internal readonly record struct ValueFileUse(long Id, long Bytes, long Records);

/// <summary>A value file of the engine: what the manifest knows of it, and its reader while it is open.</summary>
internal sealed class ValueFile : EngineFile
{
    // Shared: written under the lock on this file or the table cache's, read by anyone inside an epoch.
    private ValueFileReader? _reader;

    public ValueFile(ManifestValueFile entry, EngineContext context)
        : base(entry.Id, System.IO.Path.Combine(context.Directory, FileNames.Values(entry.Id)), entry.FileBytes, context)
    {
        Entry = entry;
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
            ValueFileReader reader = Volatile.Read(ref _reader) ?? (ValueFileReader)OpenOnce();
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

    protected override FileReader Open(StorageFile file, EngineContext context)
    {
        ValueFileReader reader = ValueFileReader.Open(file, context.BlockCache, context.Options.CompressionLibraries);
        ValueFileFooter footer = reader.Footer;
        if (footer.Records != Entry.Records || footer.RecordsEnd - ValueFileHeader.Bytes != Entry.RecordBytes)
        {
            reader.Dispose();
            throw new CorruptionException(Path, FileBytes - ValueFileFooter.Bytes, $"the file has {footer.Records} records, the manifest says {Entry.Records}");
        }

        Volatile.Write(ref _reader, reader);
        return reader;
    }
}
