namespace KeyVa.Server;

/// <summary>
/// What a <see cref="Status"/> is called on each front door. One table, so that REST and gRPC cannot drift apart.
/// Stateless.
/// </summary>
internal static class StatusNames
{
    /// <summary>The name on the wire: the <c>keyva-status</c> trailer and the member of a problem.</summary>
    internal static string Wire(Status status) => status switch
    {
        Status.Ok => "ok",
        Status.NotFound => "not-found",
        Status.ConditionFailed => "condition-failed",
        Status.Invalid => "invalid",
        Status.TooLarge => "too-large",
        Status.BadNode => "bad-node",
        Status.Full => "full",
        Status.Busy => "busy",
        Status.Unsupported => "unsupported",
        Status.Conflict => "conflict",
        Status.Deadlock => "deadlock",
        Status.LockTimeout => "lock-timeout",
        Status.Expired => "expired",
        Status.Compacted => "compacted",
        Status.MergeRefused => "merge-refused",
        Status.NotUnique => "not-unique",
        Status.NotIndexable => "not-indexable",
        Status.NotReady => "not-ready",
        Status.Unavailable => "unavailable",
        Status.Unknown => "unknown",
        Status.Unauthenticated => "unauthenticated",
        Status.PermissionDenied => "permission-denied",
        Status.RateLimited => "rate-limited",
        _ => "failed",
    };

    /// <summary>The HTTP status.</summary>
    internal static int Http(Status status) => status switch
    {
        Status.Ok => 200,
        Status.NotFound => 404,
        Status.ConditionFailed => 412,
        Status.Invalid => 400,
        Status.TooLarge => 413,
        Status.BadNode => 421,
        Status.Full => 507,
        Status.Busy => 503,
        Status.Unsupported => 501,
        Status.Conflict => 409,
        Status.Deadlock => 409,
        Status.LockTimeout => 503,
        Status.Expired => 410,
        Status.Compacted => 410,
        // Not 409, which invites to try again: the same merge of the same value is refused again.
        Status.MergeRefused => 422,
        Status.NotUnique => 409,
        Status.NotIndexable => 422,
        Status.NotReady => 503,
        Status.Unavailable => 503,
        Status.Unknown => 504,
        Status.Unauthenticated => 401,
        Status.PermissionDenied => 403,
        Status.RateLimited => 429,
        _ => 500,
    };

    /// <summary>A short sentence that is the same for every case of the status (RFC 9457, title).</summary>
    internal static string Title(Status status) => status switch
    {
        Status.Ok => "Done",
        Status.NotFound => "The key is not there",
        Status.ConditionFailed => "A condition did not hold",
        Status.Invalid => "The request breaks a rule",
        Status.TooLarge => "A limit is exceeded",
        Status.BadNode => "This node does not own the key",
        Status.Full => "The disk is full",
        Status.Busy => "Too many writes are waiting",
        Status.Unsupported => "Not possible here",
        Status.Conflict => "Another transaction was in the way",
        Status.Deadlock => "Transactions waited for each other",
        Status.LockTimeout => "A lock was not to be had in time",
        Status.Expired => "The transaction's time is over",
        Status.Compacted => "It has been forgotten",
        Status.MergeRefused => "The merge does not fit the value",
        Status.NotUnique => "A unique index has the value already",
        Status.NotIndexable => "A strict index cannot read the value",
        Status.NotReady => "The index is being filled",
        Status.Unavailable => "No leader can be reached",
        Status.Unknown => "The outcome is not known",
        Status.Unauthenticated => "Say who you are",
        Status.PermissionDenied => "Not allowed",
        Status.RateLimited => "Too many requests",
        _ => "The store failed",
    };

    /// <summary>What to say when the store gave no detail.</summary>
    internal static string Detail(Status status) => status switch
    {
        Status.Ok => "",
        Status.NotFound => "the key does not exist or has expired",
        Status.ConditionFailed => "the key is not as the condition asks; nothing was written",
        Status.Invalid => "the key is empty",
        Status.TooLarge => "the key, value or batch exceeds its limit",
        Status.BadNode => "no partition of this node holds the key",
        Status.Full => "there is no room for the write; reads go on, and removals make room",
        Status.Busy => "try again after a short wait",
        Status.Unsupported => "the engine of the partition cannot do this",
        Status.Conflict => "what the transaction has read or written was changed by another; begin it again",
        Status.Deadlock => "the transaction was rolled back to end a deadlock; begin it again",
        Status.LockTimeout => "another transaction holds the key; try again",
        Status.Expired => "the transaction reached its time limit and was rolled back",
        Status.Compacted => "the version or time asked for has been forgotten; start at a later one",
        Status.MergeRefused => "the function cannot make a value of what the key holds and the operand; nothing was written",
        Status.NotUnique => "another record has the value; nothing was written",
        Status.NotIndexable => "the value is not what the index reads; nothing was written",
        Status.NotReady => "the index is being filled; try again later",
        Status.Unavailable => "no leader of the partition can be reached; nothing was done, try again after a short wait",
        Status.Unknown => "the write may have been done or may not; read before you write again",
        Status.Unauthenticated => "this server has users; send the name and password of one, or a token",
        Status.PermissionDenied => "the user has no right to do this, or not with these keys",
        Status.RateLimited => "a limit of requests or bytes is reached; come back later",
        _ => "the store stopped after a failed sync or damage and must be opened again; see the server's log",
    };
}
