namespace KeyVa.Cluster.Driver;

/// <summary>
/// What a node promises the leaders whose heartbeats it answers, and must keep after a restart with whatever settings: to vote for nobody else for an election timeout. The longest that
/// may still have to be kept stands in the file CLUSTER before it is promised (docs/replication.md, Leases). Immutable.
/// </summary>
internal sealed class LeasePromise(DriverOptions options)
{
    private readonly long _begun = BootClock.Milliseconds;

    /// <summary>What this life promises.</summary>
    private long Present => options.LeaseReads ? options.ElectionTimeout : 0;

    /// <summary>What is to be on the disk while this life goes on: a crash does not tell how long it went on.</summary>
    public uint Recorded => (uint)Math.Max(Present, options.PromisedBefore);

    /// <summary>What the next life has to keep, if this one ends now: what was promised before it is over, once it has lasted for so long.</summary>
    public uint AtEnd(long now) => now - _begun >= options.PromisedBefore ? (uint)Present : Recorded;
}
