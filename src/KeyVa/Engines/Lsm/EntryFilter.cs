using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>What becomes of an entry that is written anew.</summary>
internal enum EntryFate
{
    Keep,
    Drop,

    /// <summary>Its expiry is behind the horizon: it shadows older versions still, but its value goes.</summary>
    Bury,
}

/// <summary>
/// Decides which entries of a merged run are still of use to anyone (see <see cref="Horizon"/>). Entries come in order: a
/// merge of runs that are in order gives nothing else, so one that is not names a table whose bytes are wrong though their
/// checksums fit. What is written anew from it would not be found any more. One thread.
/// </summary>
internal sealed unsafe class EntryFilter : IDisposable
{
    private readonly Horizon _horizon;
    private readonly DeeperKeys? _deeper;
    private readonly RangeTombstones? _ranges;
    private readonly int _retained;
    private readonly NativeBuffer _key = new(256);
    private int _fragment;
    private long _version;

    // The removal of a range with the present key, for everyone: what is below it is not there. 0: none.
    private long _removed;
    private bool _hasKey;
    private bool _decided;
    private bool _keptOne;
    private long _lastVersion;

    // Entries of the present key that came before; whether a fragment covers it.
    private int _newer;
    private bool _isCovered;

    /// <param name="horizon">What may be forgotten.</param>
    /// <param name="deeper">Tells whether older entries of a key may lie below what is written; null: they may.</param>
    /// <param name="ranges">The range tombstones of all that is merged; null: none.</param>
    /// <param name="retained">So many versions of each key stay, whatever the horizon.</param>
    public EntryFilter(Horizon horizon, DeeperKeys? deeper, RangeTombstones? ranges, int retained = 0)
    {
        _retained = retained;
        _ranges = ranges;
        _horizon = horizon;
        _deeper = deeper;
    }

    /// <summary>Whether nothing of the last entry's key was kept before it.</summary>
    public bool IsNewKey { get; private set; }

    public EntryFate Decide(MergeSource entry)
    {
        EntryFate fate = Judge(entry);
        IsNewKey = !_keptOne;
        _keptOne |= fate != EntryFate.Drop;
        return fate;
    }

    public void Dispose() => _key.Dispose();

    private EntryFate Judge(MergeSource entry)
    {
        byte* last = (byte*)_key.Address;
        int shorter = Math.Min(entry.KeyLength, _key.Length);
        int common = KeyOrder.CommonLength(entry.Key, last, shorter);
        bool sameKey = _hasKey && common == entry.KeyLength && common == _key.Length;
        if (_hasKey && (sameKey ? entry.Version > _version : common < shorter ? entry.Key[common] < last[common] : entry.KeyLength < _key.Length))
        {
            throw entry.DamageHere("the block's entries do not come behind those before them, though its checksum fits");
        }

        _version = entry.Version;
        if (!sameKey)
        {
            _key.Clear();
            _key.Append(entry.KeySpan);
            _hasKey = true;
            _decided = false;
            _keptOne = false;
            _newer = 0;
            if (_ranges is not null)
            {
                _removed = Removed(entry.KeySpan);
            }
        }

        else if (entry.Version == _lastVersion)
        {
            // A command that made room while it was applied was replayed: the same entry is there twice.
            return EntryFate.Drop;
        }

        _lastVersion = entry.Version;
        if (_retained > 0)
        {
            return JudgeRetained(entry);
        }

        if (_decided)
        {
            return EntryFate.Drop;
        }

        if (entry.Version > _horizon.Version)
        {
            return EntryFate.Keep;
        }

        _decided = true;
        if (entry.Version < _removed)
        {
            return EntryFate.Drop;
        }

        bool expired = entry.ExpiresAt != 0 && entry.ExpiresAt <= _horizon.Stamp;
        if (entry.Kind != EntryKind.Tombstone && !expired)
        {
            return EntryFate.Keep;
        }

        if (_deeper is not null && !_deeper.MayHold(entry.KeySpan))
        {
            return EntryFate.Drop;
        }

        return entry.Kind == EntryKind.Tombstone ? EntryFate.Keep : EntryFate.Bury;
    }

    /// <summary>
    /// Where versions are kept by count. Newer ones that are not merged here are not counted, so more is kept than asked
    /// for. A tombstone is one of them: without it, what it shadows would be read as if it had not been there.
    /// </summary>
    private EntryFate JudgeRetained(MergeSource entry)
    {
        int newer = _newer++;
        if (entry.Version > _horizon.Version)
        {
            return EntryFate.Keep;
        }

        bool shadowed = _decided || entry.Version < _removed;
        _decided = true;
        if (shadowed && newer + RemovalsBehind(entry.Version) >= _retained)
        {
            return EntryFate.Drop;
        }

        bool expired = entry.ExpiresAt != 0 && entry.ExpiresAt <= _horizon.Stamp;
        return expired && entry.Kind != EntryKind.Tombstone ? EntryFate.Bury : EntryFate.Keep;
    }

    private int RemovalsBehind(long version)
    {
        int count = 0;
        if (_ranges is not null && _isCovered)
        {
            foreach (long removal in _ranges.Versions(_fragment))
            {
                count += removal > version ? 1 : 0;
            }
        }

        return count;
    }

    private long Removed(ReadOnlySpan<byte> key)
    {
        while (_fragment < _ranges!.Count && KeyOrder.Compare(_ranges.End(_fragment), key) <= 0)
        {
            _fragment++;
        }

        _isCovered = _fragment < _ranges.Count && KeyOrder.Compare(_ranges.Start(_fragment), key) <= 0;
        return _isCovered ? _ranges.NewestAt(_fragment, _horizon.Version) : 0;
    }
}

/// <summary>Whether levels below a compaction's output may hold a key. Keys are asked for in rising order.</summary>
internal sealed class DeeperKeys(IEnumerable<Level> levels)
{
    private readonly Level[] _levels = [.. levels.Where(level => level.Tables.Length > 0)];
    private readonly int[] _next = new int[Superversion.Levels];

    public bool MayHold(ReadOnlySpan<byte> key)
    {
        for (int i = 0; i < _levels.Length; i++)
        {
            SsTable[] tables = _levels[i].Tables;
            ref int next = ref _next[i];
            while (next < tables.Length && KeyOrder.Compare(tables[next].Largest, key) < 0)
            {
                next++;
            }

            if (next < tables.Length && KeyOrder.Compare(tables[next].Smallest, key) <= 0)
            {
                return true;
            }
        }

        return false;
    }
}
