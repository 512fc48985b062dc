using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using KeyVa.Engines;
using KeyVa.Partitions;

namespace KeyVa;

/// <summary>
/// Goes through the records of a range at one snapshot, without copies. One thread at a time. Spans are valid until the
/// next <see cref="MoveNext"/>, <see cref="Seek"/> or <see cref="Dispose"/>. An open cursor never blocks writers; it keeps the
/// versions it can see from being reclaimed, so dispose it. This is a handle: copies of it are the same cursor, and none can
/// be used once one was disposed (<see cref="ObjectDisposedException"/>; a second <see cref="Dispose"/> does nothing).
/// </summary>
public readonly struct ScanCursor : IDisposable, IEquatable<ScanCursor>
{
    private readonly ScanState? _state;
    private readonly int _generation;

    internal ScanCursor(ScanState state)
    {
        _state = state;
        _generation = state.Generation;
    }

    /// <summary><see cref="Status.Ok"/>, or why the scan was refused (a refused cursor has no records).</summary>
    public Status Status => State.Status;

    /// <summary>For a person: why it was refused; null otherwise.</summary>
    public string? Detail => State.Detail;

    /// <summary>After <see cref="Status.Compacted"/>: everything can be read from this version on; 0: not known.</summary>
    public long BeginsAtVersion => State.BeginsAtVersion;

    /// <summary>The snapshot's version; 0 if the scan was refused or its range can hold nothing.</summary>
    public long SnapshotVersion => State.SnapshotVersion;

    /// <summary>The key.</summary>
    public ReadOnlySpan<byte> Key => Current.Key;

    /// <summary>The value; empty if only keys were asked for.</summary>
    public ReadOnlySpan<byte> Value => State.KeysOnly ? default : Current.Value;

    /// <summary>The version at which the key was written.</summary>
    public long Version => Current.Version;

    /// <summary>When this version was first accepted, in milliseconds since 1970-01-01 UTC.</summary>
    public long ModifiedUnixMilliseconds => Current.Stamp;

    /// <summary>When the key expires, in milliseconds since 1970-01-01 UTC; 0: never.</summary>
    public long ExpiresAtUnixMilliseconds => Current.ExpiresAt;

    private ScanState State
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            ScanState? state = _state;
            if (state is null || state.Generation != _generation)
            {
                ThrowDisposed();
            }

            return state;
        }
    }

    private EngineCursor Current => State.Current;

    /// <summary>Whether both are handles of one cursor.</summary>
    public static bool operator ==(ScanCursor left, ScanCursor right) => left.Equals(right);

    /// <summary>Whether they are handles of different cursors.</summary>
    public static bool operator !=(ScanCursor left, ScanCursor right) => !left.Equals(right);

    /// <summary>Goes to the next record; false at the end (of the range, or at the limit).</summary>
    public bool MoveNext() => State.MoveNext();

    /// <summary>
    /// Moves so that the next <see cref="MoveNext"/> yields the first record at or behind <paramref name="key"/> in the
    /// direction of the scan: forward the first key that is not below it, in reverse the first that is not above it, within
    /// the bounds of the scan. Records count against the limit as they are returned. On a partition without key order: the
    /// records that come in its own order at or behind the place of the key.
    /// </summary>
    public void Seek(ReadOnlySpan<byte> key) => State.Seek(key);

    /// <summary>Closes the cursor and its snapshot.</summary>
    public void Dispose()
    {
        if (_state is { } state && state.Generation == _generation)
        {
            state.Dispose();
        }
    }

    /// <inheritdoc/>
    public bool Equals(ScanCursor other) => ReferenceEquals(_state, other._state) && _generation == other._generation;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is ScanCursor other && Equals(other);

    [DoesNotReturn]
    private static void ThrowDisposed() => throw new ObjectDisposedException(nameof(ScanCursor));

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(_state, _generation);
}
