using System.Globalization;
using System.Net;
using KeyVa.Server;
using Microsoft.Extensions.Logging;

namespace KeyVa.Bench.Front;

/// <summary>
/// A child process with one or two servers that have the same records in the memory engine, volatile: open to all and without limits, and secured. Both in one process
/// share what the compiler has made of the code, so that they differ in nothing but what they are set to do.
/// </summary>
internal sealed class FrontServers : IDisposable
{
    /// <summary>The role of a child process: its name is its first argument.</summary>
    public const string Role = "serve-gate";

    public const string Open = "open";
    public const string Secured = "secured";

    private const string User = "admin";
    private const string Password = "the-password-of-the-bench";
    private const long NeverReached = 100_000_000;
    private const int RespConnections = 50;
    private const string Observe = "observe";
    private const string Ignore = "ignore";

    private readonly Dictionary<string, int[]> _ports = [];
    private readonly ServerProcess _process;

    /// <param name="folder">Of this process alone.</param>
    /// <param name="modes">The servers, in the order in which they are started.</param>
    public FrontServers(string folder, params IReadOnlyList<string> modes)
    {
        List<string> arguments = [Role, folder];
        foreach (string mode in modes)
        {
            _ports[mode] = [ServerProcess.FreePort(), ServerProcess.FreePort(), ServerProcess.FreePort()];
            arguments.AddRange([mode, .. _ports[mode].Select(static port => port.ToString(CultureInfo.InvariantCulture))]);
        }

        _process = ServerProcess.Start([.. arguments]);
    }

    /// <summary>The process's number.</summary>
    public int Id => _process.Id;

    /// <summary>Whether requests are observed from now on.</summary>
    public void SetObserved(bool isObserved) => _process.Tell(isObserved ? Observe : Ignore);

    /// <summary>What is put on a server: a name, and what puts it on. To be disposed.</summary>
    public IReadOnlyList<(string Name, ISliceLoad Load)> Loads(string mode, int connections)
    {
        string? authorization = mode == Secured ? "Basic " + Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes($"{User}:{Password}")) : null;
        (string, string)? credentials = mode == Secured ? (User, Password) : null;
        int[] ports = _ports[mode];
        return
        [
            ("REST get", new HttpWaves(ports[0], connections, authorization)),
            ("gRPC get", new GrpcLoad(ports[1], connections, authorization)),
            ("RESP get, pipeline 1", new RespWaves(ports[2], RespConnections, 1, credentials)),
            ("RESP get, pipeline 64", new RespWaves(ports[2], RespConnections, 64, credentials)),
            ("RESP set, pipeline 1", new RespWaves(ports[2], RespConnections, 1, credentials, sets: true)),
        ];
    }

    public void Dispose() => _process.Dispose();

    /// <summary>The child: fills its stores, then serves.</summary>
    public static async Task ServeAsync(ReadOnlyMemory<string> arguments)
    {
        string folder = arguments.Span[0];
        List<KeyVaServer> servers = [];
        try
        {
            for (int i = 1; i < arguments.Length; i += 4)
            {
                ReadOnlyMemory<string> one = arguments.Slice(i, 4);
                servers.Add(await StartAsync(folder, one.Span[0], [.. one[1..].ToArray().Select(static port => int.Parse(port, CultureInfo.InvariantCulture))]));
            }

            await ServerProcess.ServeUntilInputEndsAsync(told => servers.ForEach(server => server.Configuration.Observe(told == Observe)));
        }
        finally
        {
            foreach (KeyVaServer server in servers)
            {
                await server.DisposeAsync();
            }
        }
    }

    private static async Task<KeyVaServer> StartAsync(string folder, string mode, int[] ports)
    {
        bool isSecured = mode == Secured;
        PlaneLimits limits = isSecured
            ? new PlaneLimits
            {
                UserRequests = NeverReached,
                AddressRequests = NeverReached,
                TotalRequests = NeverReached,
                UserBytes = NeverReached * 1000,
                AddressBytes = NeverReached * 1000,
                TotalBytes = NeverReached * 1000,
            }
            : new PlaneLimits();
        Directory.CreateDirectory(folder);
        string password = Path.Combine(folder, "password");
        await File.WriteAllTextAsync(password, Password);
        KeyVaServer server = await KeyVaServer.StartAsync(new ServerOptions
        {
            Data = Path.Combine(folder, mode),
            Store = new StoreOptions { Engine = EngineKind.Memory, Volatile = true },
            RestListen = new IPEndPoint(IPAddress.Loopback, ports[0]),
            GrpcListen = new IPEndPoint(IPAddress.Loopback, ports[1]),
            ControlListen = new IPEndPoint(IPAddress.Loopback, 0),
            RespListen = new IPEndPoint(IPAddress.Loopback, ports[2]),
            DataLimits = limits,
            AdminPasswordFile = isSecured ? password : "",
            LogLevel = LogLevel.Warning,
        });
        for (int i = 0; i < FrontRecords.Count; i++)
        {
            server.Store.Upsert(FrontRecords.Key(i), FrontRecords.Value);
        }

        return server;
    }
}
