namespace KeyVa.Raft;

/// <summary>
/// Majorities of a set of voters (§5.2, §5.3 of the extended Raft paper). Pure; no allocation.
/// </summary>
public static class Quorum
{
    /// <summary>How many of <paramref name="voters"/> are a majority; any two majorities share a voter.</summary>
    public static int Majority(int voters)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(voters, 1);
        return (voters / 2) + 1;
    }

    /// <summary>
    /// The highest index that a majority of voters has, given each voter's highest replicated index. Sorts
    /// <paramref name="matchIndexes"/> in place. Whether it may be committed is decided by its term (§5.4.2).
    /// </summary>
    public static long ReplicatedIndex(Span<long> matchIndexes)
    {
        ArgumentOutOfRangeException.ThrowIfZero(matchIndexes.Length);
        matchIndexes.Sort();
        return matchIndexes[^Majority(matchIndexes.Length)];
    }
}
