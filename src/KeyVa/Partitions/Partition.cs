using KeyVa.Engines;

namespace KeyVa.Partitions;

/// <summary>
/// A key range with one logical writer and an engine. Thread-safe. Open cursors pin it: the engine is closed when the
/// store has let go and the last cursor is gone.
/// </summary>
internal sealed class Partition
{
    private int _pins = 1;

    public Partition(PartitionDefinition definition, Engine engine, PartitionWriter writer)
    {
        Definition = definition;
        Engine = engine;
        Writer = writer;
    }

    public PartitionDefinition Definition { get; }

    public long Id => Definition.Id;

    public KeyRange Range => Definition.Range;

    public Engine Engine { get; }

    public PartitionWriter Writer { get; }

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
            StorageBytes = statistics.StorageBytes,
            MemoryBytes = statistics.MemoryBytes,
            QueuedWrites = Writer.Queued,
        };
    }

    /// <summary>Waits until nobody who could have found this partition is still reading, then closes the engine.</summary>
    private void CloseEngine()
    {
        long left = Epochs.Advance();
        var wait = default(SpinWait);
        while (Epochs.OldestActive() <= left)
        {
            wait.SpinOnce();
        }

        Writer.DisposeTimer();
        Engine.Dispose();
        EngineClosed?.Invoke();
    }
}
