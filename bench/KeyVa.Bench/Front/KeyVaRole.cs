using System.Net;
using KeyVa.Server;
using Microsoft.Extensions.Logging;

namespace KeyVa.Bench.Front;

/// <summary>The child that serves KeyVa: fills a new store, then listens as the product does, with its default engine.</summary>
internal static class KeyVaRole
{
    public static async Task RunAsync(string directory, int restPort, int grpcPort, int controlPort)
    {
        StoreOptions store = new() { Durability = Durability.Os };
        await Fill(directory, store);
        await using KeyVaServer server = await KeyVaServer.StartAsync(new ServerOptions
        {
            Data = directory,
            Store = store,
            RestListen = new IPEndPoint(IPAddress.Loopback, restPort),
            GrpcListen = new IPEndPoint(IPAddress.Loopback, grpcPort),
            ControlListen = new IPEndPoint(IPAddress.Loopback, controlPort),
            RespListen = new IPEndPoint(IPAddress.Loopback, 0),
            LogLevel = LogLevel.Warning,
        });
        await ServerProcess.ServeUntilInputEndsAsync();
    }

    private static async Task Fill(string directory, StoreOptions options)
    {
        await using Store store = Store.Open(directory, options);
        for (int i = 0; i < FrontRecords.Count; i++)
        {
            WriteResult result = store.Upsert(FrontRecords.Key(i), FrontRecords.Value);
            if (!result.IsOk)
            {
                throw new InvalidOperationException($"put ended with {result.Status}: {result.Detail}");
            }
        }
    }
}
