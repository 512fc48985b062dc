namespace KeyVa;

/// <summary>What goes with an upsert; the default value is: no expiry, no condition.</summary>
public readonly struct WriteOptions
{
    /// <summary>When the key expires. An upsert without an expiry clears an earlier one; a merge without one leaves it.</summary>
    public Expiry Expiry { get; init; }

    /// <summary>Under which condition to write.</summary>
    public Condition Condition { get; init; }

    /// <summary>When to answer. A write inside a batch or a transaction has none of its own: see <see cref="WriteBatch.Acknowledgement"/>.</summary>
    public Acknowledgement Acknowledgement { get; init; }
}
