namespace KeyVa.Protocol.Grpc;

/// <summary>How a channel connects. Immutable.</summary>
public sealed class GrpcChannelOptions
{
    /// <summary>Largest response message taken, in bytes, also after inflation; more is RESOURCE_EXHAUSTED.</summary>
    public int MaxReceiveBytes { get; init; } = GrpcServiceOptions.DefaultMaxReceiveBytes;

    /// <summary>How long to wait for a connection before the call is UNAVAILABLE.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How often a connection with calls on it is checked by an HTTP/2 ping.</summary>
    public TimeSpan KeepAlivePingDelay { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Last changes to the handler below: certificates, proxies, limits of the pool.</summary>
    public Action<SocketsHttpHandler>? ConfigureHandler { get; init; }
}

/// <summary>What one call brings along. Immutable; one instance may serve many calls.</summary>
public sealed class GrpcCallOptions
{
    /// <summary>How long the call may take; the server is told, and the client enforces it. Null: for ever.</summary>
    public TimeSpan? Timeout { get; init; }

    /// <summary>Metadata to send.</summary>
    public GrpcMetadata? Metadata { get; init; }

    /// <summary>Whether requests are compressed with gzip.</summary>
    public bool GzipRequests { get; init; }
}
