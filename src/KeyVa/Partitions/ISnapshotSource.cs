namespace KeyVa.Partitions;

/// <summary>
/// Where a snapshot gets its version from: an engine (a snapshot of one partition) or the oracle (of several, each of
/// which must then have closed that version).
/// </summary>
internal interface ISnapshotSource
{
    /// <summary>The newest version a snapshot may stand at.</summary>
    long SnapshotVersion { get; }

    /// <summary>The stamp that goes with it, or an earlier one.</summary>
    long SnapshotStamp { get; }
}
