using KeyVa.Partitions;

namespace KeyVa.Watches;

/// <summary>
/// A bulk load that watchers have yet to read: its records stand in the engine alone, where a snapshot at the load's version
/// keeps them. Under the hub's lock, but for <see cref="IsGone"/>.
/// </summary>
internal sealed class PinnedLoad(ChangeLog log, long version, Snapshot snapshot)
{
    private volatile bool _isGone;

    public ChangeLog Log => log;

    public long Version => version;

    /// <summary>Whether the hub has said who has to read it.</summary>
    public bool IsAssigned { get; set; }

    /// <summary>Watchers that have yet to read it.</summary>
    public int Readers { get; set; }

    /// <summary>Whether the snapshot was let go.</summary>
    public bool IsGone => _isGone;

    public void Release()
    {
        _isGone = true;
        snapshot.Dispose();
    }
}
