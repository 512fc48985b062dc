using System.Diagnostics;
using KeyVa.Engines;
using KeyVa.Indexes;

namespace KeyVa.Partitions;

/// <summary>
/// A key range with one logical writer and an engine. Thread-safe. Open cursors pin it: the engine is closed when the
/// store has let go and the last cursor is gone.
/// </summary>
internal sealed class Partition
{
    /// <summary>How long closing waits on the caller's thread for readers to leave; then a timer goes on waiting.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan Retry = TimeSpan.FromMilliseconds(50);

    private readonly StoreContext _context;
    private int _pins = 1;
    private long _closingEpoch;
    private ITimer? _closing;

    public Partition(PartitionDefinition definition, Engine engine, PartitionWriter writer, PartitionIndexes indexes, StoreContext context)
    {
        Indexes = indexes;
        Definition = definition;
        Engine = engine;
        Writer = writer;
        _context = context;
        context.RetainCache();
    }

    public PartitionDefinition Definition { get; }

    public long Id => Definition.Id;

    public KeyRange Range => Definition.Range;

    public Engine Engine { get; }

    public PartitionWriter Writer { get; }

    public PartitionIndexes Indexes { get; }

    /// <summary>Called once the engine is closed, by a removal that waits to delete its files.</summary>
    public Action? EngineClosed { get; set; }

    /// <summary>Keeps the engine open; false if it is closed already.</summary>
    public bool TryPin()
    {
        int pins = Volatile.Read(ref _pins);
        while (pins > 0)
        {
            int seen = Interlocked.CompareExchange(ref _pins, pins + 1, pins);
            if (seen == pins)
            {
                return true;
            }

            pins = seen;
        }

        return false;
    }

    public void Unpin()
    {
        if (Interlocked.Decrement(ref _pins) != 0)
        {
            return;
        }

        if (Epochs.IsInside)
        {
            // This thread holds a lease: waiting for it here would be for ever.
            ThreadPool.UnsafeQueueUserWorkItem(static partition => partition.CloseEngine(), this, preferLocal: false);
        }
        else
        {
            CloseEngine();
        }
    }

    public PartitionInfo Describe()
    {
        EngineStatistics statistics = Engine.GetStatistics();
        (long indexStorage, long indexMemory) = Indexes.Measure();
        return new PartitionInfo
        {
            Id = Id,
            Range = Range,
            Engine = Definition.Engine,
            Volatile = Definition.IsVolatile,
            AppliedIndex = Engine.AppliedIndex,
            DurableIndex = Engine.DurableIndex,
            Keys = statistics.Keys,
            ValueBytes = statistics.ValueBytes,
            OlderVersions = statistics.OlderVersions,
            OlderVersionBytes = statistics.OlderVersionBytes,
            HistoryFromVersion = Engine.Context.History.From,
            StorageBytes = statistics.StorageBytes + indexStorage,
            MemoryBytes = statistics.MemoryBytes + indexMemory,
            Settings = Engine.Settings.Current,
            QueuedWrites = Writer.Queued,
            Lsm = statistics.Lsm,
        };
    }

    /// <summary>
    /// Closes the engine once nobody who could have found this partition is still reading. A reader that stays inside (a
    /// lease that was not disposed) keeps the engine's memory, never the caller.
    /// </summary>
    private void CloseEngine()
    {
        _closingEpoch = Epochs.Advance();
        long began = Stopwatch.GetTimestamp();
        var wait = default(SpinWait);
        while (!TryCloseEngine())
        {
            if (Stopwatch.GetElapsedTime(began) > Patience)
            {
                _closing = _context.Time.CreateTimer(static partition => ((Partition)partition!).CloseLater(), this, Retry, Timeout.InfiniteTimeSpan);
                return;
            }

            wait.SpinOnce(sleep1Threshold: 10);
        }
    }

    private void CloseLater()
    {
        if (TryCloseEngine())
        {
            _closing!.Dispose();
        }
        else
        {
            _closing!.Change(Retry, Timeout.InfiniteTimeSpan);
        }
    }

    private bool TryCloseEngine()
    {
        if (Epochs.OldestActive() <= _closingEpoch)
        {
            return false;
        }

        Writer.DisposeTimer();
        Engine.Dispose();
        Indexes.Dispose();
        _context.ReleaseCache();
        EngineClosed?.Invoke();
        return true;
    }
}
