using KeyVa.Partitions;

namespace KeyVa.Simulation.Cluster;

/// <summary>
/// What an entry of the log has done to one replica of a partition, as one number: every change that the engine was given, version and stamp behind it, what is prepared and
/// decided of commits over several partitions, and the partition's own settings.
/// </summary>
internal sealed class ReplicaChanges : ChangeFollower
{
    /// <summary>Of an entry that was not applied: nothing was changed, and nothing ended.</summary>
    public const ulong None = 0;

    private PartitionState? _state;
    private ulong _digest;

    private enum Change : byte
    {
        Put = 1,
        Remove,
        RemoveRange,
        End,
    }

    /// <summary>From here on it hears of what is applied to this state; false: it does already. What was heard of another is forgotten.</summary>
    public bool Follow(PartitionState state)
    {
        if (_state == state)
        {
            return false;
        }

        _state = state;
        _digest = None;
        state.Follow(this);
        return true;
    }

    /// <summary>What was done since the last call.</summary>
    public ulong Take()
    {
        ulong digest = _digest;
        _digest = None;
        if (digest == None)
        {
            return digest;
        }

        digest = _state!.Engine.Commits.IsEmpty ? digest : XxHash64.Compute(_state.Engine.Commits.Capture(), digest);
        return XxHash64.Compute(_state.Engine.Settings.Capture(), digest);
    }

    public override void OnPut(ReadOnlySpan<byte> key, long version, long stamp, long expiresAt, ReadOnlySpan<byte> value)
    {
        Add(Change.Put, version, stamp, expiresAt);
        Add(key);
        Add(value);
    }

    public override void OnRemove(ReadOnlySpan<byte> key, long version, long stamp)
    {
        Add(Change.Remove, version, stamp, 0);
        Add(key);
    }

    public override void OnRemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version, long stamp)
    {
        Add(Change.RemoveRange, version, stamp, 0);
        Add(from);
        Add(to);
    }

    public override void OnEndGroup(long index, long version, long stamp) => Add(Change.End, version, stamp, index);

    private void Add(Change what, long version, long stamp, long number) =>
        Add(System.Runtime.InteropServices.MemoryMarshal.AsBytes<long>([(long)what, version, stamp, number]));

    private void Add(ReadOnlySpan<byte> bytes) => _digest = XxHash64.Compute(bytes, _digest);
}
