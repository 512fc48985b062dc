using KeyVa.Engines;
using KeyVa.Partitions;

namespace KeyVa;

/// <summary>
/// Goes through the records of a range at one snapshot, without copies. One thread at a time. Spans are valid until the
/// next <see cref="MoveNext"/> or <see cref="Dispose"/>. An open cursor never blocks writers; it keeps the versions it
/// can see from being reclaimed, so dispose it.
/// </summary>
public sealed class ScanCursor : IDisposable
{
    private readonly ScanPlan? _plan;
    private readonly VersionOracle? _oracle;
    private EngineCursor? _cursor;
    private Snapshot? _snapshot;
    private int _partition;
    private long _returned;

    internal ScanCursor(Status status, string? detail)
    {
        Status = status;
        Detail = detail;
    }

    internal ScanCursor(ScanPlan plan, Snapshot snapshot, VersionOracle oracle)
    {
        _plan = plan;
        _snapshot = snapshot;
        _oracle = oracle;
        _partition = plan.FirstPartition;
    }

    /// <summary><see cref="Status.Ok"/>, or why the scan was refused (a refused cursor has no records).</summary>
    public Status Status { get; }

    /// <summary>For a person: why it was refused; null otherwise.</summary>
    public string? Detail { get; }

    /// <summary>The snapshot's version.</summary>
    public long SnapshotVersion => _snapshot?.Version ?? 0;

    /// <summary>The key.</summary>
    public ReadOnlySpan<byte> Key => Current.Key;

    /// <summary>The value; empty if only keys were asked for.</summary>
    public ReadOnlySpan<byte> Value => _plan!.KeysOnly ? default : Current.Value;

    /// <summary>The version at which the key was written.</summary>
    public long Version => Current.Version;

    /// <summary>When this version was first accepted, in milliseconds since 1970-01-01 UTC.</summary>
    public long ModifiedUnixMilliseconds => Current.Stamp;

    /// <summary>When the key expires, in milliseconds since 1970-01-01 UTC; 0: never.</summary>
    public long ExpiresAtUnixMilliseconds => Current.ExpiresAt;

    private EngineCursor Current => _cursor ?? throw new InvalidOperationException("the cursor stands on no record; call MoveNext first");

    /// <summary>Goes to the next record; false at the end (of the range, or at the limit).</summary>
    public bool MoveNext()
    {
        if (_snapshot is null || _returned == _plan!.Limit)
        {
            return false;
        }

        while (_cursor is not null || OpenNext())
        {
            while (_cursor!.MoveNext())
            {
                long expiresAt = _cursor.ExpiresAt;
                if (expiresAt == 0 || expiresAt > _oracle!.Now())
                {
                    _returned++;
                    return true;
                }
            }

            _cursor.Dispose();
            _cursor = null;
        }

        return false;
    }

    /// <summary>Closes the cursor and its snapshot.</summary>
    public void Dispose()
    {
        Snapshot? snapshot = Interlocked.Exchange(ref _snapshot, null);
        if (snapshot is not null)
        {
            _cursor?.Dispose();
            _cursor = null;
            snapshot.Dispose();
            _plan!.Unpin();
        }
    }

    private bool OpenNext()
    {
        if (_partition < 0 || _partition >= _plan!.Partitions.Count)
        {
            return false;
        }

        Partition partition = _plan.Partitions[_partition];
        _cursor = _plan.Open(partition, _snapshot!.Version, isFirst: _partition == _plan.FirstPartition);
        _partition += _plan.Reverse ? -1 : 1;
        return true;
    }
}
