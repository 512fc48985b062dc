using System.Net;
using KeyVa.Server;
using Microsoft.Extensions.Logging;

namespace KeyVa.Bench.Front;

/// <summary>The child process that serves the Redis protocol from the memory engine.</summary>
internal static class RespRole
{
    public static async Task RunAsync(string directory, int port, string durability)
    {
        IPEndPoint any = new(IPAddress.Loopback, 0);
        bool isVolatile = durability == "volatile";
        await using KeyVaServer server = await KeyVaServer.StartAsync(new ServerOptions
        {
            Data = directory,
            Store = new StoreOptions
            {
                Engine = EngineKind.Memory,
                Volatile = isVolatile,
                Durability = isVolatile ? Durability.Always : Durability.Interval,
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
