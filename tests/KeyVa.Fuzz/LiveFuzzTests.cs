using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using Google.Protobuf;
using KeyVa.Io;
using KeyVa.Protocol.V1;
using KeyVa.Server;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>
/// A server that listens gets broken requests: raw bytes on both ports, and broken gRPC frames. It answers with a refusal or
/// closes the connection, logs no failure, keeps no connection, and then serves on.
/// </summary>
public sealed class LiveFuzzTests : Fuzzing, IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static readonly byte[][] Http1 = Texts(
        "PUT /kv/a%2Fb?ttl=5s HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\nContent-Length: 5\r\n\r\nhello",
        "GET /kv?prefix=a&limit=2&reverse=true HTTP/1.1\r\nHost: x\r\nAccept: application/x-protobuf\r\n\r\n",
        "GET /kv/AP8?encoding=base64url HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"1\", W/\"2\"\r\n\r\nHEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /kv:batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 57\r\n\r\n{\"operations\": [{\"op\": \"put\", \"key\": \"a\", \"value\": \"1\"}]}",
        "POST /kv:batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\n\u0002\n\0\r\n0\r\n\r\n",
        "POST /kv:get HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"keys\": [\"a\"]}",
        "DELETE /kv/a HTTP/1.1\r\nHost: x\r\nIf-Match: \"3\"\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

    private static readonly IMessage[] Messages =
    [
        new UpsertRequest { Puts = { new Put { Key = ByteString.CopyFromUtf8("key"), Value = ByteString.CopyFromUtf8("value") } } },
        new GetRequest { Keys = { ByteString.CopyFromUtf8("key"), ByteString.CopyFromUtf8("other") } },
        new RemoveRequest { Removals = { new Removal { Key = ByteString.CopyFromUtf8("key") } } },
    ];

    private static readonly byte[][] Http2 = [[.. Encoding.ASCII.GetBytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), .. Frames()]];

    private static readonly string[] Calls = ["DataPlane/Upsert", "DataPlane/Get", "DataPlane/Remove", "DataPlane/Write", "DataPlane/Scan", "DataPlane/BulkUpsert"];

    private readonly ErrorLog _log = new();
    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false }) { Timeout = Patience };
    private KeyVaServer _server = null!;

    public async Task InitializeAsync()
    {
        IPEndPoint any = new(IPAddress.Loopback, 0);
        Store store = Store.Open("/data", new StoreOptions { JournalSegmentBytes = 1 << 20 }, new StoreEnvironment { FileSystem = new MemoryFileSystem() });
        _server = await KeyVaServer.StartAsync(
            new ServerOptions { RestListen = any, GrpcListen = any, ControlListen = any, RespListen = any, Logs = _log }, store, CancellationToken.None);
    }

    public async Task DisposeAsync()
    {
        _http.Dispose();
        await _server.DisposeAsync();
    }

    [Fact]
    public async Task BytesOnTheRestPortAreAnsweredOrClosed()
    {
        await RunAsync(1500, Http1, async (input, _) =>
        {
            string answer = Encoding.Latin1.GetString(await SendAsync(_server.RestAddress, input));
            Assert.True(answer.Length == 0 || answer.StartsWith("HTTP/1.1 ", StringComparison.Ordinal), answer);
            Assert.DoesNotContain("HTTP/1.1 500", answer, StringComparison.Ordinal);
            Assert.True(_log.Errors.Count == 0, string.Join('\n', _log.Errors));
        });
        await ServesOnAsync();
    }

    [Fact]
    public async Task BytesOnTheGrpcPortAreAnsweredOrClosed()
    {
        await RunAsync(1000, Http2, async (input, random) =>
        {
            await SendAsync(random.Next(4) == 0 ? _server.ControlAddress : _server.GrpcAddress, input);
            Assert.True(_log.Errors.Count == 0, string.Join('\n', _log.Errors));
        });
        await ServesOnAsync();
    }

    [Fact]
    public async Task GrpcFramesAreAnsweredWithAStatus()
    {
        await RunAsync(2000, [.. Messages.Select(Frame)], async (input, random) =>
        {
            string path = Calls[random.Next(Calls.Length)];
            string status = await CallAsync(path, input);
            // 2 (unknown) and 13 (internal) with a failure behind it would be in the log.
            Assert.True(status is not ("" or "2"), $"{path} ended with status '{status}'");
            Assert.True(_log.Errors.Count == 0, string.Join('\n', _log.Errors));
        });
        await ServesOnAsync();
    }

    private async Task ServesOnAsync()
    {
        Assert.Equal("0", await CallAsync("DataPlane/Upsert", Frame(Messages[0])));
        using HttpResponseMessage healthy = await _http.GetAsync(new Uri($"http://{_server.RestAddress}/healthz"));
        Assert.Equal(HttpStatusCode.OK, healthy.StatusCode);
    }

    private async Task<string> CallAsync(string path, byte[] body)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, $"http://{_server.GrpcAddress}/keyva.v1.{path}")
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent(body),
        };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
        request.Headers.TryAddWithoutValidation("te", "trailers");
        using HttpResponseMessage response = await _http.SendAsync(request);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        return response.Headers.TryGetValues("grpc-status", out IEnumerable<string>? early) ? early.Single()
            : response.TrailingHeaders.TryGetValues("grpc-status", out IEnumerable<string>? late) ? late.Single()
            : "";
    }

    // Sends, says that nothing follows, and reads until the server has closed too; a reset is as good an end.
    private static async Task<byte[]> SendAsync(IPEndPoint address, byte[] input)
    {
        using Socket socket = new(SocketType.Stream, ProtocolType.Tcp);
        using CancellationTokenSource limit = new(Patience);
        using MemoryStream answer = new();
        try
        {
            await socket.ConnectAsync(address, limit.Token);
            await socket.SendAsync(input, SocketFlags.None, limit.Token);
            socket.Shutdown(SocketShutdown.Send);
            byte[] buffer = new byte[16 << 10];
            for (int read; (read = await socket.ReceiveAsync(buffer, SocketFlags.None, limit.Token)) > 0;)
            {
                answer.Write(buffer, 0, read);
            }
        }
        catch (SocketException)
        {
            // Closed before it read all of it.
        }

        return answer.ToArray();
    }

    private static byte[] Frame(IMessage message)
    {
        byte[] body = message.ToByteArray();
        return [0, 0, 0, (byte)(body.Length >> 8), (byte)body.Length, .. body];
    }

    // SETTINGS, then one call: HEADERS with literal fields (RFC 7541, 6.2.2) and DATA (RFC 9113, 6).
    private static byte[] Frames()
    {
        List<byte> fields = [0x83, 0x86];
        foreach ((string name, string value) in new[] { (":path", "/keyva.v1.DataPlane/Get"), (":authority", "x"), ("content-type", "application/grpc"), ("te", "trailers") })
        {
            fields.AddRange([0, (byte)name.Length, .. Encoding.ASCII.GetBytes(name), (byte)value.Length, .. Encoding.ASCII.GetBytes(value)]);
        }

        byte[] message = Frame(Messages[1]);
        return
        [
            0, 0, 0, 4, 0, 0, 0, 0, 0,
            0, 0, (byte)fields.Count, 1, 4, 0, 0, 0, 1, .. fields,
            0, 0, (byte)message.Length, 0, 1, 0, 0, 0, 1, .. message,
        ];
    }

    private static byte[][] Texts(params string[] texts) => [.. texts.Select(Encoding.Latin1.GetBytes)];
}
