using KeyVa.Engines;
using KeyVa.Partitions;

namespace KeyVa.Watches;

/// <summary>
/// The changes of one partition, as far back as <see cref="ChangeMemory"/> has room: copies in native memory, by rising version.
/// </summary>
/// <remarks>
/// Thread-safety: as a follower it is called by the partition's writer. Readers use cursors. Invariants.
/// 1. Everything above <see cref="Floor"/> and up to <see cref="PublishedVersion"/> is in the chunks.
/// 2. A group that was never ended (its partition stopped in its midst) is above the published version for ever.
/// </remarks>
internal sealed unsafe class ChangeLog(Partition partition, WatchHub hub, ChangeMemory memory) : ChangeFollower
{
    private const int Alignment = 8;

    private long _floor;
    private long _publishedVersion;

    // Under the lock of the memory; the last chunk is the writer's.
    internal ChangeChunk? First;
    internal ChangeChunk? Last;

    public Partition Partition { get; } = partition;

    public ChangeMemory Memory => memory;

    /// <summary>Whether its partition takes no more writes; the hub's, under its lock.</summary>
    public bool HasStopped { get; set; }

    /// <summary>Changes up to this version may be missing.</summary>
    public long Floor => Volatile.Read(ref _floor);

    /// <summary>The version of the last group that was ended.</summary>
    public long PublishedVersion => Volatile.Read(ref _publishedVersion);

    public void RaiseFloor(long version) => Volatile.Write(ref _floor, Math.Max(_floor, version));

    public override void OnPut(ReadOnlySpan<byte> key, long version, long stamp, long expiresAt, ReadOnlySpan<byte> value)
    {
        PreviousFilter? filter = hub.PreviousFilter;
        if (filter is null || !filter.Contains(key))
        {
            Append(ChangeKind.Put, key, version, stamp, expiresAt, value, WatchEvent.UnknownVersion, default);
        }
        else
        {
            AppendWithPrevious(ChangeKind.Put, key, version, stamp, expiresAt, value);
        }
    }

    public override void OnRemove(ReadOnlySpan<byte> key, long version, long stamp)
    {
        PreviousFilter? filter = hub.PreviousFilter;
        if (filter is null || !filter.Contains(key))
        {
            Append(ChangeKind.Remove, key, version, stamp, 0, default, WatchEvent.UnknownVersion, default);
        }
        else
        {
            AppendWithPrevious(ChangeKind.Remove, key, version, stamp, 0, default);
        }
    }

    public override void OnRemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version, long stamp) =>
        Append(ChangeKind.RemoveRange, from, version, stamp, 0, to, WatchEvent.UnknownVersion, default);

    public override void OnLoad(long version, long stamp)
    {
        hub.PinLoad(this, version, stamp);
        Append(ChangeKind.Load, default, version, stamp, 0, default, WatchEvent.UnknownVersion, default);
    }

    public override void OnEndGroup(long index, long version, long stamp) => Volatile.Write(ref _publishedVersion, version);

    public override void OnEndVersions() => hub.Signal();

    private void AppendWithPrevious(ChangeKind kind, ReadOnlySpan<byte> key, long version, long stamp, long expiresAt, ReadOnlySpan<byte> value)
    {
        bool found;
        ValueLease lease;
        try
        {
            found = Partition.Engine.TryGet(key, ReadVersion.Newest, out lease);
        }
        catch (StoreException)
        {
            // Damage of the old value hinders nobody from writing a new one: its watchers are told that it is unknown.
            Append(kind, key, version, stamp, expiresAt, value, WatchEvent.UnknownVersion, default);
            return;
        }

        using (lease)
        {
            bool existed = found && (lease.ExpiresAtUnixMilliseconds == 0 || lease.ExpiresAtUnixMilliseconds > stamp);
            Append(kind, key, version, stamp, expiresAt, value, existed ? lease.Version : 0, existed ? lease.Value : default);
        }
    }

    private void Append(
        ChangeKind kind, ReadOnlySpan<byte> key, long version, long stamp, long expiresAt, ReadOnlySpan<byte> value, long previousVersion, ReadOnlySpan<byte> previous)
    {
        int bytes = (sizeof(ChangeHeader) + key.Length + value.Length + previous.Length + Alignment - 1) & ~(Alignment - 1);
        ChangeChunk? chunk = Last;
        if (chunk is null || chunk.Capacity - chunk.Length < bytes)
        {
            chunk = memory.Append(this, bytes, version);
        }

        byte* at = chunk.Data + chunk.Length;
        *(ChangeHeader*)at = new ChangeHeader
        {
            Bytes = bytes,
            KeyBytes = (ushort)key.Length,
            Kind = kind,
            ValueBytes = value.Length,
            PreviousBytes = previous.Length,
            Version = version,
            Stamp = stamp,
            ExpiresAt = expiresAt,
            PreviousVersion = previousVersion,
        };
        at += sizeof(ChangeHeader);
        key.CopyTo(new Span<byte>(at, key.Length));
        value.CopyTo(new Span<byte>(at + key.Length, value.Length));
        previous.CopyTo(new Span<byte>(at + key.Length + value.Length, previous.Length));
        chunk.LastVersion = version;
        chunk.Publish(bytes);
    }
}
