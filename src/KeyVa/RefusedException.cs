namespace KeyVa;

/// <summary>
/// A stream (a scan, a bulk write) was refused or broken off for a reason that single calls return as a
/// <see cref="KeyVa.Status"/>; streams have no result to put it into.
/// </summary>
public sealed class RefusedException : StoreException
{
    /// <summary>Refused with a status, for the reason given.</summary>
    public RefusedException(Status status, string detail)
        : base(detail) => Status = status;

    /// <summary>Why.</summary>
    public Status Status { get; }

    /// <summary>After <see cref="Status.Compacted"/>: everything can be read from this version on; 0: not known.</summary>
    public long BeginsAtVersion { get; init; }
}
