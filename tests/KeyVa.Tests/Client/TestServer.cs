using System.Net;
using KeyVa.Client;
using KeyVa.Server;
using Microsoft.Extensions.Logging;

namespace KeyVa.Tests.Client;

/// <summary>A real server on free ports over a folder that goes with it.</summary>
internal sealed class TestServer : IAsyncDisposable
{
    private readonly ServerOptions _options;

    private TestServer(ServerOptions options, KeyVaServer server)
    {
        _options = options;
        Server = server;
        Data = server.GrpcAddress.ToString();
        Control = server.ControlAddress.ToString();
    }

    public KeyVaServer Server { get; private set; }

    public string Data { get; }

    public string Control { get; }

    public string Directory => _options.Data;

    public static async Task<TestServer> StartAsync(StoreOptions? store = null, TelemetryOptions? telemetry = null, ILoggerFactory? logs = null)
    {
        // They are free again when the server is restarted.
        (int grpc, int control) = (Ports.Take(), Ports.Take());
        ServerOptions options = new()
        {
            Data = System.IO.Directory.CreateTempSubdirectory("keyva-test").FullName,
            Store = (store ?? new StoreOptions()) with { JournalSegmentBytes = 1 << 20 },
            RestListen = new IPEndPoint(IPAddress.Loopback, 0),
            GrpcListen = new IPEndPoint(IPAddress.Loopback, grpc),
            ControlListen = new IPEndPoint(IPAddress.Loopback, control),
            RespListen = new IPEndPoint(IPAddress.Loopback, 0),
            LogLevel = LogLevel.None,

            // Tests do in a second what an operator does in a day.
            ControlLimits = new PlaneLimits(),
            Telemetry = telemetry ?? new TelemetryOptions(),
            Logs = logs,
        };
        return new TestServer(options, await KeyVaServer.StartAsync(options));
    }

    public RemoteStore Connect(RemoteOptions? options = null) => RemoteStore.Connect(Data, (options ?? new RemoteOptions()) with { Control = ServerAddress.Parse(Control) });

    public RemoteControl ConnectControl() => RemoteControl.Connect(Control);

    public Task StopAsync() => Server.DisposeAsync().AsTask();

    /// <summary>Starts again on the same folder and ports.</summary>
    public async Task RestartAsync() => Server = await KeyVaServer.StartAsync(_options with
    {
        GrpcListen = IPEndPoint.Parse(Data),
        ControlListen = IPEndPoint.Parse(Control),
    });

    public async ValueTask DisposeAsync()
    {
        await Server.DisposeAsync();
        System.IO.Directory.Delete(_options.Data, recursive: true);
    }
}
