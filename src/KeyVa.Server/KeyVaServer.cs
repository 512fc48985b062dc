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
using Microsoft.Extensions.Logging.Console;

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
    private readonly UserStore _users;

    // written while starting
    private readonly List<Listener> _listeners = [];
    private RespListener? _resp;
    private TlsCertificates? _certificates;
    private volatile HealthService[] _health = [];

    // the sampler's
    private bool _failed;
    private int _damagesShown;

    // shared, atomic
    private int _stopped;

    private KeyVaServer(ServerOptions options, Store store)
    {
        _options = options;
        Node = new Node(store);
        _services = Services(options);
        _log = new ServerLog(_services.GetRequiredService<ILoggerFactory>().CreateLogger("KeyVa.Server"));
        _rates = new RateSampler(store, options.Clock, ShowFailure);
        _users = new UserStore(store.FileSystem, store.Path, options.PasswordIterations, options.Clock);
    }

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
        return StartAsync(options, Store.Open(options.Data, options.Store), cancellation);
    }

    /// <summary>Serves a store that is open, and closes it in the end.</summary>
    internal static async Task<KeyVaServer> StartAsync(ServerOptions options, Store store, CancellationToken cancellation)
    {
        KeyVaServer server = new(options, store);
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

        await _rates.DisposeAsync();
        await Node.DisposeAsync();
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
        MetricList metrics = new(
            Store, _rates, [restMeter, grpcMeter], Connections);
        TransactionRegistry transactions = new(Store);
        Authenticator authenticator = new(_users);
        RateLimits rates = new(_options.DataLimits, _options.ControlLimits);
        AuditLog audit = new(logs);
        RestFrontDoor rest = new(Store, transactions, restMeter, metrics, failures, _users);
        GrpcGuard guard = new(grpcMeter, failures, _users);
        GrpcServer data = Serve(new DataPlane(Store, transactions, guard, _options.Clock).ToService(), DataReflection.Descriptor);
        GrpcServer control = Serve(
            new ControlPlane(Store, metrics, guard, _users, _options.Clock).ToService(), ControlReflection.Descriptor);
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

        _resp = RespListener.Start(new RespDoor(Store, _options, failures, authenticator, _users, rates, audit), _options, CertificatesOf(RespListener.Name), _log);
        string address = Shown(_resp.Address);
        _log.Listening(RespListener.Name, address);
        WarnIfUnencrypted(RespListener.Name, _resp.Address);
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

    private static ServiceProvider Services(ServerOptions options)
    {
        ServiceCollection services = new();
        if (options.Logs is { } given)
        {
            services.AddSingleton(given);
            return services.BuildServiceProvider();
        }

        services.AddLogging(logging => logging
            .SetMinimumLevel(options.LogLevel)
            .AddFilter("Microsoft.AspNetCore", options.LogLevel > LogLevel.Warning ? options.LogLevel : LogLevel.Warning)
            .AddSimpleConsole(static console =>
            {
                console.SingleLine = true;
                console.TimestampFormat = "yyyy-MM-dd'T'HH:mm:ss.fff'Z' ";
                console.UseUtcTimestamp = true;
                console.ColorBehavior = LoggerColorBehavior.Disabled;
            }));
        // Standard output belongs to the command line.
        services.Configure<ConsoleLoggerOptions>(static console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        return services.BuildServiceProvider();
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
