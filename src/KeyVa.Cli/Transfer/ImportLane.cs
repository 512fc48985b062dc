namespace KeyVa.Cli.Transfer;

/// <summary>
/// One of several ways to the store that an import uses at once. A key always takes the same lane and a lane sends one
/// batch after the other, so of several records with one key the last one wins, as in the file. While one batch is on its
/// way the next one is gathered. Used by the importing loop only; the sending task touches the batch in flight alone.
/// </summary>
internal sealed class ImportLane : IDisposable
{
    private readonly WriteBatch _write = new();
    private readonly Func<ImportBatch, WriteBatch, Task> _send;
    private ImportBatch _inFlight = new();
    private Task _sending = Task.CompletedTask;

    public ImportLane(Func<ImportBatch, WriteBatch, Task> send) => _send = send;

    /// <summary>The batch being gathered.</summary>
    public ImportBatch Gathering { get; private set; } = new();

    /// <summary>Sends what was gathered, once the batch before it is done.</summary>
    public async ValueTask SendAsync()
    {
        await _sending;
        (_inFlight, Gathering) = (Gathering, _inFlight);
        Gathering.Clear();
        _sending = _send(_inFlight, _write);
    }

    /// <summary>Waits for the batch in flight; throws what it failed with.</summary>
    public Task FinishAsync() => _sending;

    /// <summary>Waits for the batch in flight, however it ends.</summary>
    public async Task SettleAsync() => await _sending.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    /// <summary>The first record that is not known to be in the store, or null.</summary>
    public ImportPosition? FirstOpen()
    {
        if (!_sending.IsCompletedSuccessfully)
        {
            return _inFlight.First;
        }

        return Gathering.Count > 0 ? Gathering.First : null;
    }

    public void Dispose() => _write.Dispose();
}
