using System.Collections.Immutable;
using System.Net;
using KeyVa.Cluster;
using KeyVa.Server.Identity;
using Microsoft.Extensions.Logging;

namespace KeyVa.Server;

/// <summary>How a first administrator comes to be where there are no users.</summary>
public enum InitialAdmin
{
    /// <summary>Not by itself: <c>keyva admin user add</c> makes one, over loopback.</summary>
    None,

    /// <summary>The user <c>admin</c> with a token in the file ADMIN-TOKEN of the data folder, until it has another credential.</summary>
    Token,
}

/// <summary>
/// How a server runs. Immutable; the defaults are those of <see cref="SettingsSchema"/>, which is also the way to get one
/// from a file, the environment and flags (<see cref="ServerConfiguration.Load"/>).
/// </summary>
public sealed record ServerOptions
{
    /// <summary>The data folder. Default: <c>./data</c>.</summary>
    public string Data { get; init; } = "./data";

    /// <summary>How the store is opened. Default: as an embedded one, but that changes are always kept for those who watch.</summary>
    public StoreOptions Store { get; init; } = new() { WatchHistoryAlways = true };

    /// <summary>Where REST listens. Default: 127.0.0.1:7400. Port 0 takes any free port.</summary>
    public IPEndPoint RestListen { get; init; } = new(IPAddress.Loopback, 7400);

    /// <summary>Where the gRPC data plane listens. Default: 127.0.0.1:7401.</summary>
    public IPEndPoint GrpcListen { get; init; } = new(IPAddress.Loopback, 7401);

    /// <summary>Where the gRPC control plane listens. Default: 127.0.0.1:7402.</summary>
    public IPEndPoint ControlListen { get; init; } = new(IPAddress.Loopback, 7402);

    /// <summary>Where Redis clients are listened for. Default: 127.0.0.1:7403.</summary>
    public IPEndPoint RespListen { get; init; } = new(IPAddress.Loopback, 7403);

    /// <summary>Connections of Redis clients that are open at once; the next one is told so and closed. Default: 10,000.</summary>
    public int RespMaxClients { get; init; } = 10_000;

    /// <summary>A Redis client that sends nothing for so long is cut off, unless it is subscribed. Default: zero, never.</summary>
    public TimeSpan RespIdleTimeout { get; init; }

    /// <summary>In a cluster, Redis clients read what the node has, however old, instead of everything that was acknowledged before. Default: false.</summary>
    public bool RespReadsLocal { get; init; }

    /// <summary>The longest command of a Redis client in bytes; one value of the largest size always fits. Default: 16 MiB.</summary>
    public int RespMaxRequestBytes { get; init; } = 16 << 20;

    /// <summary>Threads that serve Redis clients; 0: half as many as there are processors, at least one. Default: 0.</summary>
    public int RespThreads { get; init; }

    /// <summary>The cluster that the server is a node of; empty: it is alone.</summary>
    public string Cluster { get; init; } = "";

    /// <summary>The server's number in its cluster.</summary>
    public int Node { get; init; }

    /// <summary>Where the cluster's nodes listen for each other, by number, this one among them.</summary>
    public IReadOnlyDictionary<long, ClusterPeer> Peers { get; init; } = new Dictionary<long, ClusterPeer>();

    /// <summary>At the first start: the server waits to be added to its cluster. Default: it is one of the first nodes.</summary>
    public bool ClusterJoin { get; init; }

    /// <summary>The address to listen on for peers where it is not the one that they are told; empty: that one.</summary>
    public string PeerListen { get; init; } = "";

    /// <summary>The file with the keys by which nodes know each other; empty: none, on loopback alone.</summary>
    public string PeerKeys { get; init; } = "";

    /// <summary>The shortest silence of a leader after which another is elected.</summary>
    public TimeSpan ElectionTimeout { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Whether partitions that nobody asks anything of do without heartbeats of their own.</summary>
    public bool FallsSilent { get; init; } = true;

    /// <summary>Whether leaders answer linearizable reads by lease.</summary>
    public bool LeaseReads { get; init; }

    /// <summary>How much faster one node's clock may go than another's, in percent.</summary>
    public int MaxClockDrift { get; init; } = 10;

    /// <summary>How long a write waits for a leader, or for its result.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Connections that one listener has open at once. Default: 10,000.</summary>
    public int MaxConnections { get; init; } = 10_000;

    /// <summary>Connections that one address (of IPv6: one network of 64 bits) has open at one listener. Default: 10,000.</summary>
    public int MaxAddressConnections { get; init; } = 10_000;

    /// <summary>Requests under way at once at one listener, streams among them. Default: 100,000.</summary>
    public int MaxInFlight { get; init; } = 100_000;

    /// <summary>Requests of one address under way at once at one listener. Default: 100,000.</summary>
    public int MaxAddressInFlight { get; init; } = 100_000;

    /// <summary>TLS of the listeners. Default: none.</summary>
    public TlsOptions Tls { get; init; } = new();

    /// <summary>How much may come for keys. Default: no limits.</summary>
    public PlaneLimits DataLimits { get; init; } = new();

    /// <summary>How much may come for the control plane. Default: 50 requests a second of a user and of an address, 200 of all.</summary>
    public PlaneLimits ControlLimits { get; init; } = new() { UserRequests = 50, AddressRequests = 50, TotalRequests = 200 };

    /// <summary>Iterations of PBKDF2 for new passwords. Default: 210,000.</summary>
    public int PasswordIterations { get; init; } = PasswordHash.DefaultIterations;

    /// <summary>How a first administrator comes to be where there are no users. Default: not at all.</summary>
    public InitialAdmin InitialAdmin { get; init; }

    /// <summary>The file with the password of the first administrator; empty: none.</summary>
    public string AdminPasswordFile { get; init; } = "";

    /// <summary>
    /// How long a Redis client may leave a command unfinished, take nothing of what is sent, or not say who it is where that has to be said.
    /// </summary>
    internal TimeSpan RespPatience { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>The password of the first administrator, as the environment has it; null: it has none.</summary>
    internal string? AdminPassword { get; init; }

    /// <summary>The least important messages that are still logged. Default: information.</summary>
    public LogLevel LogLevel { get; init; } = LogLevel.Information;

    /// <summary>Logs, metrics and traces.</summary>
    public TelemetryOptions Telemetry { get; init; } = new();

    /// <summary>Where values come from that are not the defaults, by setting; see <see cref="EffectiveSetting.All"/>.</summary>
    public ImmutableDictionary<string, SettingSource> Sources { get; init; } = ImmutableDictionary<string, SettingSource>.Empty;

    /// <summary>Where logs go; null: to the standard error stream, from <see cref="LogLevel"/> on.</summary>
    public ILoggerFactory? Logs { get; init; }

    /// <summary>The clock of everything but latencies.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}
