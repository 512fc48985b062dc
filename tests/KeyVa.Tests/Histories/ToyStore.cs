using KeyVa.Histories;

namespace KeyVa.Tests.Histories;

/// <summary>What a transaction of the toy reads.</summary>
internal enum ToyReads
{
    /// <summary>The state at its begin.</summary>
    Snapshot,

    /// <summary>What is committed at the moment.</summary>
    Committed,
}

/// <summary>What the toy looks at before it commits.</summary>
internal enum ToyValidation
{
    None,

    /// <summary>Nobody else has written what is to be written, since the begin: snapshot isolation.</summary>
    Writes,

    /// <summary>Nobody else has written what was read or is to be written: serializable.</summary>
    ReadsAndWrites,
}

/// <summary>How a toy store behaves. The default is serializable.</summary>
internal sealed record ToyOptions
{
    public ToyReads Reads { get; init; }

    public ToyValidation Validation { get; init; } = ToyValidation.ReadsAndWrites;

    /// <summary>Appends are an operation, evaluated at commit, instead of a list that is read and written back.</summary>
    public bool Merges { get; init; }

    /// <summary>Of all commits, those whose outcome nobody hears; half of them happen.</summary>
    public double UnknownShare { get; init; }
}

/// <summary>
/// Versioned lists in memory, with the isolation that its options leave, for the checker to be tried on. Thread-safe by
/// one lock; the seed decides what is unknown.
/// </summary>
internal sealed class ToyStore(ToyOptions options, int seed)
{
    private readonly Lock _lock = new();
    private readonly Random _random = new(seed);
    private readonly Dictionary<int, List<(long Version, int[] List)>> _lists = [];
    private long _version;

    public ToyOptions Options => options;

    public static ITransactionalClient[] Clients(ToyStore store, int count) =>
        [.. Enumerable.Range(0, count).Select(_ => new ToyClient(store))];

    public long Version()
    {
        lock (_lock)
        {
            return _version;
        }
    }

    public (long Version, int[] List) Read(int key, long at)
    {
        lock (_lock)
        {
            return _lists.TryGetValue(key, out var versions) ? versions.FindLast(one => one.Version <= at) is { List: not null } one ? one : (0, []) : (0, []);
        }
    }

    public Outcome Commit(long begin, Dictionary<int, int[]> writes, Dictionary<int, List<int>> merges, Dictionary<int, long> reads)
    {
        lock (_lock)
        {
            bool isValid = options.Validation == ToyValidation.None
                || (writes.Keys.Concat(merges.Keys).All(key => Read(key, long.MaxValue).Version <= begin)
                    && (options.Validation == ToyValidation.Writes || reads.All(read => Read(read.Key, long.MaxValue).Version == read.Value)));
            if (!isValid)
            {
                return Outcome.Fail;
            }

            bool isUnknown = _random.NextDouble() < options.UnknownShare;
            if (!isUnknown || _random.Next(2) == 0)
            {
                _version++;
                foreach ((int key, List<int> elements) in merges)
                {
                    Add(key, [.. Read(key, long.MaxValue).List, .. elements]);
                }

                foreach ((int key, int[] list) in writes)
                {
                    Add(key, list);
                }
            }

            return isUnknown ? Outcome.Unknown : Outcome.Ok;
        }
    }

    /// <summary>A crash after which the last commits are gone, acknowledged or not.</summary>
    public void Lose(int commits)
    {
        lock (_lock)
        {
            foreach (var versions in _lists.Values)
            {
                versions.RemoveAll(one => one.Version > _version - commits);
            }
        }
    }

    private void Add(int key, int[] list)
    {
        if (!_lists.TryGetValue(key, out var versions))
        {
            _lists.Add(key, versions = []);
        }

        versions.Add((_version, list));
    }
}

/// <summary>One client of a toy store; an abort is all that a failed commit leaves.</summary>
internal sealed class ToyClient(ToyStore store) : ITransactionalClient
{
    private readonly Dictionary<int, int[]> _writes = [];
    private readonly Dictionary<int, List<int>> _merges = [];
    private readonly Dictionary<int, long> _reads = [];
    private long _begin;

    public ValueTask<Outcome> BeginAsync()
    {
        _begin = store.Version();
        _writes.Clear();
        _merges.Clear();
        _reads.Clear();
        return ValueTask.FromResult(Outcome.Ok);
    }

    public ValueTask<ListReply> ReadAsync(int key) => ValueTask.FromResult<ListReply>(Read(key));

    public ValueTask<Outcome> AppendAsync(int key, int value)
    {
        if (store.Options.Merges)
        {
            _merges[key] = [.. _merges.GetValueOrDefault(key, []), value];
        }
        else
        {
            _writes[key] = [.. Read(key), value];
        }

        return ValueTask.FromResult(Outcome.Ok);
    }

    public ValueTask<Outcome> CommitAsync() => ValueTask.FromResult(store.Commit(_begin, _writes, _merges, _reads));

    public ValueTask<Outcome> AbortAsync() => ValueTask.FromResult(Outcome.Ok);

    private int[] Read(int key)
    {
        if (_writes.TryGetValue(key, out int[]? written))
        {
            return written;
        }

        (long version, int[] list) = store.Read(key, store.Options.Reads == ToyReads.Snapshot ? _begin : long.MaxValue);
        _reads.TryAdd(key, version);
        return _merges.TryGetValue(key, out List<int>? own) ? [.. list, .. own] : list;
    }
}

/// <summary>
/// Lists that are changed in place, seen by everybody at once, and changed back by an abort; who wants to append to a list
/// that another transaction has changed is aborted. Read uncommitted as it should be. For one thread.
/// </summary>
internal sealed class DirtyToyClient(Dictionary<int, List<int>> lists, Dictionary<int, ITransactionalClient> locks) : ITransactionalClient
{
    private readonly List<(int Key, int Value)> _changed = [];

    public ValueTask<Outcome> BeginAsync() => ValueTask.FromResult(Outcome.Ok);

    public ValueTask<ListReply> ReadAsync(int key) => ValueTask.FromResult(new ListReply(Outcome.Ok, lists.TryGetValue(key, out List<int>? list) ? [.. list] : []));

    public ValueTask<Outcome> AppendAsync(int key, int value)
    {
        if (locks.TryGetValue(key, out ITransactionalClient? owner) && owner != this)
        {
            End(undo: true);
            return ValueTask.FromResult(Outcome.Fail);
        }

        locks[key] = this;
        _changed.Add((key, value));
        if (!lists.TryGetValue(key, out List<int>? list))
        {
            lists.Add(key, list = []);
        }

        list.Add(value);
        return ValueTask.FromResult(Outcome.Ok);
    }

    public ValueTask<Outcome> CommitAsync()
    {
        End(undo: false);
        return ValueTask.FromResult(Outcome.Ok);
    }

    public ValueTask<Outcome> AbortAsync()
    {
        End(undo: true);
        return ValueTask.FromResult(Outcome.Ok);
    }

    private void End(bool undo)
    {
        foreach ((int key, int value) in _changed)
        {
            if (undo)
            {
                lists[key].Remove(value);
            }

            locks.Remove(key);
        }

        _changed.Clear();
    }
}
