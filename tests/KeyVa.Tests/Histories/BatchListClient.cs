using System.Globalization;
using System.Text;
using KeyVa.Histories;

namespace KeyVa.Tests.Histories;

/// <summary>How transactions are made of snapshots and conditional batches; each step down gives up a level.</summary>
public enum BatchIsolation
{
    /// <summary>One snapshot; what was read and what is written must not have changed: serializable.</summary>
    ConditionsOnAll,

    /// <summary>One snapshot; what is written must not have changed: snapshot isolation.</summary>
    ConditionsOnWrites,

    /// <summary>Each list read when it is asked for; what is written must not have changed since: read skew.</summary>
    NoSnapshot,

    /// <summary>One snapshot and no conditions: lost updates.</summary>
    NoConditions,
}

/// <summary>
/// Optimistic transactions on lists, made by the client of what every store offers: a read of all lists at one snapshot, and one
/// batch of conditional writes, which an all-or-nothing store applies at one version. A read that is to be validated is
/// written back as it was.
/// </summary>
internal sealed class BatchListClient(IStore store, int keys, BatchIsolation isolation) : ITransactionalClient
{
    private readonly Dictionary<int, (int[] List, long Version)> _snapshot = [];
    private readonly Dictionary<int, int[]> _written = [];
    private readonly HashSet<int> _read = [];

    public async ValueTask<Outcome> BeginAsync()
    {
        _snapshot.Clear();
        _written.Clear();
        _read.Clear();
        return isolation == BatchIsolation.NoSnapshot || await LoadAsync(Enumerable.Range(0, keys)) ? Outcome.Ok : Outcome.Fail;
    }

    public async ValueTask<ListReply> ReadAsync(int key)
    {
        if (!_snapshot.ContainsKey(key) && !await LoadAsync([key]))
        {
            return new ListReply(Outcome.Fail);
        }

        _read.Add(key);
        return _written.GetValueOrDefault(key) ?? _snapshot[key].List;
    }

    public async ValueTask<Outcome> AppendAsync(int key, int value)
    {
        ListReply read = await ReadAsync(key);
        if (read.Outcome == Outcome.Ok)
        {
            _written[key] = [.. read.List!, value];
        }

        return read.Outcome;
    }

    public async ValueTask<Outcome> CommitAsync()
    {
        if (_written.Count == 0)
        {
            return Outcome.Ok;
        }

        using WriteBatch batch = new();
        foreach (int key in isolation == BatchIsolation.ConditionsOnAll ? _read : [.. _written.Keys])
        {
            (int[] list, long version) = _snapshot[key];
            Condition condition = isolation == BatchIsolation.NoConditions ? default : version == 0 ? Condition.IfAbsent : Condition.IfVersion(version);
            if (_written.TryGetValue(key, out int[]? written) || version != 0)
            {
                batch.Put(Key(key), Encoding.ASCII.GetBytes(string.Join(',', written ?? list)), new WriteOptions { Condition = condition });
            }
            else
            {
                batch.Remove(Key(key), condition);
            }
        }

        try
        {
            WriteResult result = await store.WriteAsync(batch);
            return result.Status switch
            {
                Status.Ok => Outcome.Ok,
                Status.Failed => Outcome.Unknown,
                _ => Outcome.Fail,
            };
        }
        catch (StoreException)
        {
            return Outcome.Unknown;
        }
    }

    public ValueTask<Outcome> AbortAsync() => ValueTask.FromResult(Outcome.Ok);

    private static byte[] Key(int key) => Encoding.ASCII.GetBytes($"list{key}");

    // A transaction whose reads fail has sent nothing, so it is certainly aborted.
    private async ValueTask<bool> LoadAsync(IEnumerable<int> wanted)
    {
        int[] numbers = [.. wanted];
        ReadOnlyMemory<byte>[] names = [.. numbers.Select(static key => (ReadOnlyMemory<byte>)Key(key))];
        try
        {
            MultiReadResult read = await store.GetAsync(names);
            for (int i = 0; i < numbers.Length && read.Status == Status.Ok; i++)
            {
                _snapshot[numbers[i]] = read.Records[i] is { } record
                    ? ([.. Encoding.ASCII.GetString(record.Value.Span).Split(',').Select(static one => int.Parse(one, CultureInfo.InvariantCulture))], record.Version)
                    : ([], 0);
            }

            return read.Status == Status.Ok;
        }
        catch (StoreException)
        {
            return false;
        }
    }
}
