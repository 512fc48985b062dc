namespace KeyVa.Cluster;

/// <summary>
/// One member of a cluster, or the only one: the store that it keeps and the addresses under which it is reached. The
/// front ends talk to the store through it, so that a store replicated over several nodes can take its place.
/// Thread-safe.
/// </summary>
public sealed class Node : IAsyncDisposable
{
    /// <summary>A node over a store that it owns from here on.</summary>
    public Node(Store store)
    {
        ArgumentNullException.ThrowIfNull(store);
        Store = store;
    }

    /// <summary>A node of a cluster, which it owns from here on.</summary>
    public Node(ClusterNode cluster)
    {
        ArgumentNullException.ThrowIfNull(cluster);
        Cluster = cluster;
        Store = cluster.Store;
    }

    /// <summary>Its part in a cluster; null: it is alone.</summary>
    public ClusterNode? Cluster { get; }

    /// <summary>The node's store.</summary>
    public Store Store { get; }

    /// <summary>Where the node listens; null until its listeners are bound.</summary>
    public NodeAddresses? Addresses { get; private set; }

    /// <summary>Notes the addresses once the listeners are bound.</summary>
    public void Announce(NodeAddresses addresses)
    {
        Addresses = addresses;
        Cluster?.Announce(addresses);
    }

    /// <summary>Closes the store.</summary>
    public ValueTask DisposeAsync() => Cluster?.DisposeAsync() ?? Store.DisposeAsync();
}
