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

    private const string Linearizable = "linearizable";
    private const string Local = "local";
    private const string MaxStaleness = "max-staleness=";

    internal const string Allowed = "linearizable, local, or max-staleness=TIME such as max-staleness=500ms";

    /// <summary>Whether a request has to ask at all.</summary>
    public bool AreNeeded => node.Cluster is not null;

    /// <summary>Waits until reads of these partitions may begin. <see cref="Status.Invalid"/>: the text is none of <see cref="Allowed"/>.</summary>
    public ValueTask<Status> AwaitAsync(string? consistency, TouchedPartitions touched, CancellationToken cancellation)
    {
        if (node.Cluster is not { } cluster || consistency == Local)
        {
            return ValueTask.FromResult(Status.Ok);
        }

        if (string.IsNullOrEmpty(consistency) || consistency == Linearizable)
        {
            return cluster.ConfirmReadsAsync(touched.Ids, null, cancellation);
        }

        return consistency.StartsWith(MaxStaleness, StringComparison.Ordinal) && Units.TryParseDuration(consistency.AsSpan(MaxStaleness.Length), "", out long milliseconds)
            ? cluster.ConfirmReadsAsync(touched.Ids, TimeSpan.FromMilliseconds(milliseconds), cancellation)
            : ValueTask.FromResult(Status.Invalid);
    }

    /// <summary>For finding out what a request reads.</summary>
    public TouchedPartitions Touch() => node.Store.Touch();

    /// <summary>What to say of a status that is not Ok.</summary>
    public static string Detail(Status status) => status switch
    {
        Status.Invalid => $"the consistency asked for is not known; it is {Allowed}",
        Status.Busy => "too many reads wait for the partition's leader; try again in a moment",
        _ => "no leader could confirm in time that this node's copy is up to date; try again, or ask for consistency local",
    };
}
