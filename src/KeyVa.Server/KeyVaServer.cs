using System.Net;
using System.Runtime.InteropServices;
using Google.Protobuf.Reflection;
using KeyVa.Cluster;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.Grpc.Health.V1;
using KeyVa.Protocol.V1;
using KeyVa.Server.Admission;
using KeyVa.Server.Identity;
using KeyVa.Server.Resp;
using KeyVa.Server.Tls;
using KeyVa.Transactions;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace KeyVa.Server;

/// <summary>
/// A running server: one store and its front doors, each on a listener of its own. Thread-safe.
/// </summary>
/// <remarks>
/// The front doors translate and never decide: bytes in, a call on the store, bytes out.
/// 1. The store is open before the first listener is, and closed after the last one is.
/// 2. Whatever fails while starting leaves nothing open.
/// </remarks>
public sealed class KeyVaServer : IAsyncDisposable
{
    // What requests under way get to finish once the server is asked to stop.
    private static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(5);

    // immutable
    private readonly ServerOptions _options;
    private readonly ServiceProvider _services;
    private readonly ServerLog _log;
    private readonly RateSampler _rates;
    private readonly LiveConfiguration _configuration;
    private readonly RequestTracer _tracer = new();
    private readonly UserStore _users;

    // written while starting
    private readonly List<Listener> _listeners = [];
    private RespListener? _resp;
    private TlsCertificates? _certificates;
    private volatile HealthService[] _health = [];
    private ServerTelemetry? _telemetry;

    // the sampler's
    private bool _failed;
    private int _damagesShown;

    // shared, atomic
    private int _stopped;

    private KeyVaServer(ServerOptions options, Node node)
    {
        _options = options;
        Node = node;
        Store store = node.Store;
        _configuration = new LiveConfiguration(options with { Store = store.Options });
        _services = ServerLogging.Services(options, _configuration);
        _log = new ServerLog(_services.GetRequiredService<ILoggerFactory>().CreateLogger("KeyVa.Server"));
        _rates = new RateSampler(store, options.Clock, ShowFailure);
        _users = new UserStore(store.FileSystem, store.Path, options.PasswordIterations, options.Clock);
    }

    /// <summary>The configuration as it counts now, and changes of it.</summary>
    internal LiveConfiguration Configuration => _configuration;

    /// <summary>The node that is served: its store and its addresses.</summary>
    public Node Node { get; }

    /// <summary>The store that is served.</summary>
    public Store Store => Node.Store;

    /// <summary>Where REST listens.</summary>
    public IPEndPoint RestAddress => _listeners[0].Address;

    /// <summary>Where the gRPC data plane listens.</summary>
    public IPEndPoint GrpcAddress => _listeners[1].Address;

    /// <summary>Where the gRPC control plane listens.</summary>
    public IPEndPoint ControlAddress => _listeners[2].Address;

    /// <summary>Where Redis clients are listened for.</summary>
    public IPEndPoint RespAddress => _resp!.Address;

    /// <summary>Opens the store and starts to listen.</summary>
    /// <exception cref="ConfigurationException">An address cannot be listened on.</exception>
    /// <exception cref="StoreException">The data folder cannot be opened.</exception>
    public static Task<KeyVaServer> StartAsync(ServerOptions options, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        return StartAsync(options, options.Cluster.Length == 0 ? new Node(Store.Open(options.Data, options.Store)) : new Node(OpenCluster(options)), cancellation);
    }

    private static ClusterNode OpenCluster(ServerOptions options) => ClusterNode.Open(options.Data, options.Store, new ClusterOptions
    {
        Name = options.Cluster,
        Node = options.Node,
        Peers = options.Peers,
        Joins = options.ClusterJoin,
        ListenHost = options.PeerListen.Length == 0 ? null : options.PeerListen,
        KeyFile = options.PeerKeys.Length == 0 ? null : options.PeerKeys,
        ElectionTimeout = options.ElectionTimeout,
        RequestTimeout = options.RequestTimeout,
        FallsSilent = options.FallsSilent,
        LeaseReads = options.LeaseReads,
        MaxClockDriftPercent = options.MaxClockDrift,
    });

    /// <summary>Serves a store that is open, and closes it in the end.</summary>
    internal static Task<KeyVaServer> StartAsync(ServerOptions options, Store store, CancellationToken cancellation) =>
        StartAsync(options, new Node(store), cancellation);

    /// <summary>Serves a node that is open, and closes it in the end.</summary>
    internal static async Task<KeyVaServer> StartAsync(ServerOptions options, Node node, CancellationToken cancellation)
    {
        KeyVaServer server = new(options, node);
        bool started = false;
        try
        {
            await server.ListenAsync(cancellation);
            server.Node.Announce(new NodeAddresses { Rest = server.RestAddress, Data = server.GrpcAddress, Control = server.ControlAddress, Resp = server.RespAddress });
            started = true;
            return server;
        }
        finally
        {
            if (!started)
            {
                await server.DisposeAsync();
            }
        }
    }

