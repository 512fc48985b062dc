using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// Goes through the versions of one key: one look-up per event, through the memtables and tables of one pinned superversion.
/// </summary>
/// <remarks>
/// Newer structures first: whatever one has of a key, entries and removals of ranges, is newer than what older ones have. So the
/// first structure with something at or below a version has the newest.
/// </remarks>
internal sealed unsafe class StructureWalk : VersionWalk
{
    private readonly VersionSet _versions;
    private readonly Superversion _superversion;
    private readonly byte[] _key;
    private readonly ulong _head;
    private readonly ulong _hash;
    private readonly long _newest;
    private readonly long _pinned;
    private readonly int _retained;
    private readonly NativeBuffer _value = new(256);
    private long _at;
    private int _passed;
    private bool _atEnd;

    /// <param name="versions">The engine's.</param>
    /// <param name="key">The key.</param>
    /// <param name="at">Newer versions are passed over.</param>
    /// <param name="pinned">The version that a snapshot pins.</param>
    /// <param name="retained">So many versions of each key are retained by count; 0: none.</param>
    public StructureWalk(VersionSet versions, ReadOnlySpan<byte> key, long at, long pinned, int retained)
    {
        _versions = versions;
        _superversion = versions.Pin();
        _key = key.ToArray();
        fixed (byte* bytes = _key)
        {
            _head = KeyOrder.Head(bytes, _key.Length);
            _hash = KeyHash.Compute(bytes, _key.Length);
        }

        // Counting needs the newer ones too.
        _at = retained > 0 ? long.MaxValue : at;
        _newest = at;
        _pinned = pinned;
        _retained = retained;
    }

    public override int Passed => _passed;

    public override ReadOnlySpan<byte> Value => _value.Written;

    public override bool MoveNext()
    {
        while (!_atEnd)
        {
            if (!Find())
            {
                _atEnd = true;
                break;
            }

            Newer = _passed++;
            _at = Version - 1;
            _atEnd = _at == 0 || (Version <= _pinned && _passed >= _retained);
            if (Version <= _newest)
            {
                return true;
            }
        }

        return false;
    }

    public override void Dispose()
    {
        _value.Dispose();
        _versions.Unpin(_superversion);
    }

    private bool Find()
    {
        fixed (byte* key = _key)
        {
            foreach (Memtable memtable in _superversion.Memtables)
            {
                SkipNode* node = memtable.Find(key, _key.Length, _head, _at);
                if (Take(node, memtable.Ranges?.Merged))
                {
                    return true;
                }
            }

            foreach (SsTable table in _superversion.Level0)
            {
                if (table.IsAtOrBehindSmallest(key, _key.Length, _head) && table.IsAtOrBeforeLargest(key, _key.Length, _head) && Find(table, key))
                {
                    return true;
                }
            }

            for (int level = _superversion.FirstLevel; level <= _superversion.DeepestLevel; level++)
            {
                SsTable? table = _superversion.Deeper[level].Find(key, _key.Length, _head);
                if (table is not null && Find(table, key))
                {
                    return true;
                }
            }

            return false;
        }
    }

    private bool Take(SkipNode* node, RangeTombstones? ranges)
    {
        BlockEntry entry = default;
        if (node != null)
        {
            entry.Kind = node->Kind;
            entry.Version = node->Version;
            entry.Stamp = node->Stamp;
            entry.ExpiresAt = node->ExpiresAt;
            entry.Value = SkipNode.Value(node);
            entry.ValueLength = node->ValueLength;
        }

        return Take(node != null, entry, ranges);
    }

    /// <summary>Blocks stay where they are within an epoch, as for a read.</summary>
    private bool Find(SsTable table, byte* key)
    {
        Epochs.Enter();
        try
        {
            BlockEntry entry = default;
            bool found = false;
            if (table.Properties.Entries > 0)
            {
                TableReader reader = table.Reader;
                found = reader.MayContain(_hash) && reader.TryFind(key, _key.Length, _hash, _at, out entry);
            }

            return Take(found, entry, table.Ranges);
        }
        finally
        {
            Epochs.Exit();
        }
    }

    private bool Take(bool found, BlockEntry entry, RangeTombstones? ranges)
    {
        if (ranges is not null && TakeRemoval(ranges, found ? entry.Version : 0))
        {
            return true;
        }

        if (!found)
        {
            return false;
        }

        (Version, Stamp, ExpiresAt, IsRemoval) = (entry.Version, entry.Stamp, entry.ExpiresAt, entry.Kind == EntryKind.Tombstone);
        _value.Clear();
        if (!IsRemoval && Version <= _newest)
        {
            if (entry.Kind == EntryKind.Reference)
            {
                _superversion.Values.CopyTo(_value, new ReadOnlySpan<byte>(entry.Value, entry.ValueLength), _key, Version, fillCache: false);
            }
            else
            {
                _value.Append(new ReadOnlySpan<byte>(entry.Value, entry.ValueLength));
            }
        }

        return true;
    }

    private bool TakeRemoval(RangeTombstones ranges, long above)
    {
        int fragment = ranges.Find(_key);
        if (fragment == ranges.Count || KeyOrder.Compare(ranges.Start(fragment), _key) > 0)
        {
            return false;
        }

        ReadOnlySpan<long> versions = ranges.Versions(fragment);
        for (int i = 0; i < versions.Length; i++)
        {
            if (versions[i] <= _at)
            {
                if (versions[i] <= above)
                {
                    return false;
                }

                (Version, Stamp, ExpiresAt, IsRemoval) = (versions[i], ranges.Stamps(fragment)[i], 0, true);
                _value.Clear();
                return true;
            }
        }

        return false;
    }
}
