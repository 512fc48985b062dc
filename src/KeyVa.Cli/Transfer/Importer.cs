using System.Diagnostics;

namespace KeyVa.Cli.Transfer;

/// <summary>What an import may do and whom it tells.</summary>
internal sealed record ImportOptions
{
    /// <summary>The input's name, for messages.</summary>
    public required string Name { get; init; }

    /// <summary>Leave out lines that are no records and records that the store refuses.</summary>
    public bool SkipErrors { get; init; }

    /// <summary>Told of every line that was left out.</summary>
    public required Action<string> OnSkipped { get; init; }

    /// <summary>Told now and then how far it is.</summary>
    public required Action<ImportTotals> OnProgress { get; init; }
}

/// <summary>How far an import is.</summary>
/// <param name="Done">Everything before this is in the store.</param>
/// <param name="Records">Records read, those of an earlier part included.</param>
/// <param name="Offset">Bytes of the input read.</param>
/// <param name="Skipped">Lines and records left out.</param>
/// <param name="Refused">Those of <paramref name="Records"/> that the store refused; among the skipped too.</param>
internal readonly record struct ImportTotals(ImportPosition Done, long Records, long Offset, long Skipped, long Refused);

/// <summary>
/// Loads the records of a reader into a store with several batches in flight and bounded memory: two batches per lane.
/// 1. Everything before <see cref="Totals"/>.Done is in the store, as durable as the store promises.
/// 2. Of several records with one key the last one wins.
/// 3. Sending a batch twice does no harm: importing again from any place before the last record sent is safe.
/// </summary>
internal sealed class Importer : IDisposable
{
    /// <summary>Batches in flight. More than a few bring nothing: they share each sync of the journal.</summary>
    public const int Lanes = 4;

    private const int ProgressEvery = 1024;
    private static readonly TimeSpan LongestBusy = TimeSpan.FromMinutes(1);

    private readonly IStore _store;
    private readonly RecordReader _reader;
    private readonly ImportOptions _options;
    private readonly ImportLane[] _lanes;
    private long _records;
    private long _skipped;
    private long _refused;

    /// <summary>An import that goes on at the reader's place, after so many records.</summary>
    public Importer(IStore store, RecordReader reader, ImportOptions options, long records = 0, long skipped = 0)
    {
        _store = store;
        _reader = reader;
        _options = options;
        _records = records;
        _skipped = skipped;
        _lanes = new ImportLane[Lanes];
        for (int i = 0; i < Lanes; i++)
        {
            _lanes[i] = new ImportLane(SendAsync);
        }
    }

    /// <summary>How far it is. Asked by the importing loop, or when that has ended.</summary>
    public ImportTotals Totals
    {
        get
        {
            ImportPosition done = new(_reader.Offset, _reader.NextLine, _records);
            foreach (ImportLane lane in _lanes)
            {
                if (lane.FirstOpen() is { } open && open.Offset < done.Offset)
                {
                    done = open;
                }
            }

            return new ImportTotals(done, _records, _reader.Offset, Interlocked.Read(ref _skipped), Interlocked.Read(ref _refused));
        }
    }

    /// <summary>
    /// Imports to the end. However it ends, no write is left on its way, and <see cref="Totals"/> says what is in the
    /// store.
    /// </summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        try
        {
            CommandException? bad = await ReadAllAsync(cancellation);
            foreach (ImportLane lane in _lanes)
            {
                if (lane.Gathering.Count > 0)
                {
                    await lane.SendAsync();
                }
            }

            foreach (ImportLane lane in _lanes)
            {
                await lane.FinishAsync();
            }

            if (bad is not null)
            {
                throw bad;
            }
        }
        finally
        {
            foreach (ImportLane lane in _lanes)
            {
                await lane.SettleAsync();
            }
        }

        _options.OnProgress(Totals);
    }

    public void Dispose()
    {
        foreach (ImportLane lane in _lanes)
        {
            lane.Dispose();
        }
    }

    /// <summary>Reads to the end, or to a line that is no record: what stands before that is still to be sent.</summary>
    private async Task<CommandException?> ReadAllAsync(CancellationToken cancellation)
    {
        int sinceProgress = 0;
        while (true)
        {
            cancellation.ThrowIfCancellationRequested();
            ReadOutcome outcome = _reader.Read();
            if (outcome == ReadOutcome.End)
            {
                return null;
            }

            if (outcome == ReadOutcome.Bad)
            {
                if (!_options.SkipErrors)
                {
                    return Problem(_reader.Line, _reader.Problem, ExitCode.Usage);
                }

                Skip(_reader.Line, _reader.Problem);
                continue;
            }

            ImportLane lane = _lanes[(ImportBatch.Hash(_reader.Key.Span) >>> 16) % Lanes];
            int bytes = _reader.Key.Length + _reader.Value.Length;
            if (lane.Gathering.IsFull(bytes))
            {
                await lane.SendAsync();
            }

            lane.Gathering.Add(
                _reader.Key.Span,
                _reader.Value.Span,
                _reader.ExpiresAt,
                new ImportPosition(_reader.RecordOffset, _reader.Line, _records));
            _records++;
            if (++sinceProgress == ProgressEvery || bytes > ImportBatch.TargetBytes)
            {
                sinceProgress = 0;
                _options.OnProgress(Totals);
            }
        }
    }

    private async Task SendAsync(ImportBatch batch, WriteBatch write) => await SendAsync(batch, write, 0, batch.Count);

    /// <summary>Sends some records of a batch; if they are refused, by halves until the refused one is known.</summary>
    private async Task SendAsync(ImportBatch batch, WriteBatch write, int from, int to)
    {
        write.Clear();
        batch.CopyTo(write, from, to);
        if (write.Count == 0)
        {
            return;
        }

        WriteResult result = await WriteAsync(write);
        switch (result.Status)
        {
            case Status.Ok:
                return;
            case Status.Invalid or Status.TooLarge or Status.BadNode when to - from > 1:
                int middle = from + ((to - from) / 2);
                await SendAsync(batch, write, from, middle);
                await SendAsync(batch, write, middle, to);
                return;
            case Status.Invalid or Status.TooLarge or Status.BadNode:
                string detail = result.Detail ?? CommandException.Refused(result.Status, null).Message;
                if (!_options.SkipErrors)
                {
                    throw Problem(batch.Line(from), detail, ExitCode.Refused);
                }

                Interlocked.Increment(ref _refused);
                Skip(batch.Line(from), detail);
                return;
            default:
                throw CommandException.Refused(result.Status, result.Detail);
        }
    }

    private async Task<WriteResult> WriteAsync(WriteBatch write)
    {
        long began = Stopwatch.GetTimestamp();
        TimeSpan pause = TimeSpan.FromMilliseconds(10);
        while (true)
        {
            // Not cancelled with the import: a write that is on its way shall be known to be done or not.
            WriteResult result = await _store.WriteAsync(write, CancellationToken.None);
            if (result.Status != Status.Busy || Stopwatch.GetElapsedTime(began) > LongestBusy)
            {
                return result;
            }

            await Task.Delay(pause);
            pause = TimeSpan.FromMilliseconds(Math.Min(1000, pause.TotalMilliseconds * 2));
        }
    }

    private CommandException Problem(long line, string problem, int exitCode) => new(exitCode, $"{_options.Name}:{line}: {problem}");

    private void Skip(long line, string problem)
    {
        Interlocked.Increment(ref _skipped);
        _options.OnSkipped($"{_options.Name}:{line}: {problem}");
    }
}
