namespace KeyVa;

/// <summary>
/// Goes through the records of a range at one snapshot, without copies. One thread at a time. Spans are valid until the
/// next <see cref="MoveNext"/> or <see cref="Dispose"/>. An open cursor never blocks writers; it keeps the versions it
/// can see from being reclaimed, so dispose it.
/// </summary>
public sealed class ScanCursor : IDisposable
{
    internal ScanCursor(Status status, string? detail)
    {
        Status = status;
        Detail = detail;
    }

    /// <summary><see cref="Status.Ok"/>, or why the scan was refused (a refused cursor has no records).</summary>
    public Status Status { get; }

    /// <summary>For a person: why it was refused; null otherwise.</summary>
    public string? Detail { get; }

    /// <summary>The snapshot's version.</summary>
    public long SnapshotVersion { get; private set; }

    /// <summary>The key.</summary>
    public ReadOnlySpan<byte> Key => throw new NotSupportedException();

    /// <summary>The value; empty if only keys were asked for.</summary>
    public ReadOnlySpan<byte> Value => throw new NotSupportedException();

    /// <summary>The version at which the key was written.</summary>
    public long Version => throw new NotSupportedException();

    /// <summary>When this version was first accepted, in milliseconds since 1970-01-01 UTC.</summary>
    public long ModifiedUnixMilliseconds => throw new NotSupportedException();

    /// <summary>When the key expires, in milliseconds since 1970-01-01 UTC; 0: never.</summary>
    public long ExpiresAtUnixMilliseconds => throw new NotSupportedException();

    /// <summary>Goes to the next record; false at the end (of the range, or at the limit).</summary>
    public bool MoveNext() => throw new NotSupportedException();

    /// <summary>Closes the cursor and its snapshot.</summary>
    public void Dispose()
    {
    }
}
