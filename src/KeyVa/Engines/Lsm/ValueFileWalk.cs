using System.Buffers.Binary;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Goes over every byte of a value file, a bounded piece at a time, and says what is damaged. One thread. Behind a record whose
/// length cannot be believed nothing is looked at: where the next one begins is not known.
/// </summary>
internal sealed class ValueFileWalk : IDisposable
{
    private const int PieceBytes = 1 << 20;

    private readonly StorageFile _file;
    private readonly long _end;
    private readonly ManifestValueFile? _expected;
    private readonly NativeBuffer _buffer = new(PieceBytes);
    private ValueFileFooter? _footer;
    private long _at = ValueFileHeader.Bytes;
    private long _pieceStart = ValueFileHeader.Bytes;
    private long _seen;
    private long _valueBytes;
    private bool _begun;

    /// <param name="file">The value file, which the walk takes over.</param>
    /// <param name="expected">What the manifest says of it; null: not known.</param>
    public ValueFileWalk(StorageFile file, ManifestValueFile? expected)
    {
        _file = file;
        _expected = expected;
        _end = file.Length - ValueFileFooter.Bytes;
    }

    /// <summary>Records whose checksum fits.</summary>
    public long Intact { get; private set; }

    /// <summary>Reads about so many bytes on; false at the end.</summary>
    public bool Step(long bytes, Action<CorruptionException> found, out long read)
    {
        long from = _at;
        if (!_begun)
        {
            _begun = true;
            ReadEnds(found);
        }

        while (_at < _end && _at - from < bytes)
        {
            Record(found);
        }

        read = _at - from;
        if (_at < _end)
        {
            return true;
        }

        CompareCounts(found);
        return false;
    }

    public void Dispose()
    {
        _buffer.Dispose();
        _file.Dispose();
    }

    private void ReadEnds(Action<CorruptionException> found)
    {
        try
        {
            ValueFileFooter footer = ValueFileReader.ReadEnds(_file);
            _footer = footer;
            if (_expected is not null && (_file.Length != _expected.FileBytes || footer.Records != _expected.Records))
            {
                throw new CorruptionException(_file.Path, Math.Max(0, _end), $"{_file.Length} bytes with {footer.Records} records; the manifest says {_expected.FileBytes} and {_expected.Records}");
            }
        }
        catch (CorruptionException damage)
        {
            found(damage);
        }
    }

    private void Record(Action<CorruptionException> found)
    {
        ReadOnlySpan<byte> rest = Have(ValueRecord.HeadBytes);
        if (!ValueRecord.TryDecodeHead(rest, out ValueRecord record) || record.Bytes > _end - _at)
        {
            found(new CorruptionException(_file.Path, _at, $"the head of a record does not make sense; what follows, up to {_end}, cannot be read"));
            _seen++;
            _at = _end;
            return;
        }

        _seen++;
        ReadOnlySpan<byte> bytes = Have(record.Bytes);
        if (bytes.Length >= record.Bytes && ValueRecord.IsIntact(bytes[..record.Bytes]))
        {
            Intact++;
            _valueBytes += ValueLength(bytes[..record.Bytes], record);
        }
        else
        {
            found(new CorruptionException(_file.Path, _at, $"the checksum of a record of {record.Bytes} bytes does not fit"));
        }

        _at += record.Bytes;
    }

    private void CompareCounts(Action<CorruptionException> found)
    {
        if (_footer is { } footer && _seen == Intact && (footer.Records != _seen || footer.ValueBytes != _valueBytes))
        {
            found(new CorruptionException(_file.Path, _end, $"{_seen} records with {_valueBytes} bytes of values; the footer says {footer.Records} and {footer.ValueBytes}"));
        }
    }

    private static long ValueLength(ReadOnlySpan<byte> bytes, in ValueRecord record) =>
        record.Compression == BlockFormat.NoCompression || record.StoredLength < BlockDecompressor.LengthBytes
            ? record.StoredLength
            : BinaryPrimitives.ReadUInt32LittleEndian(bytes[^record.StoredLength..]);

    /// <summary>The bytes from the present place on, so many of them at least, if the file has as many.</summary>
    private ReadOnlySpan<byte> Have(int count)
    {
        long wanted = Math.Min(count, _end - _at);
        if (_at + wanted > _pieceStart + _buffer.Length)
        {
            _buffer.Clear(PieceBytes);
            Span<byte> piece = _buffer.Append((int)Math.Min(Math.Max(PieceBytes, wanted), _end - _at));
            _buffer.Truncate(_file.Read(_at, piece));
            _pieceStart = _at;
        }

        return _buffer.Written[(int)(_at - _pieceStart)..];
    }
}
