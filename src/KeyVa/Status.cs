namespace KeyVa;

/// <summary>
/// How an operation ended. Every outcome that a caller is expected to handle is a value of this enumeration, never an
/// exception.
/// </summary>
public enum Status : byte
{
    /// <summary>Done. A write that ends so is as durable as the store's <see cref="Durability"/> promises.</summary>
    Ok = 0,

    /// <summary>The key is not there (or has expired).</summary>
    NotFound = 1,

    /// <summary>A condition of the write did not hold; nothing of the batch was written.</summary>
    ConditionFailed = 2,

    /// <summary>The request breaks a rule: an empty key, a key twice in one batch, a range that ends before it begins.</summary>
    Invalid = 3,

    /// <summary>A key, value or batch exceeds its limit.</summary>
    TooLarge = 4,

    /// <summary>This node owns no partition that holds the key.</summary>
    BadNode = 5,

    /// <summary>The disk has no room for the write. Reads go on, removals use a reserve, writes go on when there is room.</summary>
    Full = 6,

    /// <summary>The partition's queue is full; try again after a short wait.</summary>
    Busy = 7,

    /// <summary>The partition's engine or strategy cannot do this, an ordered scan on the memory engine for example.</summary>
    Unsupported = 8,

    /// <summary>
    /// The journal or engine stopped after a failed sync or found damage; the store must be reopened (and, on damage,
    /// verified). Whether an unacknowledged write happened is unknown until then.
    /// </summary>
    Failed = 9,

    /// <summary>
    /// What the transaction has read or written was changed by another since: nothing of it was written, and it is over.
    /// Do it again from its beginning (<see cref="Store.Transact(Action{Transaction}, TransactionOptions?)"/> does).
    /// </summary>
    Conflict = 10,

    /// <summary>
    /// Transactions waited for each other's locks in a ring, and this one was chosen to end it: it is rolled back. Do it again
    /// from its beginning.
    /// </summary>
    Deadlock = 11,

    /// <summary>Another transaction held a lock for longer than the caller waits. The call did nothing.</summary>
    LockTimeout = 12,

    /// <summary>The transaction reached its time limit and was rolled back.</summary>
    Expired = 13,

    /// <summary>What was asked for has been forgotten; the detail says from which version on there is everything.</summary>
    Compacted = 14,

    /// <summary>
    /// A merge function could not make a value of what the key holds and the operand: an increment of a text, for example. Nothing of the batch
    /// was written; the detail says what does not fit.
    /// </summary>
    MergeRefused = 15,
    /// <summary>A unique index has the value already, under another key; nothing of the batch was written. The detail names both.</summary>
    NotUnique = 16,

    /// <summary>A strict index cannot read the value; nothing of the batch was written.</summary>
    NotIndexable = 17,

    /// <summary>The index is still being filled, or was made after the snapshot that is asked for; try again later.</summary>
    NotReady = 18,

    /// <summary>
    /// No leader of the partition can be reached at the moment, or it reaches no majority. Nothing of the write was done; try again after a
    /// short wait.
    /// </summary>
    Unavailable = 19,

    /// <summary>
    /// The write was handed to the partition's leader, and what became of it cannot be told: it was done, or is yet to be done, or never will
    /// be. Read before you write again, or write under a condition.
    /// </summary>
    Unknown = 20,

    /// <summary>A server wants to know who asks, and was not told, or was told wrong. Embedded stores have no users.</summary>
    Unauthenticated = 21,

    /// <summary>The user may not do this, or not with these keys.</summary>
    PermissionDenied = 22,

    /// <summary>Too many requests or bytes came from the user, its address or everybody; the server says when to come back.</summary>
    RateLimited = 23,
}
