using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>Reads every byte of a value file and says what is damaged. No state of the engine is needed or touched.</summary>
internal static class ValueFileVerifier
{
    private const int PieceBytes = 1 << 20;

    /// <summary>
    /// Reads the whole file and hands every damage to <paramref name="report"/>. Behind a record whose length cannot be
    /// believed nothing is looked at: where the next one begins is not known. Returns the records that are intact.
    /// </summary>
    /// <param name="files">Where the file is.</param>
    /// <param name="path">The value file.</param>
    /// <param name="expected">What the manifest says of it; null: not known.</param>
    /// <param name="report">Called with what is damaged.</param>
    /// <param name="cancellation">Looked at between records.</param>
    public static long Verify(
        IFileSystem files, string path, ManifestValueFile? expected, Action<CorruptionException> report, CancellationToken cancellation)
    {
        using StorageFile file = files.Open(path, writable: false);
        long end = file.Length - ValueFileFooter.Bytes;
        ValueFileFooter? footer = null;
        try
        {
            footer = ValueFileReader.ReadEnds(file);
            if (expected is not null && (file.Length != expected.FileBytes || footer.Value.Records != expected.Records))
            {
                throw new CorruptionException(path, end, $"{file.Length} bytes with {footer.Value.Records} records; the manifest says {expected.FileBytes} and {expected.Records}");
            }
        }
        catch (CorruptionException damage)
        {
            report(damage);
        }

        (long intact, long seen, long valueBytes) = VerifyRecords(file, end, report, cancellation);
        if (footer is { } counts && seen == intact && (counts.Records != seen || counts.ValueBytes != valueBytes))
        {
            report(new CorruptionException(path, end, $"{seen} records with {valueBytes} bytes of values; the footer says {counts.Records} and {counts.ValueBytes}"));
        }

        return intact;
    }

    private static (long Intact, long Seen, long ValueBytes) VerifyRecords(
        StorageFile file, long end, Action<CorruptionException> report, CancellationToken cancellation)
    {
        using NativeBuffer buffer = new(PieceBytes);
        long intact = 0;
        long seen = 0;
        long valueBytes = 0;
        long at = ValueFileHeader.Bytes;
        long pieceStart = at;
        while (at < end)
        {
            cancellation.ThrowIfCancellationRequested();
            ReadOnlySpan<byte> rest = Have(file, buffer, ref pieceStart, at, ValueRecord.HeadBytes, end);
            if (!ValueRecord.TryDecodeHead(rest, out ValueRecord record) || record.Bytes > end - at)
            {
                report(new CorruptionException(file.Path, at, $"the head of a record does not make sense; what follows, up to {end}, cannot be read"));
                return (intact, seen + 1, valueBytes);
            }

            seen++;
            ReadOnlySpan<byte> bytes = Have(file, buffer, ref pieceStart, at, record.Bytes, end)[..record.Bytes];
            if (ValueRecord.IsIntact(bytes))
            {
                intact++;
                valueBytes += ValueLength(bytes, record);
            }
            else
            {
                report(new CorruptionException(file.Path, at, $"the checksum of a record of {record.Bytes} bytes does not fit"));
            }

            at += record.Bytes;
        }

        return (intact, seen, valueBytes);
    }

    private static long ValueLength(ReadOnlySpan<byte> bytes, in ValueRecord record) =>
        record.Compression == BlockFormat.NoCompression || record.StoredLength < BlockDecompressor.LengthBytes
            ? record.StoredLength
            : System.Buffers.Binary.BinaryPrimitives.ReadUInt32LittleEndian(bytes[^record.StoredLength..]);

    /// <summary>The bytes of the file from a place on, so many of them at least, if the records have as many.</summary>
    private static ReadOnlySpan<byte> Have(StorageFile file, NativeBuffer buffer, ref long pieceStart, long at, int count, long end)
    {
        long wanted = Math.Min(count, end - at);
        if (at + wanted > pieceStart + buffer.Length)
        {
            buffer.Clear(PieceBytes);
            Span<byte> piece = buffer.Append((int)Math.Min(Math.Max(PieceBytes, wanted), end - at));
            int read = file.Read(at, piece);
            buffer.Truncate(read);
            pieceStart = at;
            if (read < wanted)
            {
                throw new CorruptionException(file.Path, at, "the file ended while it was read");
            }
        }

        return buffer.Written[(int)(at - pieceStart)..];
    }
}
