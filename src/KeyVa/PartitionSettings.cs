using System.Diagnostics.CodeAnalysis;

namespace KeyVa;

/// <summary>
/// What a partition has settings of its own for; what is not set goes by the store's options. They are a part of the partition's state: kept with it, and the same on all nodes of a
/// cluster. Changed by <see cref="IPartitions.SetAsync"/>. Immutable.
/// </summary>
public sealed record PartitionSettings
{
    /// <summary>The name of <see cref="Acknowledgement"/>.</summary>
    public const string AcknowledgementName = "acknowledgement";

    /// <summary>The value that ends a partition's own setting, whatever its name.</summary>
    public const string DefaultValue = "default";

    /// <summary>Nothing is set.</summary>
    internal static PartitionSettings None { get; } = new();

    /// <summary>The names that there are.</summary>
    internal static IReadOnlyList<string> Names { get; } = [AcknowledgementName];

    /// <summary>When writes to the partition are answered that do not say so themselves and can have it; <see cref="AcknowledgementClass.Default"/>: as <see cref="StoreOptions.Acknowledgement"/> says.</summary>
    public Acknowledgement Acknowledgement { get; init; }

    /// <summary>What is set: names, rising, and values as they are written.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> All => Acknowledgement.Class == AcknowledgementClass.Default
        ? []
        : [new(AcknowledgementName, Acknowledgement.ToString())];

    /// <summary>The same with one setting changed; false if there is none of the name, or the value is none for it: see <see cref="AllowedFor"/>.</summary>
    internal bool TryWith(string name, string value, [NotNullWhen(true)] out PartitionSettings? changed)
    {
        changed = null;
        if (name == AcknowledgementName)
        {
            Acknowledgement acknowledgement = default;
            if (value == DefaultValue || Acknowledgement.TryParse(value, out acknowledgement))
            {
                changed = this with { Acknowledgement = acknowledgement };
            }
        }

        return changed is not null;
    }

    /// <summary>The values that a setting may have, for a person; null if there is none of the name.</summary>
    internal static string? AllowedFor(string name) => name == AcknowledgementName
        ? $"async, semi-sync=K with 1 to {Acknowledgement.MaxReplicas} replicas, sync, {DefaultValue}"
        : null;

    /// <summary>What is set, as <c>name=value</c>, with commas in between; empty if nothing is.</summary>
    public override string ToString() => string.Join(", ", All.Select(static one => $"{one.Key}={one.Value}"));

    /// <summary>The value of a setting as the log has it; <see cref="DefaultValue"/> if it is not set.</summary>
    internal string ValueOf(string name) => All.FirstOrDefault(one => one.Key == name).Value ?? DefaultValue;
}
