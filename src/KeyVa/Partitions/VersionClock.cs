namespace KeyVa.Partitions;

/// <summary>
/// Which version was the newest at a time: the last group of every span of <see cref="Resolution"/> milliseconds, so that
/// a time leads to a version without looking at the entries.
/// </summary>
/// <remarks>
/// <para>Thread-safe: one lock, taken once per group where versions are retained, and nowhere else.</para>
/// <para>Invariants.
/// 1. A sample (stamp, version) says that no version up to it has a later stamp. (A group takes its stamp before its
///    versions, so the newest stamp handed out bounds those of all versions handed out.)
/// 2. Stamps and versions of the samples rise.
/// 3. There are at most <see cref="Capacity"/>: when they are full, every other one goes and the resolution halves.</para>
/// </remarks>
internal sealed class VersionClock
{
    /// <summary>Samples at most: 256 KiB.</summary>
    public const int Capacity = 16384;

    private readonly Lock _lock = new();
    private readonly VersionOracle _oracle;

    // Guarded by the lock.
    private readonly List<VersionSample> _samples = [];
    private VersionSample _last;
    private long _resolution;

    public VersionClock(VersionOracle oracle, long resolutionMilliseconds)
    {
        _oracle = oracle;
        _resolution = Math.Max(1, resolutionMilliseconds);
    }

    /// <summary>A time leads to the newest version of then, or to one at most so many milliseconds older.</summary>
    public long Resolution
    {
        get
        {
            lock (_lock)
            {
                return _resolution;
            }
        }
    }

    /// <summary>A group ends with this version, or ended so. True if a span is over and its sample is new.</summary>
    public bool Note(long version)
    {
        lock (_lock)
        {
            long stamp = _oracle.LastStamp;
            version = Math.Max(version, _last.Version);
            bool isNew = _last.Stamp != 0 && stamp / _resolution != _last.Stamp / _resolution;
            if (isNew)
            {
                Add(_last);
            }

            _last = new VersionSample(stamp, version);
            return isNew;
        }
    }

    /// <summary>The newest version that is known to have been there at a time; false: the time is before all that is known.</summary>
    public bool TryFind(long time, out long version)
    {
        lock (_lock)
        {
            VersionSample found = _last.Stamp != 0 && _last.Stamp <= time ? _last : Find(time);
            version = found.Version;
            return found.Stamp != 0;
        }
    }

    /// <summary>Nobody asks for times before this one any more.</summary>
    public void Forget(long time)
    {
        lock (_lock)
        {
            // The newest one at or before the time stays: it is what the time leads to.
            int gone = IndexBehind(time) - 1;
            if (gone > 0)
            {
                _samples.RemoveRange(0, gone);
            }
        }
    }

    /// <summary>The first time it knows of; 0: none.</summary>
    public long First
    {
        get
        {
            lock (_lock)
            {
                return _samples.Count > 0 ? _samples[0].Stamp : _last.Stamp;
            }
        }
    }

    public VersionSample[] Samples
    {
        get
        {
            lock (_lock)
            {
                return _last.Stamp == 0 ? [.. _samples] : [.. _samples, _last];
            }
        }
    }

    /// <summary>While opening: what an earlier process knew, before anything is noted.</summary>
    public void Load(IEnumerable<VersionSample> samples)
    {
        lock (_lock)
        {
            foreach (VersionSample sample in samples)
            {
                Add(sample);
            }
        }
    }

    /// <summary>
    /// While opening, when the log has been replayed: samples of what was lost with its end (a power loss without a sync) would
    /// be wrong once their versions are given out again.
    /// </summary>
    public void DropBeyond(long version, long stamp)
    {
        lock (_lock)
        {
            _samples.RemoveAll(sample => sample.Version > version || sample.Stamp > stamp);
            if (_last.Version > version || _last.Stamp > stamp)
            {
                _last = default;
            }
        }
    }

    private void Add(VersionSample sample)
    {
        if (_samples.Count > 0 && (sample.Stamp <= _samples[^1].Stamp || sample.Version < _samples[^1].Version))
        {
            return;
        }

        if (_samples.Count == Capacity)
        {
            _resolution *= 2;
            int kept = 0;
            for (int i = 1; i < _samples.Count; i += 2)
            {
                _samples[kept++] = _samples[i];
            }

            _samples.RemoveRange(kept, _samples.Count - kept);
        }

        _samples.Add(sample);
    }

    private VersionSample Find(long time)
    {
        int behind = IndexBehind(time);
        return behind == 0 ? default : _samples[behind - 1];
    }

    /// <summary>The first sample after a time.</summary>
    private int IndexBehind(long time)
    {
        int low = 0;
        int high = _samples.Count;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            if (_samples[middle].Stamp <= time)
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
}

/// <summary>No version up to this one has a later stamp.</summary>
internal readonly record struct VersionSample(long Stamp, long Version);

/// <summary>Tells the clock of a partition's groups. The role's holder calls it.</summary>
internal sealed class ClockFollower(VersionHistory history) : ChangeFollower
{
    public override void OnPut(ReadOnlySpan<byte> key, long version, long stamp, long expiresAt, ReadOnlySpan<byte> value)
    {
    }

    public override void OnRemove(ReadOnlySpan<byte> key, long version, long stamp)
    {
    }

    public override void OnRemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version, long stamp)
    {
    }

    public override void OnEndGroup(long index, long version, long stamp) => history.Note(version);
}
