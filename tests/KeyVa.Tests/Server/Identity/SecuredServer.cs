using System.Net.Http.Headers;
using System.Text;
using KeyVa.Client;
using KeyVa.Io;
using KeyVa.Server;
using KeyVa.Server.Identity;
using KeyVa.Tests.Resp;
using Microsoft.Extensions.Logging;

namespace KeyVa.Tests.Server.Identity;

/// <summary>A real server with users on free ports, over a disk in memory.</summary>
internal sealed class SecuredServer : IAsyncDisposable
{
    public const string AdminPassword = "admin's own";

    private SecuredServer(MemoryFileSystem files, AuditCapture log, KeyVaServer server)
    {
        Files = files;
        Log = log;
        Server = server;
        Http = new HttpClient { BaseAddress = new Uri($"http://{server.RestAddress}") };
        Admin = Control(RemoteCredentials.Password(FirstAdministrator.Name, AdminPassword));
    }

    public MemoryFileSystem Files { get; }

    public AuditCapture Log { get; }

    public KeyVaServer Server { get; }

    public HttpClient Http { get; }

    /// <summary>The control plane as the first administrator.</summary>
    public RemoteControl Admin { get; }

    /// <summary>Starts with the administrator 'admin'; <paramref name="change"/>: other options.</summary>
    public static async Task<SecuredServer> StartAsync(Func<ServerOptions, ServerOptions>? change = null, MemoryFileSystem? files = null)
    {
        files ??= new MemoryFileSystem();
        AuditCapture log = new();
        ServerOptions options = ServerFixture.AnyPorts with
        {
            Logs = log,
            PasswordIterations = PasswordHash.MinIterations,
            AdminPassword = AdminPassword,
            ControlLimits = new PlaneLimits(),
        };
        options = change?.Invoke(options) ?? options;
        Store store = Store.Open("/data", options.Store with { JournalSegmentBytes = 1 << 20 }, new StoreEnvironment { FileSystem = files });
        return new SecuredServer(files, log, await KeyVaServer.StartAsync(options, store, CancellationToken.None));
    }

    public RemoteControl Control(RemoteCredentials? credentials) =>
        RemoteControl.Connect(Server.ControlAddress.ToString(), new RemoteOptions { Credentials = credentials });

    public RemoteStore Connect(RemoteCredentials? credentials) => RemoteStore.Connect(
        Server.GrpcAddress.ToString(),
        new RemoteOptions { Credentials = credentials, Control = ServerAddress.Parse(Server.ControlAddress.ToString()) });

    public Task<RespSocket> RedisAsync() => RespSocket.ConnectAsync(Server.RespAddress);

    public async Task<RespSocket> RedisAsync(string user, string secret)
    {
        RespSocket socket = await RedisAsync();
        string reply = await socket.CallAsync("AUTH", user, secret);
        return reply == "+OK" ? socket : throw new InvalidOperationException(reply);
    }

    public Task<HttpResponseMessage> SendAsync(string method, string target, AuthenticationHeaderValue? authorization, HttpContent? body = null)
    {
        HttpRequestMessage request = new(new HttpMethod(method), target) { Content = body };
        request.Headers.Authorization = authorization;
        return Http.SendAsync(request);
    }

    public async Task<int> StatusAsync(string method, string target, AuthenticationHeaderValue? authorization, HttpContent? body = null)
    {
        using HttpResponseMessage response = await SendAsync(method, target, authorization, body);
        return (int)response.StatusCode;
    }

    public static AuthenticationHeaderValue Basic(string user, string password) =>
        new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{password}")));

    public static AuthenticationHeaderValue Bearer(string token) => new("Bearer", token);

    /// <summary>Grants as the command line takes them.</summary>
    public static List<RemoteGrant> Grants(params string[] texts)
    {
        List<Grant> grants = [];
        foreach (string text in texts)
        {
            if (!Grant.TryParse(text, grants, out string? wrong))
            {
                throw new ArgumentException(wrong, nameof(texts));
            }
        }

        return [.. grants.Select(static one => new RemoteGrant(Grant.Word(one.Plane), Grant.Word(one.Level), one.Prefix))];
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await Admin.DisposeAsync();
        await Server.DisposeAsync();
    }
}

/// <summary>Keeps everything that is logged, as text with its category. Thread-safe.</summary>
internal sealed class AuditCapture : ILoggerFactory
{
    private readonly Lock _lock = new();
    private readonly List<(string Category, string Text)> _lines = [];

    public IReadOnlyList<string> All
    {
        get
        {
            lock (_lock)
            {
                return [.. _lines.Select(static line => line.Text)];
            }
        }
    }

    public IReadOnlyList<string> Audit
    {
        get
        {
            lock (_lock)
            {
                return [.. _lines.Where(static line => line.Category == AuditLog.Category).Select(static line => line.Text)];
            }
        }
    }

    public ILogger CreateLogger(string categoryName) => new OfCategory(this, categoryName);

    public void AddProvider(ILoggerProvider provider)
    {
    }

    public void Dispose()
    {
    }

    private sealed class OfCategory(AuditCapture capture, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            lock (capture._lock)
            {
                capture._lines.Add((category, formatter(state, exception)));
            }
        }
    }
}
