using System.Runtime.CompilerServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Merges sources: a binary heap with the source of the first (or, backward, last) entry on top. Moving the top costs two
/// comparisons while it stays the first, which in sorted data it mostly does. One thread.
/// </summary>
internal sealed unsafe class MergeHeap : IDisposable
{
    // The first _total of _sources; the arrays may be longer when the heap is used again.
    private MergeSource[] _sources;
    private MergeSource[] _heap;
    private int _total;
    private int _count;
    private bool _reverse;

    public MergeHeap(MergeSource[] sources)
    {
        _sources = sources;
        _heap = new MergeSource[sources.Length];
        _total = sources.Length;
    }

    /// <summary>The sources; none is placed.</summary>
    public ReadOnlySpan<MergeSource> Sources => _sources.AsSpan(0, _total);

    /// <summary>The source of the present entry; null at the end.</summary>
    public MergeSource? Top => _count > 0 ? _heap[0] : null;

    public void SeekFirst()
    {
        foreach (MergeSource source in Sources)
        {
            source.SeekFirst();
        }

        Build(reverse: false);
    }

    public void SeekLast()
    {
        foreach (MergeSource source in Sources)
        {
            source.SeekLast();
        }

        Build(reverse: true);
    }

    public void SeekAtOrBehind(byte* key, int keyLength, long version)
    {
        foreach (MergeSource source in Sources)
        {
            source.SeekAtOrBehind(key, keyLength, version);
        }

        Build(reverse: false);
    }

    public void SeekBefore(byte* key, int keyLength, long version)
    {
        foreach (MergeSource source in Sources)
        {
            source.SeekBefore(key, keyLength, version);
        }

        Build(reverse: true);
    }

    /// <summary>Adds a source; a seek has to follow.</summary>
    public void Add(MergeSource source)
    {
        if (_total == _heap.Length)
        {
            Array.Resize(ref _sources, Math.Max(8, 2 * _total));
            Array.Resize(ref _heap, _sources.Length);
        }

        _sources[_total++] = source;
        _count = 0;
    }

    /// <summary>Forgets all sources, which its user closes.</summary>
    public void Clear()
    {
        _sources.AsSpan(0, _total).Clear();
        _heap.AsSpan(0, _total).Clear();
        _total = 0;
        _count = 0;
    }

    /// <summary>Moves the top on, forward.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Next()
    {
        MergeSource top = _heap[0];
        top.Next();
        Settle(top);
    }

    /// <summary>Moves the top on, backward.</summary>
    public void Previous()
    {
        MergeSource top = _heap[0];
        top.Previous();
        Settle(top);
    }

    /// <summary>Forward: moves the sources behind <paramref name="ordinal"/> that stand before the key to it.</summary>
    public void SkipForward(int ordinal, ReadOnlySpan<byte> key)
    {
        fixed (byte* p = key)
        {
            foreach (MergeSource source in Sources)
            {
                if (source.Ordinal > ordinal && source.Valid && KeyOrder.Compare(source.KeySpan, key) < 0)
                {
                    source.SeekAtOrBehind(p, key.Length, KeyOrder.BeforeAll);
                }
            }
        }

        Build(reverse: false);
    }

    /// <summary>Backward: moves the sources behind <paramref name="ordinal"/> that stand at the key or behind it before it.</summary>
    public void SkipBackward(int ordinal, ReadOnlySpan<byte> key)
    {
        fixed (byte* p = key)
        {
            foreach (MergeSource source in Sources)
            {
                if (source.Ordinal > ordinal && source.Valid && KeyOrder.Compare(source.KeySpan, key) >= 0)
                {
                    source.SeekBefore(p, key.Length, KeyOrder.BeforeAll);
                }
            }
        }

        Build(reverse: true);
    }

    public void Dispose()
    {
        foreach (MergeSource source in Sources)
        {
            source.Dispose();
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Settle(MergeSource top)
    {
        if (!top.Valid)
        {
            RemoveTop();
        }
        else if (_count > 1)
        {
            SiftDown(0);
        }
    }

    private void RemoveTop()
    {
        _heap[0] = _heap[--_count];
        if (_count > 1)
        {
            SiftDown(0);
        }
    }

    private void Build(bool reverse)
    {
        _reverse = reverse;
        _count = 0;
        foreach (MergeSource source in Sources)
        {
            if (source.Valid)
            {
                _heap[_count++] = source;
            }
        }

        for (int i = (_count / 2) - 1; i >= 0; i--)
        {
            SiftDown(i);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void SiftDown(int from)
    {
        int hole = from;
        MergeSource moving = _heap[hole];
        while (true)
        {
            int child = (2 * hole) + 1;
            if (child >= _count)
            {
                break;
            }

            if (child + 1 < _count && IsFirst(_heap[child + 1], _heap[child]))
            {
                child++;
            }

            if (!IsFirst(_heap[child], moving))
            {
                break;
            }

            _heap[hole] = _heap[child];
            hole = child;
        }

        // Mostly the top stays where it is; a store into an array of references is a call.
        if (hole != from)
        {
            _heap[hole] = moving;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool IsFirst(MergeSource a, MergeSource b) =>
        a.Head != b.Head ? (a.Head < b.Head) != _reverse : TailIsFirst(a, b);

    private bool TailIsFirst(MergeSource a, MergeSource b)
    {
        int order = KeyOrder.CompareTails(a.Key, a.KeyLength, b.Key, b.KeyLength);
        bool before = order != 0 ? order < 0 : a.Version > b.Version;
        return before != _reverse;
    }
}
