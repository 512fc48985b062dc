using KeyVa.Io;

namespace KeyVa.Engines.Memory;

/// <summary>
/// Goes through all versions of all keys up to a version, key by key in the order (hash, key), each key's newest version
/// first: what a checkpoint with history holds. As <see cref="MemoryCursor"/>, it keeps no epoch between two calls. One thread.
/// </summary>
internal sealed unsafe class HistoryCursor(HashIndex index, long at, long pinned, int retained) : IDisposable
{
    private readonly NativeBuffer _keys = new();
    private readonly List<(ulong Hash, int Offset, int Length)> _entries = [];
    private readonly ChainWalk _chain = new(index, at, pinned, retained);
    private int _next;
    private ulong _nextHash;
    private bool _atEnd;
    private bool _isInKey;

    public ReadOnlySpan<byte> Key => _keys.Written.Slice(_entries[_next - 1].Offset, _entries[_next - 1].Length);

    public VersionWalk Entry => _chain;

    public bool MoveNext()
    {
        while (true)
        {
            if (_isInKey && _chain.MoveNext())
            {
                return true;
            }

            _isInKey = false;
            while (_next == _entries.Count)
            {
                if (_atEnd)
                {
                    return false;
                }

                CollectBucket();
            }

            _next++;
            _chain.Begin(Key);
            _isInKey = true;
        }
    }

    public void Dispose()
    {
        _keys.Dispose();
        _chain.Dispose();
    }

    private void CollectBucket()
    {
        _entries.Clear();
        _next = 0;
        _keys.Clear();
        Epochs.Enter();
        try
        {
            Segment* segment = index.SegmentOf(_nextHash);
            int bucket = Segment.BucketOf(segment, _nextHash);
            ulong width = 1UL << (64 - segment->Depth - Segment.BucketBits);
            ulong end = segment->Prefix + (width * (ulong)bucket) + width;
            for (ulong* line = Segment.Line(segment, bucket); line is not null; line = Segment.NextLine(line))
            {
                for (int i = 0; i < Segment.SlotsPerLine; i++)
                {
                    Node* node = Segment.NodeAt(line + i);
                    if (node is not null)
                    {
                        _entries.Add((node->Hash, _keys.Length, node->KeyLength));
                        _keys.Append(Node.KeyOf(node));
                    }
                }
            }

            _nextHash = end;
            _atEnd = end == 0;
        }
        finally
        {
            Epochs.Exit();
        }
    }
}
