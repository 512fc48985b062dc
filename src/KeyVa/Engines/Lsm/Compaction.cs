namespace KeyVa.Engines.Lsm;

/// <summary>Tables of one level that go into a compaction, in the order of their level.</summary>
internal readonly record struct InputRun(int Level, SsTable[] Tables)
{
    public long Bytes => Tables.Sum(table => table.FileBytes);
}

/// <summary>A compaction to do: which tables go in, and to which level the result goes. Immutable.</summary>
/// <param name="Runs">By rising level: newer ones first. Of two levels of it, none between has keys of theirs.</param>
/// <param name="OutputLevel">Where the result goes: a level of the runs, or an empty one between the last of them and the next older run.</param>
/// <param name="IsMove">No keys in common: the tables change their level and stay as they are.</param>
internal sealed record Compaction(InputRun[] Runs, int OutputLevel, bool IsMove = false)
{
    /// <summary>Where it starts.</summary>
    public int Level => Runs[0].Level;

    public IEnumerable<SsTable> Inputs => Runs.SelectMany(run => run.Tables);

    public long Bytes => Runs.Sum(run => run.Bytes);

    /// <summary>The request that it is a step of, or null.</summary>
    public ManualCompaction? Manual { get; init; }
}
