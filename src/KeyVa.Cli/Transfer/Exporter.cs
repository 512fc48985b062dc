namespace KeyVa.Cli.Transfer;

/// <summary>
/// Writes the records of a store into a file. The file grows under another name (<see cref="PartialPath"/>) and gets its
/// own when it is complete and on disk, so a file with the name asked for is always a whole export. An export that broke
/// off goes on behind the last record that the partial file holds completely; it then sees the store as it is by then.
/// One thread.
/// </summary>
internal sealed class Exporter
{
    private readonly IStore _store;
    private readonly ScanOptions _options;
    private readonly TransferFormat _format;
    private readonly Action<long, long> _onProgress;

    /// <summary>An export that tells how many records and bytes it has written.</summary>
    public Exporter(IStore store, ScanOptions options, TransferFormat format, Action<long, long> onProgress)
    {
        _store = store;
        _options = options with { FillCache = false };
        _format = format;
        _onProgress = onProgress;
    }

    /// <summary>Records written, those of an earlier part included.</summary>
    public long Records { get; private set; }

    /// <summary>Records that an earlier part had written.</summary>
    public long RecordsBefore { get; private set; }

    /// <summary>Bytes written by this part.</summary>
    public long Bytes { get; private set; }

    /// <summary>Where an unfinished export is.</summary>
    public static string PartialPath(string path) => path + ".partial";

    /// <summary>Exports to a stream.</summary>
    public async Task RunAsync(Stream output, CancellationToken cancellation)
    {
        using RecordWriter writer = RecordWriter.Create(output, _format);
        writer.WriteHeader();
        await CopyAsync(writer, _options, cancellation);
    }

    /// <summary>Exports to a file, which must not be there yet unless it may be replaced.</summary>
    public async Task RunAsync(string path, bool resume, bool replace, CancellationToken cancellation)
    {
        string partial = PartialPath(path);
        if (File.Exists(path) && !replace)
        {
            throw CommandException.Usage($"'{path}' is already there; choose another name, or replace it with --force");
        }

        if (File.Exists(partial) && !resume && !replace)
        {
            throw CommandException.Usage($"'{partial}' is an export that was not finished; continue it with --resume, or begin anew with --force");
        }

        using (FileStream file = new(partial, resume ? FileMode.OpenOrCreate : FileMode.Create, FileAccess.ReadWrite, FileShare.Read, 1))
        {
            byte[]? lastKey = resume ? FindEnd(file, partial) : null;
            using RecordWriter writer = RecordWriter.Create(file, _format);
            if (file.Position == 0)
            {
                writer.WriteHeader();
            }

            if (lastKey is null || _options.Limit == 0 || Records < _options.Limit)
            {
                await CopyAsync(writer, lastKey is null ? _options : After(lastKey), cancellation);
            }

            writer.Flush();
            file.Flush(flushToDisk: true);
        }

        File.Move(partial, path, overwrite: true);
    }

    private ScanOptions After(byte[] lastKey) => _options with
    {
        After = lastKey,
        Limit = _options.Limit == 0 ? 0 : _options.Limit - Records,
    };

    private async Task CopyAsync(RecordWriter writer, ScanOptions options, CancellationToken cancellation)
    {
        try
        {
            await foreach (Record record in _store.ScanAsync(options, cancellation))
            {
                writer.Write(record.Key.Span, record.Value.Span, record.ExpiresAtUnixMilliseconds);
                Records++;
                Bytes = writer.Bytes;
                _onProgress(Records, Bytes);
            }
        }
        finally
        {
            // What has arrived is kept also if the rest does not come.
            writer.Flush();
            Bytes = writer.Bytes;
        }
    }

    /// <summary>
    /// Reads an unfinished export, cuts off a record that is not complete, and returns the last key; null if there is
    /// none. The file is left at its end.
    /// </summary>
    private byte[]? FindEnd(FileStream file, string path)
    {
        byte[]? lastKey = null;
        long end = 0;
        if (file.Length > 0 && (_format != TransferFormat.Csv || file.Length > CsvWriter.Header.Length))
        {
            using RecordReader reader = RecordReader.Open(file, _format, default);
            end = reader.Offset;
            ReadOutcome outcome;
            while ((outcome = reader.Read()) == ReadOutcome.Record && !reader.IsTorn)
            {
                end = reader.Offset;
                lastKey = reader.Key.ToArray();
                Records++;
            }

            if (outcome == ReadOutcome.Bad && !reader.IsTorn)
            {
                throw CommandException.Usage(
                    $"{path}:{reader.Line}: this is no export that could be continued: {reader.Problem}; begin anew with --force");
            }
        }

        RecordsBefore = Records;
        file.SetLength(end);
        file.Position = end;
        return lastKey;
    }
}
