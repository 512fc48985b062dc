namespace KeyVa.Histories;

/// <summary>How an operation or a transaction ended, as far as its client knows.</summary>
public enum Outcome : byte
{
    /// <summary>It happened, and its results are what the client was told. A transaction: committed.</summary>
    Ok = 0,

    /// <summary>It did not happen and never will. A transaction: aborted.</summary>
    Fail = 1,

    /// <summary>
    /// The client does not know: a crash, a timeout, a broken connection. It may take effect at any time after its
    /// invocation, or never.
    /// </summary>
    Unknown = 2,
}
