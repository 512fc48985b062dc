namespace KeyVa.Client;

/// <summary>How a client talks to its server. Immutable.</summary>
public sealed record RemoteOptions
{
    /// <summary>What the client proves itself with; null: nothing, or by its certificate (<see cref="Tls"/>).</summary>
    public RemoteCredentials? Credentials { get; init; }

    /// <summary>For <c>https://</c> addresses: how the server is known, and the client's own certificate; null: as the system knows servers.</summary>
    public RemoteTls? Tls { get; init; }

    /// <summary>How long a call may take until its answer is there. Default: 30 s.</summary>
    public TimeSpan Deadline { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a stream (a scan, a snapshot) or rolling back may take as a whole. Default: 24 h.</summary>
    public TimeSpan StreamDeadline { get; init; } = TimeSpan.FromHours(24);

    /// <summary>
    /// The server's control plane, which creates and drops indexes; null: the port behind that of the data plane, as servers are configured by default.
    /// </summary>
    public ServerAddress? Control { get; init; }

    /// <summary>How long to wait for a connection. Default: 5 s.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// How often a connection that is refused is tried again before the call fails; a call that found no connection has
    /// sent nothing, so this is safe for writes too. Default: 3.
    /// </summary>
    public int ConnectRetries { get; init; } = 3;

    /// <summary>
    /// How often a write is sent again of which it is not known whether it was done, since its connection or its leader was lost. It is done once: the client sends its writes in
    /// sessions, which nodes of a cluster open; to a server that is alone no write is sent twice. Not for transactions, nor for writes over several partitions. 0: no sessions. Default: 5.
    /// </summary>
    public int WriteRetries { get; init; } = 5;

    /// <summary>
    /// Whether a node of a cluster serves what another node leads, which takes one more way between nodes for a write, and for a linearizable read. If not, such a request is refused as
    /// <see cref="Status.BadNode"/>, and the message says where the leader is reached; nobody is asked there. Requests without keys (transactions, queries of indexes, bulk loads) are served anyway.
    /// Default: true.
    /// </summary>
    public bool Forwards { get; init; } = true;

    /// <summary>How often a read that lost its connection is sent again. Default: 2.</summary>
    public int ReadRetries { get; init; } = 2;

    /// <summary>The pause before the first retry; it doubles with each further one, and varies by half. Default: 50 ms.</summary>
    public TimeSpan RetryPause { get; init; } = TimeSpan.FromMilliseconds(50);

    /// <summary>The longest answer taken: a value of the largest size a server can be configured to. Default: 68 MiB.</summary>
    public int MaxReceiveBytes { get; init; } = 68 << 20;
}
