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
/// Decides which entries of a merged run are still of use to anyone (see <see cref="Horizon"/>). Entries come in order.
/// One thread.
/// </summary>
internal sealed unsafe class EntryFilter : IDisposable
{
    private readonly Horizon _horizon;
    private readonly DeeperKeys? _deeper;
    private readonly NativeBuffer _key = new(256);
    private bool _hasKey;
    private bool _decided;
    private bool _keptOne;

    /// <param name="horizon">What may be forgotten.</param>
    /// <param name="deeper">Tells whether older entries of a key may lie below what is written; null: they may.</param>
    public EntryFilter(Horizon horizon, DeeperKeys? deeper)
    {
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
        bool sameKey = _hasKey && entry.KeyLength == _key.Length
            && KeyOrder.CommonLength(entry.Key, (byte*)_key.Address, entry.KeyLength) == entry.KeyLength;
        if (!sameKey)
        {
            _key.Clear();
            _key.Append(entry.KeySpan);
            _hasKey = true;
            _decided = false;
            _keptOne = false;
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
