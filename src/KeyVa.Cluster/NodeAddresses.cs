using System.Net;

namespace KeyVa.Cluster;

/// <summary>Where a node listens, as it tells its clients and, in a cluster, its peers. Immutable.</summary>
public sealed record NodeAddresses
{
    /// <summary>REST and console.</summary>
    public required EndPoint Rest { get; init; }

    /// <summary>gRPC data plane.</summary>
    public required EndPoint Data { get; init; }

    /// <summary>gRPC control plane.</summary>
    public required EndPoint Control { get; init; }

    /// <summary>Redis clients.</summary>
    public required EndPoint Resp { get; init; }
}
