namespace KeyVa.Raft;

/// <summary>
/// Append messages on their way to one follower, oldest first: where each ends and how many bytes it has. A ring that grows
/// to its bound. Owned by a follower's progress.
/// </summary>
internal sealed class InflightWindow(int maxMessages, long maxBytes)
{
    private const int FewestSlots = 4;

    private (long Last, int Bytes)[] _ring = [];
    private int _start;
    private long _bytes;

    public int Count { get; private set; }

    public bool IsFull => Count >= maxMessages || _bytes >= maxBytes;

    public void Add(long last, int bytes)
    {
        if (Count == _ring.Length)
        {
            var ring = new (long, int)[Math.Min(Math.Max(FewestSlots, Count * 2), maxMessages)];
            for (int i = 0; i < Count; i++)
            {
                ring[i] = _ring[(_start + i) % _ring.Length];
            }

            _ring = ring;
            _start = 0;
        }

        _ring[(_start + Count++) % _ring.Length] = (last, bytes);
        _bytes += bytes;
    }

    /// <summary>Everything up to an index has arrived.</summary>
    public void FreeThrough(long index)
    {
        while (Count > 0 && _ring[_start].Last <= index)
        {
            FreeOldest();
        }
    }

    public void FreeOldest()
    {
        _bytes -= _ring[_start].Bytes;
        _start = (_start + 1) % _ring.Length;
        Count--;
    }

    public void Clear()
    {
        Count = 0;
        _start = 0;
        _bytes = 0;
    }
}
