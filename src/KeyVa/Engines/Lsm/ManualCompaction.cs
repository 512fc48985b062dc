namespace KeyVa.Engines.Lsm;

/// <summary>
/// A request to compact a range of keys down to the last level. It goes forward in steps, level by level and key by key,
/// each an ordinary compaction between others. Guarded by the version set's gate, but for what a <see cref="PartitionCompaction"/> does.
/// </summary>
internal sealed class ManualCompaction(PartitionCompaction caller, KeyRange range, long afterIndex)
{
    /// <summary>A step below level 0 takes about so many tables' bytes of the upper level.</summary>
    public const int StepTables = 4;

    private readonly byte[] _from = range.From.ToArray();
    private readonly byte[] _to = range.To.ToArray();

    /// <summary>Everything up to this index of the log is to be in tables before it begins.</summary>
    public long AfterIndex => afterIndex;

    /// <summary>Tables from this number on are written after it began; 0 before.</summary>
    public long FirstNewId { get; private set; }

    /// <summary>The level whose tables are next.</summary>
    public int Level { get; private set; }

    /// <summary>Keys before this one are done on the level.</summary>
    public byte[] Cursor { get; private set; } = range.From.ToArray();

    public bool IsRunning { get; set; }

    public bool IsFinished { get; set; }

    public bool IsCancelled => caller.IsCancelled;

    /// <summary>Everything is in tables: it begins.</summary>
    public void Begin(Superversion superversion)
    {
        if (FirstNewId == 0)
        {
            FirstNewId = superversion.Tables.Select(table => table.Id).DefaultIfEmpty().Max() + 1;
        }
    }

    public bool IsBehind(ReadOnlySpan<byte> key) => _to.Length > 0 && KeyOrder.Compare(key, _to) >= 0;

    public bool Overlaps(SsTable table) => !IsBehind(table.Smallest) && KeyOrder.Compare(table.Largest, _from) >= 0;

    public void StartLevel(int level)
    {
        Level = level;
        Cursor = _from;
    }

    /// <summary>A step is over: done up to its keys, or (if it was broken off) to be tried again.</summary>
    public void EndStep(Compaction step, bool done, long bytesWritten)
    {
        IsRunning = false;
        if (!done)
        {
            return;
        }

        if (step.Level > 0 && step.Level == Level)
        {
            Cursor = [.. step.Runs[0].Tables[^1].Properties.Largest, 0];
        }

        caller.Report(step.Bytes, bytesWritten);
    }

    public void Complete() => caller.Complete(Status.Ok, null);

    public void Fail(StoreException failure) => caller.Fail(failure);
}
