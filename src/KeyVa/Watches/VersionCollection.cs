using KeyVa.Engines;

namespace KeyVa.Watches;

/// <summary>
/// Picks the changes of the lowest versions out of scans that have no order: as many versions as its bounds allow, each whole. Belongs to
/// one reading.
/// </summary>
/// <remarks>
/// Invariant: of every version up to <see cref="UpTo"/> it has all that was added, but for the puts of one that is alone and larger than
/// all bounds (<see cref="IsCut"/>).
/// </remarks>
internal sealed class VersionCollection(WatchTarget target, long upTo, bool isBounded)
{
    /// <summary>Changes and bytes that are collected at a time; one version that has more is collected alone.</summary>
    public const int MaxChanges = 16 << 10;
    public const int MaxBytes = 4 << 20;

    private readonly SortedDictionary<long, OneVersion> _versions = [];
    private int _changes;
    private long _bytes;

    /// <summary>What is above this version was left out.</summary>
    public long UpTo { get; private set; } = upTo;

    /// <summary>Versions, from the lowest up, with their changes: removed ranges first.</summary>
    public IEnumerable<(long Version, IEnumerable<Change> Changes)> Versions => _versions.Select(static one => (one.Key, one.Value.InOrder()));

    /// <summary>Whether the puts of the only version were left out.</summary>
    public bool IsCut => _versions.Count == 1 && _versions.First().Value.IsCut;

    /// <summary>Whether the only version removes something.</summary>
    public bool HasRemovals => _versions.Count == 1 && _versions.First().Value.HasRemovals;

    public long FirstVersion => _versions.First().Key;

    /// <summary>Adds what a scan of one partition stands at.</summary>
    public void Add(VersionScan scan, Engine engine)
    {
        if (scan.Version > UpTo)
        {
            return;
        }

        OneVersion version = Of(scan.Version);
        if (version.IsCut && !scan.IsRemoval)
        {
            return;
        }

        (long previousVersion, byte[] previous) = target.PreviousValues ? Previous(engine, scan) : (WatchEvent.UnknownVersion, []);
        Add(version, new Change(scan, previousVersion, previous));
    }

    /// <summary>Adds the ranges that were removed in one partition: pieces that touch are one again.</summary>
    public void Add(IReadOnlyList<RemovedRange> pieces)
    {
        List<RemovedRange> sorted = [.. pieces];
        sorted.Sort(static (a, b) => a.Version != b.Version ? a.Version.CompareTo(b.Version) : a.From.AsSpan().SequenceCompareTo(b.From));
        for (int i = 0; i < sorted.Count;)
        {
            RemovedRange whole = sorted[i++];
            for (; i < sorted.Count && sorted[i].Version == whole.Version && Touches(whole, sorted[i]); i++)
            {
                whole = whole.To.Length == 0 || (sorted[i].To.Length > 0 && sorted[i].To.AsSpan().SequenceCompareTo(whole.To) <= 0)
                    ? whole
                    : whole with { To = sorted[i].To };
            }

            if (whole.Version <= UpTo)
            {
                Add(Of(whole.Version), new Change(whole));
            }
        }
    }

    private static bool Touches(in RemovedRange range, in RemovedRange next) => range.To.Length == 0 || next.From.AsSpan().SequenceCompareTo(range.To) <= 0;

    // As the writer tells it to those who watch at the moment.
    private static (long Version, byte[] Value) Previous(Engine engine, VersionScan scan)
    {
        bool found = engine.TryGet(scan.Key, scan.Version - 1, out ValueLease lease);
        using (lease)
        {
            bool existed = found && (lease.ExpiresAtUnixMilliseconds == 0 || lease.ExpiresAtUnixMilliseconds > scan.Stamp);
            return existed ? (lease.Version, lease.Value.ToArray()) : (0, []);
        }
    }

    private OneVersion Of(long version)
    {
        if (_versions.TryGetValue(version, out OneVersion? one))
        {
            return one;
        }

        if (IsCut)
        {
            // It was the lowest so far.
            RemoveLast();
        }

        _versions.Add(version, one = new OneVersion());
        return one;
    }

    private void Add(OneVersion version, Change change)
    {
        version.Add(change);
        if (version.IsCut)
        {
            return;
        }

        _changes++;
        _bytes += change.Bytes;
        while (isBounded && (_changes > MaxChanges || _bytes > MaxBytes))
        {
            if (_versions.Count == 1)
            {
                UpTo = FirstVersion;
                version.Cut();
                _changes = 0;
                _bytes = 0;
                return;
            }

            RemoveLast();
        }
    }

    private void RemoveLast()
    {
        (long last, OneVersion most) = _versions.Last();
        _versions.Remove(last);
        _changes -= most.Count;
        _bytes -= most.Bytes;
        UpTo = last - 1;
    }

    private sealed class OneVersion
    {
        private readonly List<Change> _changes = [];

        public bool IsCut { get; private set; }

        public bool HasRemovals { get; private set; }

        public int Count => _changes.Count;

        public long Bytes { get; private set; }

        public void Add(Change change)
        {
            HasRemovals |= change.Kind != ChangeKind.Put;
            if (!IsCut)
            {
                _changes.Add(change);
                Bytes += change.Bytes;
            }
        }

        public void Cut()
        {
            IsCut = true;
            _changes.Clear();
            Bytes = 0;
        }

        public IEnumerable<Change> InOrder() => _changes.Where(static change => change.Kind == ChangeKind.RemoveRange)
            .Concat(_changes.Where(static change => change.Kind != ChangeKind.RemoveRange));
    }
}
