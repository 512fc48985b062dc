namespace KeyVa.Indexes;

/// <summary>
/// Why the newest indexes that were given up never answered, by name: whoever created one may ask only when it is gone. Bounded; the
/// oldest reason leaves first. Not thread-safe.
/// </summary>
internal sealed class GivenUpIndexes
{
    /// <summary>Reasons that are kept.</summary>
    public const int Most = 64;

    private readonly Dictionary<string, IndexResult> _reasons = new(StringComparer.Ordinal);
    private readonly Queue<string> _order = new();

    public IndexResult? Find(string name) => _reasons.GetValueOrDefault(name);

    public void Note(string name, IndexResult reason)
    {
        Forget(name);
        if (_reasons.Count == Most)
        {
            _reasons.Remove(_order.Dequeue());
        }

        _reasons.Add(name, reason);
        _order.Enqueue(name);
    }

    /// <summary>There is an index of this name again.</summary>
    public void Forget(string name)
    {
        if (!_reasons.Remove(name))
        {
            return;
        }

        for (int left = _order.Count; left > 0; left--)
        {
            if (_order.Dequeue() is var other && other != name)
            {
                _order.Enqueue(other);
            }
        }
    }
}
