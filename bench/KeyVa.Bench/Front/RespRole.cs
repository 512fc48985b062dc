using System.Net;
using KeyVa.Server;
using Microsoft.Extensions.Logging;

namespace KeyVa.Bench.Front;

/// <summary>The child process that serves the Redis protocol.</summary>
internal static class RespRole
{
    /// <param name="directory">The data folder.</param>
    /// <param name="port">Where Redis clients are listened for.</param>
    /// <param name="mode">volatile, interval, always (memory engine) or lsm (with interval).</param>
    public static async Task RunAsync(string directory, int port, string mode)
    {
        IPEndPoint any = new(IPAddress.Loopback, 0);
        bool isVolatile = mode == "volatile";
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
            RestListen = any,
            GrpcListen = any,
            ControlListen = any,
            RespListen = new IPEndPoint(IPAddress.Loopback, port),
            LogLevel = LogLevel.Warning,
        });
        await ServerProcess.ServeUntilInputEndsAsync();
    }
}
