using System.Net;
using KeyVa.Server;
using Microsoft.Extensions.Logging;

namespace KeyVa.Bench.Front;

/// <summary>The child process that serves the Redis protocol.</summary>
internal static class RespRole
{
    /// <summary>The mode that serves with telemetry switched off, which no user can: to measure what it costs.</summary>
    public const string Unobserved = "volatile-unobserved";

    /// <param name="directory">The data folder.</param>
    /// <param name="port">Where Redis clients are listened for.</param>
    /// <param name="mode">volatile, volatile-unobserved, interval, always (memory engine) or lsm (with interval).</param>
    public static async Task RunAsync(string directory, int port, string mode)
    {
        IPEndPoint any = new(IPAddress.Loopback, 0);
        bool isVolatile = mode is "volatile" or Unobserved;
        await using KeyVaServer server = await KeyVaServer.StartAsync(new ServerOptions
        {
            Data = directory,
            Store = new StoreOptions
            {
                Engine = mode == "lsm" ? EngineKind.Lsm : EngineKind.Memory,
                Volatile = isVolatile,
                Durability = isVolatile || mode == "always" ? Durability.Always : Durability.Interval,
                SyncInterval = TimeSpan.FromSeconds(1),
                WatchHistoryAlways = !isVolatile,
            },
            Telemetry = new TelemetryOptions { IsObserved = mode != Unobserved },
            RestListen = any,
            GrpcListen = any,
            ControlListen = any,
            RespListen = new IPEndPoint(IPAddress.Loopback, port),
            LogLevel = LogLevel.Warning,
        });
        await ServerProcess.ServeUntilInputEndsAsync();
    }
}