    /// <summary>Where the server listens and what to type next, line by line; <paramref name="program"/>: how to call keyva from here.</summary>
    public IReadOnlyList<string> Banner(string program = "keyva")
    {
        StoreOptions store = Store.Options;
        return
        [
            $"KeyVa serves {Store.Path} (engine {Word(store.Engine)}, durability {Word(store.Durability)})",
            $"  REST           {Scheme("rest")}://{Shown(RestAddress)}",
            $"  gRPC data      {Shown(GrpcAddress)}",
            $"  gRPC control   {Shown(ControlAddress)}",
            $"  Redis          {Shown(RespAddress)}",
            .. Node.Cluster is { } cluster ? [$"  node {cluster.Id} of the cluster '{cluster.ClusterName}', peers on {_options.Peers[cluster.Id]}"] : Array.Empty<string>(),
            "Try, in another terminal:",
            $"  {program} set greeting hello",
            $"  {program} get greeting",
            $"  curl {Scheme("rest")}://{Shown(RestAddress)}/kv/greeting",
            "Ctrl+C stops it.",
        ];
    }

    /// <summary>Reads the files of TLS again, as SIGHUP does; what cannot be read leaves those before in use, and says so in the log.</summary>
    public void ReloadCertificates() => _certificates?.Reload();

    /// <summary>Waits until the process is asked to stop (SIGINT, SIGTERM, SIGQUIT) or the token is cancelled, then stops.</summary>
    public async Task WaitForShutdownAsync(CancellationToken cancellation = default)
    {
        TaskCompletionSource asked = new(TaskCreationOptions.RunContinuationsAsynchronously);
        void Ask(PosixSignalContext signal)
        {
            signal.Cancel = true;
            asked.TrySetResult();
        }

        void ReadCertificates(PosixSignalContext signal)
        {
            signal.Cancel = true;
            ReloadCertificates();
        }

        using (PosixSignalRegistration.Create(PosixSignal.SIGHUP, ReadCertificates))
        using (PosixSignalRegistration.Create(PosixSignal.SIGINT, Ask))
        using (PosixSignalRegistration.Create(PosixSignal.SIGTERM, Ask))
        using (PosixSignalRegistration.Create(PosixSignal.SIGQUIT, Ask))
        await using (cancellation.Register(() => asked.TrySetResult()))
        {
            await asked.Task;
            _log.Stopping();
            await DisposeAsync();
        }
    }

    /// <summary>Stops to listen, lets requests under way finish for a few seconds, and closes the store.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _stopped, 1) != 0)
        {
            return;
        }

        foreach (HealthService health in _health)
        {
            health.Shutdown();
        }

        // They would last as long as the patience.
        Store.EndWatches();
        using (CancellationTokenSource patience = new(StopTimeout))
        {
            await Task.WhenAll([.. _listeners.Select(listener => listener.StopAsync(patience.Token)), _resp?.StopAsync(patience.Token) ?? Task.CompletedTask]);
        }

        foreach (Listener listener in _listeners)
        {
            await listener.DisposeAsync();
        }

