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

    /// <summary>After a restart the first entry behind the applied index is taken for applied: the index ran ahead of the data.</summary>
    SkipsAnEntry = 256,

    /// <summary>A snapshot's files take the partition's place before what they stand for is on the disk.</summary>
    InstallsUnsynced = 512,

    /// <summary>What is written of a snapshot that was installed has the membership of before.</summary>
    InstallsWithoutMembership = 1024,

    /// <summary>What the partition's files stand for is written with the newest membership, not that of their index.</summary>
    StandsOnNewestMembership = 2048,

    /// <summary>The journal lets go of what was applied, though the partition's files do not have it yet.</summary>
    ReleasesUnflushed = 4096,

    /// <summary>A record for which the disk had no room counts as written.</summary>
    TakesFullForWritten = 8192,

    /// <summary>A record that failed to be written or synced counts as written.</summary>
    TakesFailedForWritten = 16384,

    /// <summary>An entry that could not be applied, since what it depends on cannot be read, is passed over.</summary>
    PassesOverDamage = 32768,

    /// <summary>A silent group does not wake when its leader's node gives no sign of life any more.</summary>
    IgnoresLostNodes = 65536,

    /// <summary>The other partitions are told to finish a commit before the first has decided.</summary>
    FinishesUndecided = 131072,

    /// <summary>What is prepared is dropped where the first partition shows no decision, and that is not written down there: a late decision finds nothing in its way.</summary>
    DropsWithoutDecision = 262144,

    /// <summary>What is prepared is not in the snapshots that take a partition's place.</summary>
    InstallsWithoutPrepared = 524288,

    /// <summary>What is prepared is forgotten by a node that begins to lead.</summary>
    ForgetsPreparedWhenElected = 1048576,

    /// <summary>The partition's own settings are not in the snapshots that take its place.</summary>
    InstallsWithoutSettings = 2097152,
}
