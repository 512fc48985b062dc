namespace KeyVa.Server.Admission;

/// <summary>A rate: so many a second, and so many at once. Immutable.</summary>
internal sealed record RateOptions
{
    /// <summary>0: no limit.</summary>
    public long PerSecond { get; init; }

    /// <summary>What may come at once; 0: as much as a second brings.</summary>
    public long Burst { get; init; }

    public bool IsLimited => PerSecond > 0;
}
