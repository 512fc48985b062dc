namespace KeyVa.Histories;

/// <summary>
/// What a history can be said to satisfy. The definitions are those of the dependency graph (Adya, "Weak Consistency: A
/// Generalized Theory and Optimistic Implementations for Distributed Transactions", 1999), and for the snapshot levels its
/// characterization by Cerone and Gotsman, "Analysing Snapshot Isolation" (PODC 2016): a history is snapshot isolated if every
/// cycle has two anti-dependencies (rw) in a row. The levels with "strong" add to the graph that a transaction comes after those of the
/// same client (session), or after all that had ended before it began; strict is strong serializable.
/// </summary>
public enum ConsistencyModel : byte
{
    /// <summary>PL-1: no dirty writes (G0); every committed append is there, once.</summary>
    ReadUncommitted,

    /// <summary>PL-2: also no aborted reads (G1a), intermediate reads (G1b) or circular information flow (G1c).</summary>
    ReadCommitted,

    /// <summary>
    /// Repeatable read as KeyVa offers it: also no cycle without two rw edges in a row, so neither G-single (read skew, lost
    /// update) nor longer ones of that kind. Write skew is allowed.
    /// </summary>
    SnapshotIsolation,

    /// <summary>PL-3 for items (predicates are out of scope): also no G2-item, so no cycle at all.</summary>
    Serializable,

    /// <summary>Snapshot isolation, and each snapshot holds what its own client committed before.</summary>
    StrongSessionSnapshotIsolation,

    /// <summary>Snapshot isolation, and each snapshot holds everything that was committed before it began.</summary>
    StrongSnapshotIsolation,

    /// <summary>Serializable, in an order in which each client's transactions stand as it made them.</summary>
    StrongSessionSerializable,

    /// <summary>Serializable, in an order that respects real time.</summary>
    StrictSerializable,
}

/// <summary>How the levels stand to each other. Stateless.</summary>
internal static class IsolationLevels
{
    public const int Count = 8;

    /// <summary>The level and all stronger ones, as a set of bits.</summary>
    public static int AndStronger(ConsistencyModel level) => level switch
    {
        ConsistencyModel.ReadUncommitted => 0xff,
        ConsistencyModel.ReadCommitted => 0xfe,
        ConsistencyModel.SnapshotIsolation => 0xfc,
        ConsistencyModel.Serializable => Bit(level) | AndStronger(ConsistencyModel.StrongSessionSerializable),
        ConsistencyModel.StrongSessionSnapshotIsolation =>
            Bit(level) | AndStronger(ConsistencyModel.StrongSnapshotIsolation) | AndStronger(ConsistencyModel.StrongSessionSerializable),
        ConsistencyModel.StrongSnapshotIsolation or ConsistencyModel.StrongSessionSerializable =>
            Bit(level) | Bit(ConsistencyModel.StrictSerializable),
        _ => Bit(level),
    };

    public static int Bit(ConsistencyModel level) => 1 << (int)level;
}
