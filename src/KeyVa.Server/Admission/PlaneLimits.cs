namespace KeyVa.Server;

/// <summary>What may come on one plane per second, all listeners together; what was not used is there to be used at once, up to a second's worth. 0: no limit. Immutable.</summary>
public sealed record PlaneLimits
{
    /// <summary>Requests of one user.</summary>
    public long UserRequests { get; init; }

    /// <summary>Requests from one address.</summary>
    public long AddressRequests { get; init; }

    /// <summary>Requests of all.</summary>
    public long TotalRequests { get; init; }

    /// <summary>Bytes of one user, received and sent.</summary>
    public long UserBytes { get; init; }

    /// <summary>Bytes from and to one address.</summary>
    public long AddressBytes { get; init; }

    /// <summary>Bytes of all.</summary>
    public long TotalBytes { get; init; }

    internal bool HasRequests => UserRequests > 0 || AddressRequests > 0 || TotalRequests > 0;

    internal bool HasBytes => UserBytes > 0 || AddressBytes > 0 || TotalBytes > 0;
}
