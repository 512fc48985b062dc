namespace KeyVa.Bench;

/// <summary>All samples of one workload, thread count and target.</summary>
internal sealed class Cell(string workload, int threads, string target)
{
    public string Workload => workload;

    public int Threads => threads;

    public string Target => target;

    public List<Sample> Samples { get; } = [];

    /// <summary>The sample whose rate is the median; of two in the middle, the slower.</summary>
    public Sample Median => Samples.OrderBy(sample => sample.PerSecond).ElementAt((Samples.Count - 1) / 2);
}

/// <summary>A table of words (string), counts (long) and measures (double); null where nothing was measured.</summary>
internal sealed record Table(string Title, IReadOnlyList<string> Header)
{
    public List<object?[]> Rows { get; } = [];

    public void Add(params object?[] row)
    {
        if (row.Length != Header.Count)
        {
            throw new ArgumentException($"{row.Length} items for {Header.Count} columns", nameof(row));
        }

        Rows.Add(row);
    }
}

/// <summary>What one subcommand measured, in the order in which it did. Not thread-safe.</summary>
internal sealed class Section(string title, double askedRatio)
{
    /// <summary>Each target and whom it is compared with: of several, the one that was faster.</summary>
    private static readonly Dictionary<string, string[]> Peers = new()
    {
        ["keyva-lsm"] = ["rocksdb", "db_bench"],
        ["keyva-memory"] = ["dictionary"],
        ["rest"] = ["bare-kestrel"],
        ["grpc"] = ["bare-http2"],
        ["keyva-resp"] = ["redis"],
        ["keyva-resp-interval"] = ["redis-everysec"],
        ["keyva-cluster"] = ["etcd"],
        ["plain"] = ["tcp-copy"],
        ["curve"] = ["tcp-copy"],
    };

    private readonly List<Cell> _cells = [];

    public string Title => title;

    /// <summary>The ratio the product asks of itself; 0: none.</summary>
    public double AskedRatio => askedRatio;

    /// <summary>Whether samples are not told on the error output as they come.</summary>
    public bool Silent { get; set; }

    public IReadOnlyList<Cell> Cells => _cells;

    /// <summary>Name and settings of each target.</summary>
    public List<(string Name, string Settings)> Targets { get; } = [];

    /// <summary>Name and equal conditions of each workload.</summary>
    public List<(string Name, string Conditions)> Conditions { get; } = [];

    /// <summary>What is not a rate, and summaries of what is.</summary>
    public List<Table> Tables { get; } = [];

    /// <summary>What else the reader must know: what was left out and why.</summary>
    public List<string> Notes { get; } = [];

    public void Add(string workload, int threads, string target, Sample sample)
    {
        Cell? cell = Find(workload, threads, target);
        if (cell is null)
        {
            _cells.Add(cell = new Cell(workload, threads, target));
        }

        cell.Samples.Add(sample);
        if (Silent)
        {
            return;
        }

        Console.Error.WriteLine(
            $"{DateTime.Now:HH:mm:ss}  {workload,-16} {threads} thread(s)  {target,-13} {sample.PerSecond,12:N0} ops/s");
    }

    public void Note(string note)
    {
        if (!Notes.Contains(note))
        {
            Notes.Add(note);
        }
    }

    /// <summary>This cell's median rate divided by its better peer's; null if none was measured.</summary>
    public double? Ratio(Cell cell) => BetterPeer(cell) is { } other ? cell.Median.PerSecond / other.Median.PerSecond : null;

    public string? PeerOf(Cell cell) => BetterPeer(cell)?.Target;

    public Cell? Find(string workload, int threads, string target) =>
        _cells.Find(cell => cell.Workload == workload && cell.Threads == threads && cell.Target == target);

    private Cell? BetterPeer(Cell cell) => Peers.GetValueOrDefault(cell.Target, [])
        .Select(peer => Find(cell.Workload, cell.Threads, peer))
        .OfType<Cell>()
        .MaxBy(peer => peer.Median.PerSecond);
}
