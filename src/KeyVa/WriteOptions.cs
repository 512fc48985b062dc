namespace KeyVa;

/// <summary>What goes with an upsert; the default value is: no expiry, no condition.</summary>
public readonly struct WriteOptions
{
    /// <summary>When the key expires. An upsert without an expiry clears an earlier one; a merge without one leaves it.</summary>
    public Expiry Expiry { get; init; }

    /// <summary>Under which condition to write.</summary>
    public Condition Condition { get; init; }
}
