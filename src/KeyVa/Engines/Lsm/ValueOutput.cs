using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// The value files that belong to the tables of one flush or compaction. Until they are in the manifest they are
/// nobody's: <see cref="Dispose"/> deletes them unless <see cref="Keep"/> was called. One thread.
/// </summary>
internal sealed class ValueOutput(EngineContext context, VersionSet versions, Compression compression) : IDisposable
{
    private readonly List<ManifestValueFile> _files = [];
    private readonly List<string> _paths = [];
    private readonly byte[] _encoded = new byte[ValueReference.MaxBytes];
    private ValueFileWriter? _writer;
    private long _id;
    private bool _kept;

    /// <summary>Finished ones; all after <see cref="Complete"/>.</summary>
    public IReadOnlyList<ManifestValueFile> Files => _files;

    /// <summary>Writes a value; returns the reference to it, encoded, valid until the next one.</summary>
    public ReadOnlySpan<byte> Add(ReadOnlySpan<byte> key, long version, ReadOnlySpan<byte> value, out int recordBytes)
    {
        ValueFileWriter writer = _writer ?? Begin();
        ValueReference reference = writer.Add(key, version, value) with { File = _id };
        recordBytes = reference.RecordLength;
        if (writer.FileBytes >= context.Options.ValueFileBytes)
        {
            Complete();
        }

        return _encoded.AsSpan(0, reference.Encode(_encoded));
    }

    /// <summary>Ends the file under way: written and synced. The caller syncs the directory.</summary>
    public void Complete()
    {
        if (_writer is { } writer)
        {
            long end = writer.FileBytes;
            writer.Finish();
            _files.Add(new ManifestValueFile(_id, writer.FileBytes, end - ValueFileHeader.Bytes, writer.Records));
            Close();
        }
    }

    /// <summary>The manifest has them now.</summary>
    public void Keep() => _kept = true;

    public void Dispose()
    {
        Close();
        if (!_kept)
        {
            _paths.ForEach(versions.DeleteUnnamed);
        }
    }

    private ValueFileWriter Begin()
    {
        _id = versions.NewFileId();
        string path = Path.Combine(context.Directory, FileNames.Values(_id));
        StorageFile file = context.FileSystem.Create(path);
        _paths.Add(path);
        _writer = new ValueFileWriter(file, compression, context.Options);
        context.BlockCache.Memory.Charge(MemoryKind.Buffers, ValueFileWriter.WriteBytes);
        return _writer;
    }

    private void Close()
    {
        if (_writer is not null)
        {
            _writer.Dispose();
            _writer = null;
            context.BlockCache.Memory.Release(MemoryKind.Buffers, ValueFileWriter.WriteBytes);
        }
    }
}
