using System.Runtime.CompilerServices;
using System.Text;

namespace KeyVa.Cli.Transfer;

/// <summary>Sends batches as one bulk load.</summary>
internal delegate ValueTask<(WriteResult Result, long Records)> SendLoad(IAsyncEnumerable<WriteBatch> batches, CancellationToken cancellation);

/// <summary>
/// Loads a reader's records, whose keys rise strictly, as one bulk load: all of them or none. One batch of memory; the
/// sending holds the reading back. Used by one thread at a time.
/// </summary>
internal sealed class SortedImporter(SendLoad send, RecordReader reader, ImportOptions options) : IDisposable
{
    private readonly WriteBatch _batch = new();
    private byte[] _lastKey = [];
    private int _lastKeyLength;
    private long _records;
    private long _skipped;

    /// <summary>How far it is; nothing is done before all of it is.</summary>
    public ImportTotals Totals => new(new ImportPosition(0, 1, 0), _records, reader.Offset, _skipped, Refused: 0);

    /// <summary>Imports to the end; whatever it throws, nothing has been loaded.</summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        (WriteResult result, _) = await send(ReadAsync(cancellation), cancellation);
        if (!result.IsOk)
        {
            throw CommandException.Refused(result.Status, result.Detail);
        }

        options.OnProgress(Totals);
    }

    public void Dispose() => _batch.Dispose();

    private async IAsyncEnumerable<WriteBatch> ReadAsync([EnumeratorCancellation] CancellationToken cancellation)
    {
        // What is sent is copied before the next batch is asked for.
        while (Gather(cancellation))
        {
            options.OnProgress(Totals);
            yield return _batch;
            await Task.CompletedTask;
        }
    }

    /// <summary>Fills the batch; false if nothing is left.</summary>
    private bool Gather(CancellationToken cancellation)
    {
        _batch.Clear();
        while (_batch.Count < ImportBatch.MaxRecords && _batch.Bytes < ImportBatch.TargetBytes)
        {
            cancellation.ThrowIfCancellationRequested();
            ReadOutcome outcome = reader.Read();
            if (outcome == ReadOutcome.End)
            {
                break;
            }

            if (outcome == ReadOutcome.Record)
            {
                Add();
            }
            else if (!options.SkipErrors)
            {
                throw Problem(reader.Problem);
            }
            else
            {
                _skipped++;
                options.OnSkipped($"{options.Name}:{reader.Line}: {reader.Problem}");
            }
        }

        return _batch.Count > 0;
    }

    private void Add()
    {
        ReadOnlySpan<byte> key = reader.Key.Span;
        if (_records > 0 && key.SequenceCompareTo(_lastKey.AsSpan(0, _lastKeyLength)) <= 0)
        {
            throw Problem($"the key '{Encoding.UTF8.GetString(key)}' does not come behind the one before it in byte order; sort the input (LC_ALL=C), or import it without --sorted");
        }

        if (_lastKey.Length < key.Length)
        {
            _lastKey = new byte[2 * key.Length];
        }

        key.CopyTo(_lastKey);
        _lastKeyLength = key.Length;
        _batch.Put(key, reader.Value.Span, reader.ExpiresAt == 0 ? default : new WriteOptions { Expiry = Expiry.AtUnixMilliseconds(reader.ExpiresAt) });
        _records++;
    }

    private CommandException Problem(string problem) => new(ExitCode.Usage, $"{options.Name}:{reader.Line}: {problem}");
}
