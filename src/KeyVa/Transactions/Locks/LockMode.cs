namespace KeyVa.Transactions.Locks;

/// <summary>How a key or a range is locked. The order of the values is the order of their strength.</summary>
internal enum LockMode : byte
{
    /// <summary>Others may hold it shared too: what is locked is read.</summary>
    Shared = 1,

    /// <summary>Nobody else holds it at all: what is locked is written.</summary>
    Exclusive = 2,
}
