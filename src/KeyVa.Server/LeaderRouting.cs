using System.Globalization;
using KeyVa.Cluster;
using KeyVa.Partitions;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;

namespace KeyVa.Server;

/// <summary>
/// What becomes of a request in whose partitions another node leads. As a rule this node serves it all the same: it hands writes to the leader, and asks it before reads. Who would rather
/// go to the leader says <c>KeyVa-Forward: no</c> (REST) or <c>keyva-forward: no</c> (gRPC), and is told where it is. Thread-safe.
/// </summary>
/// <remarks>Leaders change at any time: that this node led when it looked does not keep a request from being handed on.</remarks>
internal sealed class LeaderRouting(Node node)
{
    internal const string Header = "keyva-forward";
    internal const string LeaderTrailer = "keyva-leader";
    internal const string LeaderHeader = "KeyVa-Leader";

    internal const string Malformed = "keyva-forward is neither 'yes' nor 'no'";

    private const string Forwards = "yes";
    private const string StaysHere = "no";

    /// <summary>What a request says of it, or does not; false: nothing that is known.</summary>
    public static bool TryRead(StringValues header, out bool forwards)
    {
        forwards = header.Count == 0 || header == Forwards;
        return forwards || header == StaysHere;
    }

    /// <summary>
    /// For a request of REST whose body says which partitions it is about: why it is not served here; null: it is. What it says of being forwarded was read before.
    /// </summary>
    public Problem? Refuse(HttpContext context, Action<TouchedPartitions> touch)
    {
        if (node.Cluster is null || context.Request.Headers[Header] != StaysHere)
        {
            return null;
        }

        TouchedPartitions touched = node.Store.Touch();
        touch(touched);
        return Find(touched) is { } elsewhere ? Problem.Elsewhere(elsewhere) : null;
    }

    /// <summary>The first of the partitions that this node does not lead; null: it leads all of them, or they are not replicated.</summary>
    public Elsewhere? Find(TouchedPartitions touched)
    {
        ClusterNode cluster = node.Cluster!;
        foreach (long partition in touched.Ids)
        {
            if (cluster.Replicates(partition) && cluster.LeaderOf(partition) is var leader && leader != cluster.Id)
            {
                return new Elsewhere(partition, leader, leader == 0 ? null : cluster.AddressesOf(leader));
            }
        }

        return null;
    }
}

/// <summary>Where a partition is led that this node does not lead. Immutable.</summary>
/// <param name="Partition">The partition's number.</param>
/// <param name="Leader">The node; 0: none that is known.</param>
/// <param name="Known">How it is reached; null: not known.</param>
internal sealed record Elsewhere(long Partition, long Leader, AddressBook.Entry? Known)
{
    public Status Status => Leader == 0 ? Status.Unavailable : Status.BadNode;

    /// <summary>As <c>node=2, rest=127.0.0.1:7410, grpc=...</c>, with what is known; empty: nobody leads.</summary>
    public string Address => Leader == 0
        ? ""
        : string.Join(", ", Doors.Select(static door => $"{door.Name}={door.Address}").Prepend(string.Create(CultureInfo.InvariantCulture, $"node={Leader}")));

    /// <summary>The node's front doors of which it is known where they are.</summary>
    public IEnumerable<(string Name, string Address)> Doors =>
        Known is null ? [] : new[] { ("rest", Known.Rest), ("grpc", Known.Data), ("control", Known.Control), ("resp", Known.Resp) }.Where(static door => door.Item2.Length > 0);

    public string Detail => Leader == 0
        ? string.Create(CultureInfo.InvariantCulture, $"nobody is known to lead partition {Partition} at the moment; try again")
        : Known is null
            ? string.Create(CultureInfo.InvariantCulture, $"node {Leader} leads partition {Partition}; where it is reached is not known here yet")
            : string.Create(CultureInfo.InvariantCulture, $"node {Leader} leads partition {Partition}; it is reached at {Known.Rest} (REST), {Known.Data} (gRPC), {Known.Resp} (Redis protocol)");
}
