using KeyVa.Engines;
using KeyVa.Indexes;
using KeyVa.Merges;

namespace KeyVa.Partitions;

/// <summary>
/// What the log of a partition has led to: the engine, and whoever follows its changes (indexes, watches). Everything that is
/// applied goes through here, replayed or new.
/// </summary>
/// <remarks>
/// Thread-safety: writer only, but for <see cref="Engine"/> and <see cref="Follow"/>, which any thread may use while it holds the
/// writer's role or before the partition is opened. Invariant: a follower hears of a change before the engine holds it,
/// so that it can still read what the change replaces; and of the end of a group before readers see the group.
/// </remarks>
internal sealed class PartitionState(Engine engine, MergeRegistry functions)
{
    private ChangeFollower[] _followers = [];

    private IndexConstraints? _constraints;

    public Engine Engine { get; } = engine;

    /// <summary>What merges come to between the check of a command and its writing.</summary>
    public MergeEvaluator Merges { get; } = new(functions);

    /// <summary>The partition's indexes; null where there are none to be (a store that is being repaired).</summary>
    public PartitionIndexes? Indexes { get; set; }

    /// <summary>As <see cref="Engine.Admit"/>, of all that the group goes to.</summary>
    public TimeSpan Admit(long bytes)
    {
        TimeSpan delay = Engine.Admit(bytes);
        if (_followers.Length == 0 || Indexes is null)
        {
            return delay;
        }

        TimeSpan indexes = Indexes.Admit(bytes);
        return indexes > delay ? indexes : delay;
    }

    /// <summary>
    /// Whether the indexes let a command be applied whose conditions hold and whose merges are evaluated; if not, the outcome says why.
    /// Nothing is changed.
    /// </summary>
    public bool Allows(ReadOnlySpan<byte> command, long version, long stamp, ref CommandOutcome outcome)
    {
        if (_followers.Length == 0 || Indexes is null || !IndexConstraints.Any(Indexes.All))
        {
            return true;
        }

        _constraints ??= new IndexConstraints();
        return _constraints.Allow(Indexes.All, Merges, command, version, stamp, ref outcome);
    }

    /// <summary>Role held: from the next command on, the follower hears of every change.</summary>
    public void Follow(ChangeFollower follower) => _followers = [.. _followers, follower];

    /// <summary>Role held: it hears of no more.</summary>
    public void Unfollow(ChangeFollower follower) => _followers = [.. _followers.Where(other => other != follower)];

    public void Put(ReadOnlySpan<byte> key, long version, long stamp, long expiresAt, ReadOnlySpan<byte> value)
    {
        foreach (ChangeFollower follower in _followers)
        {
            follower.OnPut(key, version, stamp, expiresAt, value);
        }

        Engine.Put(key, version, stamp, expiresAt, value);
    }

    public void Remove(ReadOnlySpan<byte> key, long version, long stamp)
    {
        foreach (ChangeFollower follower in _followers)
        {
            follower.OnRemove(key, version, stamp);
        }

        Engine.Remove(key, version, stamp);
    }

    public void RemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version, long stamp)
    {
        foreach (ChangeFollower follower in _followers)
        {
            follower.OnRemoveRange(from, to, version, stamp);
        }

        Engine.RemoveRange(from, to, version, stamp);
    }

    /// <summary>Changes one of the partition's own settings. Throws <see cref="StoreException"/> for one that this build does not know: it would not do what others do.</summary>
    public void Set(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        if (!Engine.Settings.TrySet(name, value))
        {
            throw SettingsTable.Unknown(System.Text.Encoding.UTF8.GetString(name), System.Text.Encoding.UTF8.GetString(value));
        }
    }

    /// <summary>A bulk load has put its records into the engine, past everything else.</summary>
    public void Load(long version, long stamp)
    {
        foreach (ChangeFollower follower in _followers)
        {
            follower.OnLoad(version, stamp);
        }
    }

    /// <summary>Versions that were under way are visible, or were given up, or will never be.</summary>
    public void EndVersions()
    {
        foreach (ChangeFollower follower in _followers)
        {
            follower.OnEndVersions();
        }
    }

    public void EndGroup(long index, long version, long stamp)
    {
        foreach (ChangeFollower follower in _followers)
        {
            follower.OnEndGroup(index, version, stamp);
        }

        Engine.EndGroup(index, version, stamp);
    }
}

/// <summary>
/// Hears what really changes in a partition, in log order: a command whose condition fails is no change. Called by the partition's
/// writer, which waits: a follower does little, and never blocks. Spans are valid during the call.
/// </summary>
internal abstract class ChangeFollower
{
    public abstract void OnPut(ReadOnlySpan<byte> key, long version, long stamp, long expiresAt, ReadOnlySpan<byte> value);

    /// <summary>A tombstone; of a blind removal also where no key was.</summary>
    public abstract void OnRemove(ReadOnlySpan<byte> key, long version, long stamp);

    /// <summary>Of every key of [from, to) whose newest version is below <paramref name="version"/>; empty bounds are open.</summary>
    public abstract void OnRemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version, long stamp);

    /// <summary>
    /// A bulk load: records of this version, which no other call tells of, are in the engine and about to become visible. Told behind the
    /// fact, since nothing of it goes through memory.
    /// </summary>
    public virtual void OnLoad(long version, long stamp)
    {
    }

    /// <summary>The partition's closed version may have risen, or the partition has stopped.</summary>
    public virtual void OnEndVersions()
    {
    }

    /// <summary>Everything up to <paramref name="version"/> is applied and about to become visible.</summary>
    public abstract void OnEndGroup(long index, long version, long stamp);
}
