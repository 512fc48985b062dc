namespace KeyVa.Engines.Lsm;

/// <summary>Puts the tree's figures together for people. Stateless; under the version set's gate, since scores look at running compactions.</summary>
internal static class TreeFigures
{
    public static LsmStatistics Of(
        Superversion superversion, CompactionPicker picker, CompactionFigures[] compactions, long flushed, in ReadSample reads)
    {
        var levels = new LevelStatistics[Superversion.Levels];
        for (int level = 0; level < levels.Length; level++)
        {
            SsTable[] tables = level == 0 ? superversion.Level0 : superversion.Deeper[level].Tables;
            CompactionFigures done = compactions[level];
            levels[level] = new LevelStatistics
            {
                Level = level,
                Tables = tables.Length,
                CompactingTables = tables.Count(table => table.BeingCompacted),
                Bytes = tables.Sum(table => table.FileBytes),
                TargetBytes = (long)superversion.Targets[level],
                Score = picker.Score(superversion, level),
                Entries = tables.Sum(table => table.Properties.Entries),
                Tombstones = tables.Sum(table => table.Properties.Tombstones),
                Compactions = done.Count,
                Moves = done.Moves,
                BytesFromAbove = level == 0 ? 0 : done.BytesFromAbove,
                BytesFromLevel = done.BytesFromLevel,
                BytesWritten = level == 0 ? flushed + done.BytesWritten : done.BytesWritten,
                CompactionTime = done.Time,
            };
        }

        return new LsmStatistics
        {
            Levels = levels,
            MemtableBytes = superversion.Memtables.Sum(memtable => memtable.AllocatedBytes),
            ImmutableMemtables = superversion.Immutables.Length,
            PendingCompactionBytes = picker.PendingBytes(superversion),
            BytesFlushed = flushed,
            BytesCompacted = compactions.Sum(done => done.BytesWritten),
            SampledReads = reads.Reads,
            SampledTables = reads.Tables,
            SampledBlocks = reads.Blocks,
            SampledFiltered = reads.Filtered,
            SampledFalsePositives = reads.FalsePositives,
        };
    }
}
