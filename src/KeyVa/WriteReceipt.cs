using System.Globalization;

namespace KeyVa;

/// <summary>
/// Where a write stands in its partition's log, and how much was known of it when its caller was answered. The default value is none: the write
/// went over several partitions of one node, or nothing is known.
/// </summary>
/// <remarks>
/// Of a store that lives on one node the term is always 1, the index is that of the partition's own log, and the class is
/// <see cref="AcknowledgementClass.Sync"/>: applied, and as durable as <see cref="StoreOptions.Durability"/> says.
/// </remarks>
public readonly record struct WriteReceipt
{
    /// <summary>The partition; 0: there is no receipt.</summary>
    public long Partition { get; init; }

    /// <summary>The term of the leader that took the write; 0: not known.</summary>
    public long Term { get; init; }

    /// <summary>The index of its entry in the partition's log; 0: not known.</summary>
    public long Index { get; init; }

    /// <summary>The class that was reached, at least the one that was asked for if the write was done; <see cref="AcknowledgementClass.Default"/>: none.</summary>
    public AcknowledgementClass Class { get; init; }

    /// <summary>How many nodes are known to have it on disk, the leader among them; on one node 1 if every write is synced, else 0.</summary>
    public byte Replicas { get; init; }

    /// <summary>Whether there is one.</summary>
    public bool IsSet => Partition != 0;

    /// <summary>The class as in requests: <c>async</c>, <c>semi-sync</c>, <c>sync</c>; <c>none</c>.</summary>
    public string ClassName => Class switch
    {
        AcknowledgementClass.Async => "async",
        AcknowledgementClass.SemiSync => "semi-sync",
        AcknowledgementClass.Sync => "sync",
        _ => "none",
    };

    /// <summary>As in the REST header: <c>partition=1, term=3, index=17, class=sync, replicas=2</c>.</summary>
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"partition={Partition}, term={Term}, index={Index}, class={ClassName}, replicas={Replicas}");
}
