namespace KeyVa.Engines.Lsm;

/// <summary>
/// A memtable's range tombstones: runs of fragments whose sizes fall geometrically (Bentley and Saxe's logarithmic
/// method), so that adding one costs a logarithmic share of a merge, and a look-up a search in a few runs.
/// </summary>
/// <remarks>
/// Immutable: adding makes a new one, which the memtable publishes. So readers need no lock, and whoever holds one goes on
/// with it. One list of fragments that is rebuilt by every removal, the plain design, makes n removals cost n².
/// </remarks>
internal sealed class RangeTombstoneRuns
{
    private readonly RangeTombstones[] _runs;
    private readonly long _horizon;
    private RangeTombstones? _merged;

    private RangeTombstoneRuns(RangeTombstones[] runs, long horizon)
    {
        _runs = runs;
        _horizon = horizon;
        foreach (RangeTombstones run in runs)
        {
            MemoryBytes += run.MemoryBytes;
        }
    }

    public long MemoryBytes { get; }

    /// <summary>All of it as one list. Made by the first who asks; two who ask at once make the same.</summary>
    public RangeTombstones Merged => Volatile.Read(ref _merged) ?? Merge();

    /// <summary>
    /// These and one more range, newer than all. Versions that a newer one at or below <paramref name="horizon"/> makes
    /// superfluous may go: whoever reads with the result must read at the horizon or above.
    /// </summary>
    public static RangeTombstoneRuns Add(RangeTombstoneRuns? runs, RangeTombstones range, long horizon)
    {
        RangeTombstones[] old = runs?._runs ?? [];
        int kept = old.Length;
        RangeTombstones last = range;
        while (kept > 0 && old[kept - 1].VersionCount <= 2 * last.VersionCount)
        {
            last = RangeTombstoneMerge.Merge([old[--kept], last], horizon)!;
        }

        return new RangeTombstoneRuns([.. old.AsSpan(0, kept), last], horizon);
    }

    /// <summary>As <see cref="RangeTombstones.Covering"/>.</summary>
    public long Covering(ReadOnlySpan<byte> key, long at)
    {
        long newest = 0;
        foreach (RangeTombstones run in _runs)
        {
            newest = Math.Max(newest, run.Covering(key, at));
        }

        return newest;
    }

    private RangeTombstones Merge()
    {
        RangeTombstones merged = _runs.Length == 1 ? _runs[0] : RangeTombstoneMerge.Merge(_runs, _horizon)!;
        Volatile.Write(ref _merged, merged);
        return merged;
    }
}
