namespace KeyVa.Partitions;

/// <summary>
/// One group on its way through a partition's log and engine. Its <see cref="PartitionWriter"/> has two: while one is being
/// applied the next may be logged.
/// </summary>
/// <remarks>
/// Belongs to the holder of the writer's role while the group is formed and logged, then to the thread that applies it. But
/// for <see cref="InFlight"/>, which others read.
/// </remarks>
internal sealed class WriteRound(RequestQueue queue)
{
    /// <summary><see cref="InFlight"/>: versions are about to be taken, and nobody can say which.</summary>
    public const long Undetermined = -1;

    private long _inFlight;

    /// <summary>A field, since a group is never copied.</summary>
    public WriteGroup Group = new(queue);

    public long Index { get; set; }

    public long Version { get; set; }

    public long Stamp { get; set; }

    /// <summary>When it was formed, if times are noted; 0: they are not.</summary>
    public long Formed { get; set; }

    /// <summary>See <see cref="RoundPacing.BeginApply"/>.</summary>
    public long ApplyBegun { get; set; }

    /// <summary>The first version that it has taken and that is not visible yet; 0: there is none.</summary>
    public long InFlight
    {
        get => Volatile.Read(ref _inFlight);
        set => Volatile.Write(ref _inFlight, value);
    }

    /// <summary>Whether nothing of it at or below the version is still to become visible.</summary>
    public bool IsClosed(long version) => InFlight is var first && (first == 0 || first > version);

    /// <summary>A version at or below <paramref name="newest"/> up to which everything of it is visible; 0 if that cannot be said.</summary>
    public long ClosedUpTo(long newest) => InFlight switch
    {
        0 => newest,
        Undetermined => 0,
        long first => Math.Min(newest, first - 1),
    };
}
