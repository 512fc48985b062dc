namespace KeyVa.Engines.Lsm;

/// <summary>
/// Range tombstones in fragments: the pieces of the key space that removed ranges cut out, in order and without overlap,
/// each with the versions (newest first) of the removals that cover all of it.
/// </summary>
/// <remarks>
/// <para>Immutable, so any thread may read it.</para>
/// <para>Invariants.
/// 1. A fragment [start, end) is not empty, and ends where or before the next one starts.
/// 2. A fragment has one version at least; its versions fall strictly.
/// 3. A removal at version r covers what has a version below r: the writes of its own batch stay.
/// 4. A range that is open at its end reaches to <see cref="OpenEnd"/>, which lies behind every key, so that bounds are
///    plain keys everywhere.
/// </para>
/// Fragments make a look-up one binary search, however many removals overlap (RocksDB's DeleteRange does the same).
/// </remarks>
internal sealed class RangeTombstones
{
    /// <summary>Stands for the end of a range that is open.</summary>
    public static readonly byte[] OpenEnd = MakeOpenEnd();

    /// <summary>About what a fragment takes besides its keys and versions.</summary>
    private const int FragmentBytes = 24;
    private const int VersionBytes = 16;

    private readonly byte[] _keys;
    private readonly Bounds[] _bounds;
    private readonly long[] _versions;
    private readonly long[] _stamps;

    /// <summary>Takes the arrays over; the builder and the decoder have checked the invariants.</summary>
    internal RangeTombstones(byte[] keys, Bounds[] bounds, long[] versions, long[] stamps)
    {
        _keys = keys;
        _bounds = bounds;
        _versions = versions;
        _stamps = stamps;
    }

    /// <summary>How many fragments; never 0.</summary>
    public int Count => _bounds.Length;

    /// <summary>Versions of all fragments.</summary>
    public int VersionCount => _versions.Length;

    /// <summary>Bytes in memory, about.</summary>
    public long MemoryBytes => _keys.Length + ((long)_bounds.Length * FragmentBytes) + ((long)_versions.Length * VersionBytes);

    public ReadOnlySpan<byte> First => Start(0);

    /// <summary>The end of the last fragment.</summary>
    public ReadOnlySpan<byte> Last => End(Count - 1);

    public ReadOnlySpan<byte> Start(int fragment) => _keys.AsSpan(_bounds[fragment].Start, _bounds[fragment].StartLength);

    public ReadOnlySpan<byte> End(int fragment) => _keys.AsSpan(_bounds[fragment].End, _bounds[fragment].EndLength);

    public ReadOnlySpan<long> Versions(int fragment) => _versions.AsSpan(FirstVersion(fragment)..LastVersion(fragment));

    /// <summary>When the removals were accepted; in step with <see cref="Versions"/>.</summary>
    public ReadOnlySpan<long> Stamps(int fragment) => _stamps.AsSpan(FirstVersion(fragment)..LastVersion(fragment));

