using KeyVa.Cluster;
using KeyVa.Partitions;

namespace KeyVa.Server;

/// <summary>
/// How fresh what a request reads must be, where partitions are replicated: as it says in <c>KeyVa-Consistency</c> (REST) or
/// <c>keyva-consistency</c> (gRPC), else linearizable. A store that lives on one node is always as fresh as can be. Thread-safe.
/// </summary>
internal sealed class ConsistentReads(Node node)
{
    internal const string Header = "keyva-consistency";

    /// <summary>Whether a request has to ask at all.</summary>
    public bool AreNeeded => node.Cluster is not null;

    /// <summary>Waits until reads of these partitions may begin.</summary>
    public ValueTask<Status> AwaitAsync(Consistency consistency, TouchedPartitions touched, CancellationToken cancellation) =>
        node.Cluster is not { } cluster || consistency.IsLocal
            ? ValueTask.FromResult(Status.Ok)
            : cluster.ConfirmReadsAsync(touched.Ids, consistency.MaxStaleness, cancellation);

    /// <summary>For finding out what a request reads.</summary>
    public TouchedPartitions Touch() => node.Store.Touch();

    /// <summary>What to say of a status that is not Ok.</summary>
    public static string Detail(Status status) => status == Status.Busy
        ? "too many reads wait for the partition's leader; try again in a moment"
        : "no leader could confirm in time that this node's copy is up to date; try again, or ask for consistency local";
}

/// <summary>A freshness that a request asks for; the default value is linearizable. Immutable.</summary>
/// <param name="IsLocal">What the node has, however old.</param>
/// <param name="MaxStaleness">What was acknowledged so long before may be missing; null: nothing may.</param>
internal readonly record struct Consistency(bool IsLocal, TimeSpan? MaxStaleness)
{
    private const string Linearizable = "linearizable";
    private const string Local = "local";
    private const string Staleness = "max-staleness=";

    internal const string Malformed = "the consistency asked for is not known; it is linearizable, local, or max-staleness=TIME such as max-staleness=500ms";

    /// <summary>What a request says of it; false: nothing that is known.</summary>
    public static bool TryRead(string? header, out Consistency consistency)
    {
        consistency = new Consistency(header == Local, null);
        if (string.IsNullOrEmpty(header) || header is Linearizable or Local)
        {
            return true;
        }

        if (!header.StartsWith(Staleness, StringComparison.Ordinal) || !Units.TryParseDuration(header.AsSpan(Staleness.Length), "", out long milliseconds))
        {
            return false;
        }

        consistency = new Consistency(false, TimeSpan.FromMilliseconds(milliseconds));
        return true;
    }
}
