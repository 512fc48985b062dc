using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>Writes one value file, record by record. One thread; allocates nothing in steady state. The caller syncs the directory.</summary>
internal sealed class ValueFileWriter : IDisposable
{
    /// <summary>Bytes gathered for one write.</summary>
    public const int WriteBytes = 256 << 10;

    private readonly StorageFile _file;
    private readonly BlockCompressor? _compressor;
    private readonly NativeBuffer _output = new(WriteBytes + (64 << 10));
    private long _written;
    private long _records;
    private long _valueBytes;
    private uint _compressions;

    /// <param name="file">An empty file, which the writer takes over.</param>
    /// <param name="compression">Of the values.</param>
    /// <param name="options">The engine's.</param>
    public ValueFileWriter(StorageFile file, Compression compression, EngineOptions options)
    {
        _file = file;
        _compressor = compression == Compression.None ? null : new BlockCompressor(compression, options.ZstdLevel, options.CompressionLibraries);
        ValueFileHeader.Encode(_output.Append(ValueFileHeader.Bytes));
    }

    /// <summary>Bytes of the file so far; after <see cref="Finish"/> all.</summary>
    public long FileBytes => _written + _output.Length;

    public long Records => _records;

    public long ValueBytes => _valueBytes;

    /// <summary>Adds a value. Of what is returned the file is the caller's.</summary>
    public ValueReference Add(ReadOnlySpan<byte> key, long version, ReadOnlySpan<byte> value)
    {
        byte compression = _compressor?.Compress(value, withDictionary: false) ?? BlockFormat.NoCompression;
        ReadOnlySpan<byte> stored = compression == BlockFormat.NoCompression ? value : _compressor!.Output;
        _compressions |= 1u << compression;
        long offset = FileBytes;
        ValueRecord.EncodeHead(_output.Append(ValueRecord.HeadBytes), key, version, compression, stored);
        _output.Append(key);
        if (stored.Length >= WriteBytes)
        {
            FlushOutput();
            _file.Write(_written, stored);
            _written += stored.Length;
        }
        else
        {
            _output.Append(stored);
            if (_output.Length >= WriteBytes)
            {
                FlushOutput();
            }
        }

        _valueBytes += value.Length;
        return new ValueReference(0, _records++, offset, ValueRecord.HeadBytes + key.Length + stored.Length, value.Length);
    }

    /// <summary>Writes what is left and syncs the file.</summary>
    public void Finish()
    {
        ValueFileFooter footer = new(_records, FileBytes, _valueBytes, _compressions);
        footer.Encode(_output.Append(ValueFileFooter.Bytes));
        FlushOutput();
        _file.Sync();
    }

    public void Dispose()
    {
        _compressor?.Dispose();
        _output.Dispose();
        _file.Dispose();
    }

    private void FlushOutput()
    {
        if (_output.Length > 0)
        {
            _file.Write(_written, _output.Written);
            _written += _output.Length;
            _output.Clear();
        }
    }
}
