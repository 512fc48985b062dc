using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using KeyVa.Io;
using KeyVa.Protocol.Grpc;
using KeyVa.Server;
using Xunit;

namespace KeyVa.Tests.Server;

/// <summary>A real server on free ports, over a store on a disk in memory with a clock of the test's own.</summary>
public sealed class ServerFixture : IAsyncLifetime
{
    internal KeyVaServer Server { get; private set; } = null!;

    internal Store Store => Server.Store;

    internal MemoryFileSystem Files { get; } = new();

    internal ManualTime Time { get; } = new();

    internal CapturedLog Log { get; } = new();

    internal HttpClient Http { get; private set; } = null!;

    internal GrpcChannel Data { get; private set; } = null!;

    internal GrpcChannel Control { get; private set; } = null!;

    internal static ServerOptions AnyPorts => new()
    {
        RestListen = new IPEndPoint(IPAddress.Loopback, 0),
        GrpcListen = new IPEndPoint(IPAddress.Loopback, 0),
        ControlListen = new IPEndPoint(IPAddress.Loopback, 0),
        RespListen = new IPEndPoint(IPAddress.Loopback, 0),
    };

    public Task InitializeAsync() => StartAsync(new StoreOptions());

    internal static async Task<ServerFixture> StartedAsync(StoreOptions store)
    {
        ServerFixture fixture = new();
        await fixture.StartAsync(store);
        return fixture;
    }

    internal async Task StartAsync(StoreOptions options)
    {
        Store store = Store.Open(
            "/data", options with { JournalSegmentBytes = 1 << 20 }, new StoreEnvironment { FileSystem = Files, Time = Time });
        Server = await KeyVaServer.StartAsync(AnyPorts with { Logs = Log }, store, CancellationToken.None);
        Http = new HttpClient { BaseAddress = new Uri($"http://{Server.RestAddress}") };
        Data = new GrpcChannel(new Uri($"http://{Server.GrpcAddress}"));
        Control = new GrpcChannel(new Uri($"http://{Server.ControlAddress}"));
    }

    public async Task DisposeAsync()
    {
        Http.Dispose();
        Data.Dispose();
        Control.Dispose();
        await Server.DisposeAsync();
    }

    internal static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    internal static string Text(byte[] bytes) => Encoding.UTF8.GetString(bytes);

    /// <summary>Sends a request whose target stays exactly as it is.</summary>
    internal Task<HttpResponseMessage> SendAsync(
        string method, string target, HttpContent? body = null, Action<HttpRequestHeaders>? headers = null)
    {
        Uri uri = new($"http://{Server.RestAddress}{target}", new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true });
        HttpRequestMessage request = new(new HttpMethod(method), uri) { Content = body };
        headers?.Invoke(request.Headers);
        return Http.SendAsync(request);
    }

    internal async Task<string> GetTextAsync(string target)
    {
        using HttpResponseMessage response = await SendAsync("GET", target);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        return await response.Content.ReadAsStringAsync();
    }

    internal Task<HttpResponseMessage> PutAsync(string target, string value, Action<HttpRequestHeaders>? headers = null) =>
        SendAsync("PUT", target, new ByteArrayContent(Bytes(value)), headers);

    internal static HttpContent Json(string text) => new StringContent(text, Encoding.UTF8, "application/json");

    internal static HttpContent Proto(byte[] bytes)
    {
        ByteArrayContent content = new(bytes);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/x-protobuf");
        return content;
    }

    /// <summary>Requires a problem of a status and returns it.</summary>
    internal static async Task<JsonElement> ProblemAsync(HttpResponseMessage response, int status, string name)
    {
        string text = await response.Content.ReadAsStringAsync();
        Assert.True(status == (int)response.StatusCode, $"{(int)response.StatusCode} instead of {status}: {text}");
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType!.MediaType);
        JsonElement problem = JsonDocument.Parse(text).RootElement;
        Assert.Equal(status, problem.GetProperty("status").GetInt32());
        Assert.Equal(name, problem.GetProperty("keyva-status").GetString());
        Assert.Equal("urn:keyva:problem:" + name, problem.GetProperty("type").GetString());
        Assert.NotEmpty(problem.GetProperty("title").GetString()!);
        Assert.NotEmpty(problem.GetProperty("detail").GetString()!);
        return problem;
    }

    /// <summary>
    /// Sends raw bytes to a listener and reads until it closes the connection, or has said what is waited for. A server that closes it before it has read everything resets it: that is an end as well, and
    /// may come before everything is sent.
    /// </summary>
    internal static async Task<string> RawAsync(IPEndPoint address, string request, string? until = null)
    {
        using Socket socket = new(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(address);
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(20));
        StringBuilder response = new();
        byte[] buffer = new byte[65536];
        try
        {
            await socket.SendAsync(Encoding.Latin1.GetBytes(request), SocketFlags.None, limit.Token);
        }
        catch (SocketException ended) when (IsReset(ended))
        {
            // What it has said can be read.
        }

        while (true)
        {
            int read;
            try
            {
                read = await socket.ReceiveAsync(buffer, SocketFlags.None, limit.Token);
            }
            catch (SocketException ended) when (IsReset(ended))
            {
                read = 0;
            }

            if (read == 0)
            {
                return response.ToString();
            }

            response.Append(Encoding.Latin1.GetString(buffer, 0, read));
            if (until is not null && response.ToString().Contains(until, StringComparison.Ordinal))
            {
                return response.ToString();
            }
        }
    }

    private static bool IsReset(SocketException ended) => ended.SocketErrorCode is SocketError.ConnectionReset or SocketError.Shutdown;
}
