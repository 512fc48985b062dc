namespace KeyVa.Engines.Lsm;

/// <summary>What compactions into one level have done since the engine was opened.</summary>
internal record struct CompactionFigures
{
    public long Count;
    public long Moves;

    /// <summary>Bytes read from the levels above, and from the level itself.</summary>
    public long BytesFromAbove;
    public long BytesFromLevel;
    public long BytesWritten;
    public TimeSpan Time;
}

/// <summary>Adds up compactions by the level they write to. Thread-safe by one lock, taken once per compaction.</summary>
internal sealed class CompactionCounters
{
    private readonly Lock _lock = new();
    private readonly CompactionFigures[] _levels = new CompactionFigures[Superversion.Levels];

    public CompactionFigures[] Read()
    {
        lock (_lock)
        {
            return [.. _levels];
        }
    }

    public void Add(Compaction compaction, long bytesWritten, TimeSpan time)
    {
        lock (_lock)
        {
            ref CompactionFigures figures = ref _levels[compaction.OutputLevel];
            if (compaction.IsMove)
            {
                figures.Moves++;
                return;
            }

            figures.Count++;
            figures.BytesWritten += bytesWritten;
            figures.Time += time;
            foreach (InputRun run in compaction.Runs)
            {
                if (run.Level == compaction.OutputLevel)
                {
                    figures.BytesFromLevel += run.Bytes;
                }
                else
                {
                    figures.BytesFromAbove += run.Bytes;
                }
            }
        }
    }
}
