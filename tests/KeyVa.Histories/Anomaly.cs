namespace KeyVa.Histories;

/// <summary>What can be wrong with a history of lists; the names are Adya's and Elle's.</summary>
public enum AnomalyKind : byte
{
    /// <summary>An element was read that no transaction appended.</summary>
    GarbageRead,

    /// <summary>A list holds an element twice.</summary>
    DuplicateElement,

    /// <summary>A transaction's appends to a list stand there in another order than it made them, or some are missing in front of others.</summary>
    TornAppends,

    /// <summary>A transaction does not see its own appends where they must be, or sees later ones.</summary>
    Internal,

    /// <summary>Two committed reads of a list, neither of which is the beginning of the other.</summary>
    IncompatibleOrder,

    /// <summary>Dirty write: a cycle of write dependencies.</summary>
    G0,

    /// <summary>Aborted read.</summary>
    G1a,

    /// <summary>Intermediate read: a list was read as it was in the midst of another transaction.</summary>
    G1b,

    /// <summary>A committed append was made on top of an aborted one.</summary>
    DirtyUpdate,

    /// <summary>Circular information flow: a cycle of write and read dependencies.</summary>
    G1c,

    /// <summary>Two transactions read the same version of a list, and both appended to it.</summary>
    LostUpdate,

    /// <summary>A cycle with exactly one anti-dependency: read skew.</summary>
    GSingle,

    /// <summary>A cycle with several anti-dependencies, no two of them in a row.</summary>
    GNonadjacent,

    /// <summary>A cycle with anti-dependencies in a row: write skew.</summary>
    G2Item,

    /// <summary>A committed append is in no read, though reads began after it was committed: it is gone, or stays unseen.</summary>
    LostAppend,
}

/// <summary>What the edges of a cycle need beside dependencies for it to be one.</summary>
public enum CycleOrder : byte
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>The order of each client's own transactions.</summary>
    Process,

    /// <summary>That what ended before another began comes first.</summary>
    RealTime,
}

/// <summary>
/// One thing that is wrong. <see cref="Violates"/> is the weakest level that forbids it (so do all stronger ones);
/// <see cref="Transactions"/> are places in the history, in the order of the cycle; <see cref="Text"/> is for a person.
/// </summary>
public sealed record Anomaly(AnomalyKind Kind, CycleOrder Order, ConsistencyModel Violates, IReadOnlyList<int> Transactions, string Text)
{
    public string Name => Order switch
    {
        CycleOrder.Process => NameOf(Kind) + "-process",
        CycleOrder.RealTime => NameOf(Kind) + "-realtime",
        _ => NameOf(Kind),
    };

    public static string NameOf(AnomalyKind kind) => kind switch
    {
        AnomalyKind.GarbageRead => "garbage read",
        AnomalyKind.DuplicateElement => "duplicate element",
        AnomalyKind.TornAppends => "torn appends",
        AnomalyKind.Internal => "internal inconsistency",
        AnomalyKind.IncompatibleOrder => "incompatible order",
        AnomalyKind.DirtyUpdate => "dirty update",
        AnomalyKind.LostUpdate => "lost update",
        AnomalyKind.GSingle => "G-single",
        AnomalyKind.GNonadjacent => "G-nonadjacent",
        AnomalyKind.G2Item => "G2-item",
        AnomalyKind.LostAppend => "lost append",
        _ => kind.ToString(),
    };

    public override string ToString() => $"{Name}: {Text}";
}