        _telemetry?.Dispose();
        await _rates.DisposeAsync();
        await Node.DisposeAsync();
        _tracer.Dispose();
        _log.Stopped();
        await _services.DisposeAsync();
    }

    private async Task ListenAsync(CancellationToken cancellation)
    {
        await new FirstAdministrator(_users, _options, _log).EnsureAsync();
        foreach (string note in Store.RecoveryNotes)
        {
            _log.Recovered(note);
        }

        ILoggerFactory logs = _services.GetRequiredService<ILoggerFactory>();
        FailureLog failures = new(logs.CreateLogger("KeyVa.Server.Requests"));
        RequestMeter restMeter = new("rest");
        RequestMeter grpcMeter = new("grpc");
        RequestMeter respMeter = new("resp");
        RequestObserver observer = new(Store, logs, _options.Clock, _tracer);
        _configuration.Follow(observer.Configure);
        _configuration.Follow(options => Store.Change(options.Store));
        MetricList metrics = new(
            Store, _rates, [restMeter, grpcMeter, respMeter], Connections, observer.Slow);
        TransactionRegistry transactions = new(Store);
        ConsistentReads reads = new(Node);
        LeaderRouting leaders = new(Node);
        Authenticator authenticator = new(_users, new PasswordChecks());
        OwnPassword ownPassword = new(_users, authenticator);
        RateLimits rates = new(_options.DataLimits, _options.ControlLimits);
        AuditLog audit = new(logs);
        RestFrontDoor rest = new(Store, transactions, restMeter, observer, _configuration, metrics, failures, _users, ownPassword, reads, leaders);
        GrpcGuard guard = new(grpcMeter, observer, failures, _users, reads, leaders);
        GrpcServer data = Serve(new DataPlane(Store, transactions, guard, _options.Clock).ToService(), DataReflection.Descriptor);
        ControlPlane operators = new(Store, metrics, new OperationCalls(_configuration, observer.Slow, guard), guard, _users, ownPassword, _options.Clock);
        GrpcServer control = Serve(new ClusterControl(Node, guard).AddTo(operators.ToService()), ControlReflection.Descriptor);

        HttpGate Gate(RequestDelegate next, Func<HttpContext, Permission> find, bool isGrpc) =>
            new(authenticator, NewLimits(), rates, audit, find, isGrpc) { Next = next };
        TlsCertificates? certificates = _certificates = _options.Tls.IsOn ? new TlsCertificates(_options.Tls, _log) : null;
        TlsCertificates? CertificatesOf(string name) => _options.Tls.Listeners.Contains(name) ? certificates : null;
        ListenerPlan[] plans =
        [
            new("rest", "rest-listen", _options.RestListen, HttpProtocols.Http1, Gate(rest.HandleAsync, PermissionOfRest, isGrpc: false), CertificatesOf("rest")),
            new("grpc", "grpc-listen", _options.GrpcListen, HttpProtocols.Http2, Gate(data.HandleAsync, PermissionOfGrpc, isGrpc: true), CertificatesOf("grpc")),
            new("control", "control-listen", _options.ControlListen, HttpProtocols.Http2, Gate(control.HandleAsync, PermissionOfGrpc, isGrpc: true), CertificatesOf("control")),
        ];
        foreach (ListenerPlan plan in plans)
        {
            Listener listener = await Listener.StartAsync(plan, _services, cancellation);
            _listeners.Add(listener);
            string shown = Shown(listener.Address);
            _log.Listening(plan.Name, shown);
            WarnIfUnencrypted(plan.Name, listener.Address);
        }

        RespDoor resp = new(Store, _options, failures, observer, respMeter, _configuration, authenticator, _users, ownPassword, rates, audit)
        {
            Cluster = Node.Cluster,
            ConfirmsReads = Node.Cluster is not null && !_options.RespReadsLocal,
        };
        _resp = RespListener.Start(resp, _options, CertificatesOf(RespListener.Name), _log);
        string address = Shown(_resp.Address);
        _log.Listening(RespListener.Name, address);
        WarnIfUnencrypted(RespListener.Name, _resp.Address);
        _telemetry = new ServerTelemetry(_options.Telemetry, metrics, $"{Dns.GetHostName()}:{RestAddress.Port}");
    }

    private void WarnIfUnencrypted(string listener, IPEndPoint address)
    {
        if (!IPAddress.IsLoopback(address.Address) && Scheme(listener) == "http")
        {
            _log.Unencrypted(listener);
        }
    }

    private ConnectionLimits NewLimits() =>
        new(_options.MaxConnections, _options.MaxAddressConnections, _options.MaxInFlight, _options.MaxAddressInFlight);

    private static Permission PermissionOfRest(HttpContext http) =>
        RestPermissions.Find(http.Request.Method, RestTarget.Split(http.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget));

    private static Permission PermissionOfGrpc(HttpContext http) =>
        PermissionTable.OfGrpc(http.Request.Path.Value ?? "") ?? PermissionTable.NoSuchOperation;

    private IEnumerable<(string Name, int Connections)> Connections() =>
        [.. _listeners.Select(static one => (one.Name, one.Connections)), (RespListener.Name, _resp?.Connections ?? 0)];

    // A store that takes no writes any more is not serving, whatever it can still read.
    private void ShowFailure()
    {
        foreach (CorruptionException damage in Store.ScrubDamages.Skip(_damagesShown))
        {
            _damagesShown++;
            _log.Damaged(damage.File, damage.Offset, damage.Detail);
        }

        if (Store.Failure is { } failure && !_failed)
        {
            _failed = true;
            _log.Failed(failure);
            foreach (HealthService health in _health)
            {
                health.Set("", serving: false);
                health.Set(health == _health[0] ? Methods.DataPlane : Methods.ControlPlane, serving: false);
            }
        }
    }

    // Health and reflection stand beside each service, on its own listener.
    private GrpcServer Serve(GrpcService service, FileDescriptor file)
    {
        HealthService health = new();
        health.Set(service.Name, serving: true);
        _health = [.. _health, health];
        List<GrpcService> services = [service, health.ToService()];
        ReflectionService reflection = new(services, file, HealthReflection.Descriptor);
        return new GrpcServer([.. services, .. reflection.ToServices()]);
    }

    private static string Shown(IPEndPoint address) =>
        address.Address.Equals(IPAddress.IPv6Any) || address.Address.Equals(IPAddress.Any)
            ? $"{Dns.GetHostName()}:{address.Port}"
            : address.ToString();

    private string Scheme(string listener) => _options.Tls.IsOn && _options.Tls.Listeners.Contains(listener) ? "https" : "http";

    private static string Word(EngineKind engine) => engine == EngineKind.Memory ? "memory" : "lsm";

    private static string Word(Durability durability) => durability switch
    {
        Durability.Always => "always",
        Durability.Interval => "interval",
        _ => "os",
    };
}
