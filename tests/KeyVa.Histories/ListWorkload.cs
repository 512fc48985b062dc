namespace KeyVa.Histories;

/// <summary>What random transactions on lists look like.</summary>
public sealed record ListWorkloadOptions
{
    /// <summary>Lists in use at a time. Few: contention.</summary>
    public int Keys { get; init; } = 5;

    public int MinLength { get; init; } = 1;

    public int MaxLength { get; init; } = 5;

    /// <summary>Of all operations, the rest being appends.</summary>
    public double ReadShare { get; init; } = 0.5;

    /// <summary>Of all transactions, those that are given up at their end.</summary>
    public double AbortShare { get; init; } = 0.03;

    /// <summary>After so many appends to a list (about), a new one takes its place, so that lists stay short.</summary>
    public int AppendsPerKey { get; init; } = 64;
}

/// <summary>One transaction to do: its operations in order (reads without their lists), and whether to give up at its end.</summary>
public sealed record ListRequest(IReadOnlyList<ListOperation> Operations, bool GivesUp);

/// <summary>
/// One worker's transactions, all from the seed: they depend on nothing that the store or another worker does. Every
/// value is appended once in the whole history. Not thread-safe.
/// </summary>
public sealed class ListWorkload
{
    private readonly ListWorkloadOptions _options;
    private readonly Random _random;
    private readonly int _worker;
    private readonly int _workers;
    private readonly int[] _appends;
    private int _values;

    public ListWorkload(int seed, int worker, int workers, ListWorkloadOptions? options = null)
    {
        _options = options ?? new ListWorkloadOptions();
        _random = new Random(RegisterWorkload.HashCode(seed, worker));
        _worker = worker;
        _workers = workers;
        _appends = new int[_options.Keys];
    }

    /// <summary>The workloads of all workers.</summary>
    public static ListWorkload[] ForAll(int seed, int workers, ListWorkloadOptions? options = null) =>
        [.. Enumerable.Range(0, workers).Select(worker => new ListWorkload(seed, worker, workers, options))];

    /// <summary>The next transaction.</summary>
    public ListRequest Next()
    {
        ListOperation[] operations = new ListOperation[_random.Next(_options.MinLength, _options.MaxLength + 1)];
        for (int i = 0; i < operations.Length; i++)
        {
            int slot = _random.Next(_options.Keys);
            int key = KeyAt(slot);
            if (_random.NextDouble() < _options.ReadShare)
            {
                operations[i] = ListOperation.Read(key, null);
            }
            else
            {
                _appends[slot]++;
                operations[i] = ListOperation.Append(key, (_values++ * _workers) + _worker + 1);
            }
        }

        return new ListRequest(operations, _random.NextDouble() < _options.AbortShare);
    }

    /// <summary>Transactions that read every list that any of these workloads has used, one each: to be done at the end.</summary>
    public static IEnumerable<ListRequest> FinalReads(IEnumerable<ListWorkload> workloads) => workloads
        .SelectMany(static one => Enumerable.Range(0, one._options.Keys).SelectMany(slot =>
            Enumerable.Range(0, (one.KeyAt(slot) / one._options.Keys) + 1).Select(generation => (generation * one._options.Keys) + slot)))
        .Distinct()
        .Order()
        .Select(static key => new ListRequest([ListOperation.Read(key, null)], GivesUp: false));

    // Each worker counts its own appends alone, so that the seed decides; workers of like speed change keys at about the same time.
    private int KeyAt(int slot) => (_appends[slot] * _workers / _options.AppendsPerKey * _options.Keys) + slot;
}
