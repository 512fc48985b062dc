namespace KeyVa.Bench;

/// <summary>The summaries of an engine comparison: ratios, and what the fills cost.</summary>
internal static class EngineTables
{
    private const string KeyVa = "keyva-lsm", CApi = "rocksdb";

    public static IEnumerable<Table> Of(Section section, IReadOnlyList<Phase> phases)
    {
        yield return Ratios(section, phases);
        Table fills = Fills(section);
        if (fills.Rows.Count > 0)
        {
            yield return fills;
        }
    }

    private static Table Ratios(Section section, IReadOnlyList<Phase> phases)
    {
        int[] threads = [.. section.Cells.Select(cell => cell.Threads).Distinct().Order()];
        Table table = new(
            "Operations per second (medians); ratio: KeyVa to the better of the two RocksDB figures",
            ["workload", "asked", .. threads.SelectMany(count => (string[])
                [$"KeyVa, {Threads(count)}", $"RocksDB C API, {count}", $"{DbBench.Name}, {count}", $"ratio, {count}", $"kept, {count}"])]);
        foreach (Workload workload in phases.SelectMany(phase => phase.Workloads))
        {
            List<object?> row = [workload.Name, workload.AskedRatio];
            foreach (int count in threads)
            {
                Cell? own = section.Find(workload.Name, count, KeyVa);
                double? ratio = own is null ? null : section.Ratio(own);
                row.Add(Rate(own));
                row.Add(Rate(section.Find(workload.Name, count, CApi)));
                row.Add(Rate(section.Find(workload.Name, count, DbBench.Name)));
                row.Add(ratio);
                row.Add(ratio is null ? null : ratio >= workload.AskedRatio ? "yes" : "NO");
            }

            if (row.Skip(2).Any(item => item is not null))
            {
                table.Add([.. row]);
            }
        }

        return table;
    }

    private static Table Fills(Section section)
    {
        Table table = new(
            "Amplification and memory of the fills (medians)",
            ["fill", "threads", "target", "write amp.", "space amp. at the end", "space amp. settled", "resident MiB", "peak MiB", "to RocksDB: write", "space", "resident"]);
        foreach (Cell cell in section.Cells.Where(cell => cell.Samples[0].Fill is not null))
        {
            Cell? peer = cell.Target == KeyVa ? section.Find(cell.Workload, cell.Threads, CApi) : null;
            double? write = Median(cell, fill => fill.WriteAmplification);
            double? settled = Median(cell, fill => fill.SpaceSettled);
            double? resident = Mebibytes(cell, fill => fill.ResidentBytes);
            table.Add(
                cell.Workload, (long)cell.Threads, cell.Target, write, Median(cell, fill => fill.SpaceAtEnd), settled, resident,
                Mebibytes(cell, fill => fill.PeakResidentBytes), write / Median(peer, fill => fill.WriteAmplification),
                settled / Median(peer, fill => fill.SpaceSettled), resident / Mebibytes(peer, fill => fill.ResidentBytes));
        }

        return table;
    }

    private static string Threads(int count) => count == 1 ? "1 thread" : $"{count} threads";

    private static long? Rate(Cell? cell) => (long?)cell?.Median.PerSecond;

    private static double? Mebibytes(Cell? cell, Func<FillFigures, long?> figure) => Median(cell, fill => figure(fill)) / (1 << 20);

    private static double? Median(Cell? cell, Func<FillFigures, double?> figure)
    {
        double[] values = [.. (cell?.Samples ?? []).Select(sample => sample.Fill is null ? null : figure(sample.Fill)).OfType<double>().Order()];
        return values.Length == 0 ? null : values[(values.Length - 1) / 2];
    }
}
