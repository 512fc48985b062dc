using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using KeyVa.Server.Admission;
using KeyVa.Server.Identity;
using KeyVa.Server.Tls;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Abstractions;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace KeyVa.Server;

/// <summary>What a listener is called, where it listens and what it serves.</summary>
internal sealed record ListenerPlan(string Name, string Setting, IPEndPoint Address, HttpProtocols Protocols, HttpGate Gate, TlsCertificates? Certificates);

/// <summary>
/// One front door: a Kestrel of its own on one address, so that nothing served here can be reached through another.
/// Thread-safe once started.
/// </summary>
/// <remarks>
/// Kestrel without the generic host: no routing, no middleware, no configuration but ours, and no start-up cost for them.
/// </remarks>
internal sealed class Listener : IAsyncDisposable
{
    /// <summary>The longest request line: the longest key, percent-encoded, has 24 KiB.</summary>
    internal const int MaxRequestLineBytes = 32 * 1024;

    private const int MaxHeaders = 64;
    private const int MaxHeaderBytes = 16 * 1024;
    private const int MaxStreamsPerConnection = 256;
    private static readonly TimeSpan HeadersTimeout = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan KeepAlive = TimeSpan.FromMinutes(5);

    // immutable
    private readonly KestrelServer _kestrel;
    private readonly HttpGate _gate;

    private Listener(ListenerPlan plan, IServiceProvider services)
    {
        Name = plan.Name;
        _gate = plan.Gate;
        KestrelServerOptions options = Configure(services);
        options.Listen(plan.Address, listen =>
        {
            listen.Protocols = plan.Protocols;
            listen.Use(Count);
            if (plan.Certificates is { } certificates)
            {
                SslApplicationProtocol protocol = plan.Protocols == HttpProtocols.Http2 ? SslApplicationProtocol.Http2 : SslApplicationProtocol.Http11;
                listen.Use(next => connection => TlsConnection.RunAsync(connection, certificates, protocol, next));
            }

            Endpoint = listen;
        });
        ILoggerFactory logs = services.GetRequiredService<ILoggerFactory>();
        SocketTransportFactory sockets = new(Options.Create(new SocketTransportOptions()), logs);
        _kestrel = new KestrelServer(Options.Create(options), sockets, logs);
    }

    /// <summary>What it is called in metrics and messages.</summary>
    public string Name { get; }

    /// <summary>Where it really listens.</summary>
    public IPEndPoint Address => Endpoint!.IPEndPoint!;

    /// <summary>Connections open now.</summary>
    public int Connections => _gate.Limits.Connections;

    private ListenOptions? Endpoint { get; set; }

    /// <summary>Starts to listen.</summary>
    /// <exception cref="ConfigurationException">The address cannot be listened on.</exception>
    public static async Task<Listener> StartAsync(ListenerPlan plan, IServiceProvider services, CancellationToken cancellation)
    {
        Listener listener = new(plan, services);
        bool started = false;
        try
        {
            await listener._kestrel.StartAsync(new Application(plan.Gate.HandleAsync, services), cancellation);
            started = true;
            return listener;
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            string reason = (e.GetBaseException() as SocketException)?.Message ?? e.Message;
            throw new ConfigurationException(
                $"cannot listen on {plan.Address} for {plan.Name}: {reason}; "
                + $"free the address, or choose another one with the setting '{plan.Setting}' (--{plan.Setting})", e);
        }
        finally
        {
            if (!started)
            {
                listener._kestrel.Dispose();
            }
        }
    }

    /// <summary>
    /// Takes no more connections and waits for requests under way until the token breaks them off. When it ends, no
    /// request is under way any more: Kestrel alone would leave those behind that take their time to notice. Connections
    /// are not waited for: the end of one that broke at a bad moment may never come.
    /// </summary>
    public async Task StopAsync(CancellationToken cancellation)
    {
        await _kestrel.StopAsync(cancellation);
        await _gate.Limits.StopAsync();
    }

    public ValueTask DisposeAsync()
    {
        _kestrel.Dispose();
        return ValueTask.CompletedTask;
    }

    private static KestrelServerOptions Configure(IServiceProvider services)
    {
        KestrelServerOptions options = new() { ApplicationServices = services, AddServerHeader = false };
        KestrelServerLimits limits = options.Limits;
        limits.MaxRequestLineSize = MaxRequestLineBytes;
        limits.MaxRequestHeaderCount = MaxHeaders;
        limits.MaxRequestHeadersTotalSize = MaxHeaderBytes;
        limits.RequestHeadersTimeout = HeadersTimeout;
        limits.KeepAliveTimeout = KeepAlive;
        limits.Http2.MaxStreamsPerConnection = MaxStreamsPerConnection;
        // Bodies have limits by what they carry: RequestBody on REST, the message limit on gRPC.
        limits.MaxRequestBodySize = null;
        return options;
    }

    private Microsoft.AspNetCore.Connections.ConnectionDelegate Count(Microsoft.AspNetCore.Connections.ConnectionDelegate next) =>
        async connection =>
        {
            // Those that are too many are closed as they come.
            if (_gate.Limits.TryConnect(connection.RemoteEndPoint) is not { } address)
            {
                connection.Abort();
                return;
            }

            using ConnectionSlot slot = new(_gate.Limits, address);
            HttpConnection http = new(address, _gate.Authenticator, _gate.Rates, Name == "control" ? Plane.Control : Plane.Data);
            connection.Features.Set(http);
            if (_gate.Rates.CountsBytes)
            {
                connection.Transport = new CountedPipe(connection.Transport, http.Count);
            }

            try
            {
                await next(connection);
            }
            finally
            {
                http.OweCounted();
            }
        };

    /// <summary>Gives each request to the handler. Contexts live as long as their connection or stream.</summary>
    private sealed class Application(RequestDelegate handler, IServiceProvider services) : IHttpApplication<DefaultHttpContext>
    {
        private readonly IServiceScopeFactory _scopes = services.GetRequiredService<IServiceScopeFactory>();

        public DefaultHttpContext CreateContext(IFeatureCollection contextFeatures)
        {
            IHostContextContainer<DefaultHttpContext>? container = contextFeatures as IHostContextContainer<DefaultHttpContext>;
            if (container?.HostContext is { } used)
            {
                used.Initialize(contextFeatures);
                return used;
            }

            DefaultHttpContext context = new(contextFeatures) { ServiceScopeFactory = _scopes };
            if (container is not null)
            {
                container.HostContext = context;
            }

            return context;
        }

        public Task ProcessRequestAsync(DefaultHttpContext context) => handler(context);

        public void DisposeContext(DefaultHttpContext context, Exception? exception) => context.Uninitialize();
    }
}
