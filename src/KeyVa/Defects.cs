namespace KeyVa;

/// <summary>
/// Errors that a test puts into a store (<see cref="StoreEnvironment.Defects"/>), to see that the checkers of histories find
/// them. Each is looked for in one place, once per commit or record, never per read.
/// </summary>
[Flags]
internal enum Defects
{
    None = 0,

    /// <summary>A commit forgets what the transaction has read: nothing is validated.</summary>
    SkipsValidation = 1,

    /// <summary>
    /// A commit over several partitions does not say that its version is under way: a snapshot taken meanwhile sees it appear
    /// between two reads, or in one partition and not in the other.
    /// </summary>
    ShowsCommitsEarly = 2,

    /// <summary>A replay leaves out what a commit over several partitions wrote in the last of them.</summary>
    ForgetsPartOfCommit = 4,
}
