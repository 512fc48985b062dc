using KeyVa.Io;
using KeyVa.Partitions;

namespace KeyVa.Engines.Memory;

/// <summary>Goes through the versions of one key.</summary>
/// <remarks>
/// Nodes above the pinned version are not freed while it is pinned, nor is the newest one at or below it, but for one that
/// has expired: so the place is kept as a pointer as long as it is above, and found anew from the head otherwise. Where
/// versions are retained by count, no more than so many nodes are looked at below (see <see cref="Reclaimer"/>), within one epoch.
/// </remarks>
internal sealed unsafe class ChainWalk : VersionWalk
{
    /// <summary>Events copied within one epoch.</summary>
    private const int Batch = 64;
    private const int BatchBytes = 256 << 10;

    private readonly HashIndex _index;
    private readonly long _at;
    private readonly long _pinned;
    private readonly int _retained;
    private readonly NativeBuffer _key = new(64);
    private readonly NativeBuffer _values = new(256);
    private readonly List<Event> _events = [];
    private ulong _hash;
    private int _next;
    private int _passed;
    private long _below;
    private Node* _place;
    private bool _atEnd;

    /// <param name="index">Where the key is.</param>
    /// <param name="at">Newer versions are passed over.</param>
    /// <param name="pinned">The version that a snapshot pins.</param>
    /// <param name="retained">So many versions of each key are retained by count; 0: none.</param>
    public ChainWalk(HashIndex index, long at, long pinned, int retained)
    {
        _index = index;
        _at = at;
        _pinned = pinned;
        _retained = retained;
    }

    public override int Passed => _passed;

    public override ReadOnlySpan<byte> Value => _values.Written.Slice(_events[_next - 1].Offset, _events[_next - 1].Length);

    /// <summary>Begins with a key.</summary>
    public void Begin(ReadOnlySpan<byte> key)
    {
        _key.Clear();
        _key.Append(key);
        _hash = XxHash64.Compute(key);
        _events.Clear();
        _next = 0;
        _passed = 0;
        _below = long.MaxValue;
        _place = null;
        _atEnd = false;
    }

    public override bool MoveNext()
    {
        if (_next == _events.Count && !Fill())
        {
            return false;
        }

        Event found = _events[_next++];
        (Version, Stamp, ExpiresAt, IsRemoval, Newer) = (found.Version, found.Stamp, found.ExpiresAt, found.IsRemoval, found.Newer);
        return true;
    }

    public override void Dispose()
    {
        _key.Dispose();
        _values.Dispose();
    }

    private bool Fill()
    {
        _events.Clear();
        _next = 0;
        _values.Clear(BatchBytes);
        Epochs.Enter();
        try
        {
            if (_atEnd)
            {
                return false;
            }

            Node* node = _place;
            if (node is null)
            {
                node = _index.Find(_hash, _key.Written);
                _passed = 0;
            }

            while (node is not null && _events.Count < Batch && _values.Length < BatchBytes)
            {
                node = Take(node);
            }

            _place = node is not null && node->Version > _pinned ? node : null;
            _atEnd |= node is null;
        }
        finally
        {
            Epochs.Exit();
        }

        return _events.Count > 0;
    }

    /// <summary>Takes a node, if it is not passed over, and returns the next; null: none may be looked at.</summary>
    private Node* Take(Node* node)
    {
        if (node->Version < _below)
        {
            _below = node->Version;
            if (node->Version <= _at)
            {
                bool isRemoval = node->IsTombstone;
                int offset = _values.Length;
                int length = isRemoval ? 0 : node->ValueLength;
                _values.Append(new ReadOnlySpan<byte>((byte*)node + Node.HeaderBytes + node->KeyLength, length));
                _events.Add(new Event(node->Version, node->Stamp, node->ExpiresAt, isRemoval, _passed, offset, length));
            }
        }

        _passed++;
        return node->Version <= _pinned && _passed >= _retained ? null : (Node*)Volatile.Read(ref node->Older);
    }

    private readonly record struct Event(long Version, long Stamp, long ExpiresAt, bool IsRemoval, int Newer, int Offset, int Length);
}
