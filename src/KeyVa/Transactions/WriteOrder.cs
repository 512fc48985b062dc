using KeyVa.Partitions;

namespace KeyVa.Transactions;

/// <summary>
/// The keys of a write set in the order of an engine: by key, or by hash and key. Made when a scan needs it, and mended when
/// keys have come. One thread at a time.
/// </summary>
internal sealed class WriteOrder(WriteSet writes, bool byHash) : IComparer<int>
{
    /// <summary>So many new keys are put into their places one by one; more are sorted.</summary>
    private const int MostInserted = 8;

    private int[] _keys = [];
    private ulong[] _hashes = [];
    private int _count;
    private int _seen = -1;
    private int _rollbacks;

    /// <summary>Rises when what was found by <see cref="FirstAtOrBehind"/> may have moved.</summary>
    public int Generation { get; private set; }

    public int Count => _count;

    /// <summary>Brings it up to the write set; true if positions have moved.</summary>
    public bool Refresh()
    {
        if (_seen == writes.KeyChanges)
        {
            return false;
        }

        _seen = writes.KeyChanges;
        Generation++;
        KeyTable keys = writes.Keys;
        if (_rollbacks != writes.KeyRollbacks)
        {
            // Numbers that were taken back may stand for other keys now.
            _rollbacks = writes.KeyRollbacks;
            _count = 0;
        }

        int added = keys.Count - _count;
        if (_keys.Length < keys.Count)
        {
            Array.Resize(ref _keys, Math.Max(16, keys.Count * 2));
            Array.Resize(ref _hashes, byHash ? _keys.Length : 0);
        }

        if (added > MostInserted)
        {
            Sort();
        }
        else
        {
            while (_count < keys.Count)
            {
                Insert(_count);
            }
        }

        return true;
    }

    /// <summary>The key's number at a place of the order.</summary>
    public int this[int place] => _keys[place];

    /// <summary>The first place whose key is at or behind <paramref name="key"/> (behind it, if not <paramref name="inclusive"/>).</summary>
    public int FirstAtOrBehind(ReadOnlySpan<byte> key, bool inclusive)
    {
        int low = 0;
        int high = _count;
        ulong hash = byHash ? XxHash64.Compute(key) : 0;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            int order = Compare(_keys[middle], hash, key);
            if (order < 0 || (order == 0 && !inclusive))
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    /// <summary>How a key of the write set stands to another one.</summary>
    public int Compare(int key, ulong otherHash, ReadOnlySpan<byte> other) => byHash
        ? HashOrder.Compare(_hashes[key], writes.Keys[key], otherHash, other)
        : writes.Keys[key].SequenceCompareTo(other);

    int IComparer<int>.Compare(int x, int y) => Compare(x, byHash ? _hashes[y] : 0, writes.Keys[y]);

    public void Clear()
    {
        _count = 0;
        _seen = -1;
    }

    private void Sort()
    {
        KeyTable keys = writes.Keys;
        for (int i = _count; i < keys.Count; i++)
        {
            _keys[i] = i;
            NoteHash(i);
        }

        _count = keys.Count;
        Array.Sort(_keys, 0, _count, this);
    }

    private void Insert(int number)
    {
        NoteHash(number);
        int place = FirstAtOrBehind(writes.Keys[number], inclusive: true);
        Array.Copy(_keys, place, _keys, place + 1, _count - place);
        _keys[place] = number;
        _count++;
    }

    private void NoteHash(int number)
    {
        if (byHash)
        {
            _hashes[number] = XxHash64.Compute(writes.Keys[number]);
        }
    }
}
