using System.Globalization;

namespace KeyVa.Cluster.Commits;

/// <summary>What callers are told of a commit over several partitions that could not be brought through.</summary>
internal static class CommitRefusals
{
    /// <summary>A partition's leader could not be asked in time whether its part is prepared: so the commit was not decided, and never will be.</summary>
    public static WriteResult Undecided(long partition) => new()
    {
        Status = Status.Unavailable,
        FailedOperation = -1,
        Detail = string.Create(CultureInfo.InvariantCulture, $"the leader of partition {partition} did not answer in time, so the commit was given up; nothing was done, try again"),
    };

    /// <summary>The first partition's leader has the decision, and cannot be asked.</summary>
    public static WriteResult Unknown(long partition) => new()
    {
        Status = Status.Unknown,
        FailedOperation = -1,
        Detail = string.Create(CultureInfo.InvariantCulture, $"the leader of partition {partition} decides about the commit, and it cannot be told what it decided: all of it will be done, or nothing; read before you write again"),
    };
}