    /// <summary>The first fragment that ends behind the key; <see cref="Count"/> if there is none. It may start behind the key too.</summary>
    public int Find(ReadOnlySpan<byte> key)
    {
        int low = 0;
        int high = _bounds.Length;
        while (low < high)
        {
            int middle = (low + high) >> 1;
            if (KeyOrder.Compare(End(middle), key) <= 0)
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

    /// <summary>The newest version at or below <paramref name="at"/> at which a range with the key was removed; 0 if there is none.</summary>
    public long Covering(ReadOnlySpan<byte> key, long at)
    {
        int fragment = Find(key);
        return fragment < Count && KeyOrder.Compare(Start(fragment), key) <= 0 ? NewestAt(fragment, at) : 0;
    }

    /// <summary>The newest version of a fragment at or below <paramref name="at"/>; 0 if there is none.</summary>
    public long NewestAt(int fragment, long at)
    {
        foreach (long version in Versions(fragment))
        {
            if (version <= at)
            {
                return version;
            }
        }

        return 0;
    }

    /// <summary>Whether all keys of [smallest, largest] are covered, at or below <paramref name="at"/>, for entries up to <paramref name="newest"/>.</summary>
    public bool CoversAll(ReadOnlySpan<byte> smallest, ReadOnlySpan<byte> largest, long newest, long at)
    {
        ReadOnlySpan<byte> reached = smallest;
        for (int i = Find(smallest); i < Count && KeyOrder.Compare(Start(i), reached) <= 0 && NewestAt(i, at) > newest; i++)
        {
            reached = End(i);
            if (KeyOrder.Compare(reached, largest) > 0)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>One removed range; an empty <paramref name="to"/> is open.</summary>
    public static RangeTombstones Of(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version, long stamp)
    {
        RangeTombstoneBuilder builder = new();
        builder.Add(from, to.IsEmpty ? OpenEnd : to, [version], [stamp]);
        return builder.Build()!;
    }

    private static byte[] MakeOpenEnd()
    {
        byte[] end = new byte[Limits.MaxKeyBytes + 1];
        end.AsSpan().Fill(0xff);
        return end;
    }

    private int FirstVersion(int fragment) => fragment == 0 ? 0 : _bounds[fragment - 1].VersionsEnd;

    private int LastVersion(int fragment) => _bounds[fragment].VersionsEnd;

    /// <summary>Where a fragment's keys are, and where its versions end.</summary>
    internal readonly record struct Bounds(int Start, int StartLength, int End, int EndLength, int VersionsEnd);
}

/// <summary>
/// Puts fragments together, given in order; neighbours with the same versions become one. One thread.
/// </summary>
internal sealed class RangeTombstoneBuilder
{
    private readonly List<RangeTombstones.Bounds> _bounds = [];
    private readonly List<long> _versions = [];
    private readonly List<long> _stamps = [];
    private byte[] _keys = new byte[64];
    private int _keyBytes;

    /// <summary>Adds a fragment behind those there are.</summary>
    public void Add(ReadOnlySpan<byte> start, ReadOnlySpan<byte> end, ReadOnlySpan<long> versions, ReadOnlySpan<long> stamps)
    {
        System.Diagnostics.Debug.Assert(KeyOrder.Compare(start, end) < 0 && !versions.IsEmpty, "a fragment is not empty");
        if (_bounds.Count > 0 && KeyAt(_bounds[^1].End, _bounds[^1].EndLength).SequenceEqual(start))
        {
            RangeTombstones.Bounds last = _bounds[^1];
            int first = _bounds.Count > 1 ? _bounds[^2].VersionsEnd : 0;
            if (System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_versions)[first..].SequenceEqual(versions))
            {
                _keyBytes = last.End + last.EndLength == _keyBytes ? last.End : _keyBytes;
                _bounds[^1] = last with { End = Append(end), EndLength = end.Length };
                return;
            }

            // The end of the one is the start of the other: one copy serves both.
            Add(last.End, last.EndLength, end, versions, stamps);
            return;
        }

        Add(Append(start), start.Length, end, versions, stamps);
    }

    /// <summary>What was added; null if nothing was.</summary>
    public RangeTombstones? Build() =>
        _bounds.Count == 0 ? null : new RangeTombstones(_keys.AsSpan(0, _keyBytes).ToArray(), [.. _bounds], [.. _versions], [.. _stamps]);

    private void Add(int start, int startLength, ReadOnlySpan<byte> end, ReadOnlySpan<long> versions, ReadOnlySpan<long> stamps)
    {
        _versions.AddRange(versions);
        _stamps.AddRange(stamps);
        _bounds.Add(new RangeTombstones.Bounds(start, startLength, Append(end), end.Length, _versions.Count));
    }

    private ReadOnlySpan<byte> KeyAt(int offset, int length) => _keys.AsSpan(offset, length);

    private int Append(ReadOnlySpan<byte> key)
    {
        int offset = _keyBytes;
        if (_keys.Length - offset < key.Length)
        {
            Array.Resize(ref _keys, Math.Max(offset + key.Length, _keys.Length * 2));
        }

        key.CopyTo(_keys.AsSpan(offset));
        _keyBytes += key.Length;
        return offset;
    }
}
