namespace KeyVa.Engines.Lsm;

/// <summary>
/// Decides when the values of a file that are still in use are written anew, so that the file can go. Pure functions, under
/// the version set's gate. See docs/decisions/value-separation.md.
/// </summary>
/// <remarks>
/// A table names how many bytes of which value file its entries lead to, so the garbage of a file is known exactly, from
/// the moment a compaction has dropped the entries. Two limits: a compaction that meets entries of a file which is half
/// garbage takes their values along (reclaiming a byte costs at most one byte written); and when a quarter of all bytes is
/// garbage, tables are compacted for its sake, those first that lead to the file with the largest share. So value files
/// take at most a third more than what the tables lead to, and what is being written.
/// </remarks>
internal static class ValueGarbage
{
    /// <summary>Whether a compaction takes along the values of the file that it meets.</summary>
    public static bool IsWorthMoving(ValueFile file, EngineOptions options) =>
        file.GarbageBytes * 100 >= file.Entry.RecordBytes * options.ValueFileGarbagePercent;

    /// <summary>The file with the largest share of garbage, if there is too much in all.</summary>
    public static ValueFile? Worst(ValueFiles files, EngineOptions options)
    {
        long bytes = 0;
        long garbage = 0;
        ValueFile? worst = null;
        foreach (ValueFile file in files.All)
        {
            bytes += file.Entry.RecordBytes;
            garbage += file.GarbageBytes;
            worst = worst is null || Share(file) > Share(worst) ? file : worst;
        }

        return garbage > 0 && garbage * 100 >= bytes * options.ValueGarbagePercent ? worst : null;
    }

    /// <summary>The files whose values a compaction of these tables takes along; null: none.</summary>
    public static IReadOnlySet<long>? ToMove(IEnumerable<SsTable> inputs, ValueFiles files, EngineOptions options, ValueFile? also)
    {
        HashSet<long>? moved = null;
        foreach (SsTable table in inputs)
        {
            foreach (ValueFileUse use in table.Properties.ValueFiles)
            {
                if (files.TryGet(use.Id) is ValueFile file && (file == also || IsWorthMoving(file, options)))
                {
                    (moved ??= []).Add(use.Id);
                }
            }
        }

        return moved;
    }

    public static bool Uses(SsTable table, ValueFile file) => Array.Exists(table.Properties.ValueFiles, use => use.Id == file.Id);

    private static double Share(ValueFile file) => (double)file.GarbageBytes / file.Entry.RecordBytes;
}
