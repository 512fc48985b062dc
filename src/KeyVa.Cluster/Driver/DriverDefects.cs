namespace KeyVa.Cluster.Driver;

/// <summary>
/// Errors that a test puts into a driver (<see cref="DriverOptions.Defects"/>), to see that the simulation of whole nodes finds them. Each is
/// looked for in one place. docs/testing.md lists the seeds that find them.
/// </summary>
[Flags]
internal enum DriverDefects
{
    None = 0,

    /// <summary>The group is told that a work is durable when it is handed to the journal.</summary>
    AcknowledgesUnwritten = 1,

    /// <summary>Term and vote are left out of the records.</summary>
    ForgetsState = 2,

    /// <summary>After a restart the entry at the applied index is applied once more.</summary>
    RepeatsAnEntry = 4,

    /// <summary>Reads are answered without asking who leads.</summary>
    ReadsLocally = 8,

    /// <summary>What was handed to a leader that is gone is tried again at once, though it may be done yet.</summary>
    RetriesWhatMayBeDone = 16,

    /// <summary>A leader hands out versions before it knows which were handed out.</summary>
    LeadsUnprepared = 32,

    /// <summary>A restart takes entries that were superseded for part of the log.</summary>
    KeepsSuperseded = 64,

    /// <summary>A forward that comes twice is done twice.</summary>
    TakesForwardsTwice = 128,
}
