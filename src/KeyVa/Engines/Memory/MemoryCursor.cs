using KeyVa.Io;
using KeyVa.Partitions;

namespace KeyVa.Engines.Memory;

/// <summary>
/// Walks over the keys that exist at a version in the order (hash, key), a bucket at a time.
/// </summary>
/// <remarks>
/// <para>The epoch is not held between calls: a bucket's keys are copied and sorted, and each is looked up again when its turn
/// comes. So a cursor that stands still for an hour holds no memory but its own, and the place where it stands is a hash
/// and a key, which no growth of the table moves.</para>
/// <para>A key that is there for the whole walk is returned exactly once: buckets are ranges of hashes, whatever the
/// depth at the moment, and the walk goes on behind the last range it has read.</para>
/// </remarks>
internal sealed unsafe class MemoryCursor : EngineCursor
{
    /// <summary>Memory kept from one entry to the next; a larger value's is given back.</summary>
    private const int KeptBytes = 1 << 20;

    private readonly HashIndex _index;
    private readonly long _at;
    private readonly NativeBuffer _keys = new();
    private readonly NativeBuffer _current = new();
    private readonly Order _order;
    private Entry[] _entries = new Entry[16];
    private int _count;
    private int _next;

    // Where the next bucket begins; keys below (_nextHash, _seekKey) are passed over.
    private ulong _nextHash;
    private bool _atEnd;
    private byte[]? _seekKey;
    private ulong _seekHash;

    private int _keyLength;
    private long _version;
    private long _stamp;
    private long _expiresAt;

    public MemoryCursor(HashIndex index, long at)
    {
        _index = index;
        _at = at;
        _order = new Order(_keys);
    }

    public override ReadOnlySpan<byte> Key => _current.Written[.._keyLength];

    public override ReadOnlySpan<byte> Value => _current.Written[_keyLength..];

    public override long Version => _version;

    public override long Stamp => _stamp;

    public override long ExpiresAt => _expiresAt;

    public override bool MoveNext()
    {
        while (true)
        {
            while (_next < _count)
            {
                if (TryRead(_entries[_next++]))
                {
                    return true;
                }
            }

            if (_atEnd)
            {
                return false;
            }

            CollectBucket();
        }
    }

    public override void Seek(ReadOnlySpan<byte> key)
    {
        _seekKey = key.ToArray();
        _seekHash = XxHash64.Compute(key);
        _nextHash = _seekHash;
        _atEnd = false;
        _count = 0;
        _next = 0;
    }

    public override void Dispose()
    {
        _keys.Dispose();
        _current.Dispose();
    }

    private bool TryRead(Entry entry)
    {
        ReadOnlySpan<byte> key = _keys.Written.Slice(entry.Offset, entry.Length);
        Epochs.Enter();
        try
        {
            Node* node = Node.VisibleAt(_index.Find(entry.Hash, key), _at);
            if (node is null || node->IsTombstone)
            {
                return false;
            }

            _current.Clear(KeptBytes);
            _current.Append(key);
            _current.Append(Node.ValueOf(node));
            _keyLength = key.Length;
            _version = node->Version;
            _stamp = node->Stamp;
            _expiresAt = node->ExpiresAt;
            return true;
        }
        finally
        {
            Epochs.Exit();
        }
    }

    private void CollectBucket()
    {
        _count = 0;
        _next = 0;
        _keys.Clear();
        Epochs.Enter();
        try
        {
            Segment* segment = _index.SegmentOf(_nextHash);
            int bucket = Segment.BucketOf(segment, _nextHash);
            ulong width = 1UL << (64 - segment->Depth - Segment.BucketBits);
            ulong end = segment->Prefix + (width * (ulong)bucket) + width;
            for (ulong* line = Segment.Line(segment, bucket); line is not null; line = Segment.NextLine(line))
            {
                for (int i = 0; i < Segment.SlotsPerLine; i++)
                {
                    Node* node = Segment.NodeAt(line + i);
                    if (node is not null && !IsPassed(node->Hash, Node.KeyOf(node)))
                    {
                        Add(node);
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

        _seekKey = null;
        Array.Sort(_entries, 0, _count, _order);
    }

    private bool IsPassed(ulong hash, ReadOnlySpan<byte> key) =>
        _seekKey is not null && (hash < _seekHash || (hash == _seekHash && key.SequenceCompareTo(_seekKey) < 0));

    private void Add(Node* node)
    {
        if (_count == _entries.Length)
        {
            Array.Resize(ref _entries, _count * 2);
        }

        _entries[_count++] = new Entry(node->Hash, _keys.Length, node->KeyLength);
        _keys.Append(Node.KeyOf(node));
    }

    private readonly record struct Entry(ulong Hash, int Offset, int Length);

    private sealed class Order(NativeBuffer keys) : IComparer<Entry>
    {
        public int Compare(Entry x, Entry y) => x.Hash != y.Hash
            ? x.Hash.CompareTo(y.Hash)
            : keys.Written.Slice(x.Offset, x.Length).SequenceCompareTo(keys.Written.Slice(y.Offset, y.Length));
    }
}
