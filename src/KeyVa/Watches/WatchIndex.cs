using KeyVa.Engines.Lsm;

namespace KeyVa.Watches;

/// <summary>
/// Who watches what: single keys by their hash, ranges by an interval tree; single keys stand in a second tree as well, for
/// removals of ranges. What it finds does not depend on how many others watch. One thread at a time.
/// </summary>
internal sealed unsafe class WatchIndex
{
    private readonly Dictionary<ulong, Watcher> _byHash = [];
    private readonly IntervalTree _keys = new();
    private readonly IntervalTree _ranges = new();
    private readonly Random _priorities = new(1);

    public void Add(Watcher watcher)
    {
        var node = new IntervalNode(watcher, watcher.Target.Range, (uint)_priorities.NextInt64(1L << 32));
        watcher.Node = node;
        if (!watcher.Target.IsKey)
        {
            _ranges.Add(node);
            return;
        }

        _keys.Add(node);
        ulong hash = Hash(watcher.Target.Range.From.Span);
        watcher.NextOfHash = _byHash.GetValueOrDefault(hash);
        _byHash[hash] = watcher;
    }

    public void Remove(Watcher watcher)
    {
        if (!watcher.Target.IsKey)
        {
            _ranges.Remove(watcher.Node!);
            return;
        }

        _keys.Remove(watcher.Node!);
        ulong hash = Hash(watcher.Target.Range.From.Span);
        Watcher first = _byHash[hash];
        if (first != watcher)
        {
            while (first.NextOfHash != watcher)
            {
                first = first.NextOfHash!;
            }

            first.NextOfHash = watcher.NextOfHash;
        }
        else if (watcher.NextOfHash is { } next)
        {
            _byHash[hash] = next;
        }
        else
        {
            _byHash.Remove(hash);
        }
    }

    /// <summary>Adds those whom a change may concern.</summary>
    public void Find(in ChangeRecord change, List<Watcher> found)
    {
        if (change.Kind == ChangeKind.RemoveRange)
        {
            Find(change.Key, change.Value, found);
            return;
        }

        for (Watcher? watcher = _byHash.GetValueOrDefault(KeyHash.Compute(change.KeyAddress, change.KeyLength)); watcher is not null; watcher = watcher.NextOfHash)
        {
            if (watcher.Target.Range.From.Span.SequenceEqual(change.Key))
            {
                found.Add(watcher);
            }
        }

        if (!_ranges.IsEmpty)
        {
            _ranges.Containing(change.Key, found);
        }
    }

    /// <summary>Adds those who watch a key of a range; empty bounds are open.</summary>
    public void Find(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, List<Watcher> found)
    {
        _keys.Overlapping(from, to, found);
        _ranges.Overlapping(from, to, found);
    }

    private static ulong Hash(ReadOnlySpan<byte> key)
    {
        fixed (byte* at = key)
        {
            return KeyHash.Compute(at, key.Length);
        }
    }
}
