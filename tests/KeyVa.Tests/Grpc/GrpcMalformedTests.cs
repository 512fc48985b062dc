using System.Buffers;
using System.IO.Compression;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Tests.Grpc.Messages;
using Xunit;

namespace KeyVa.Tests.Grpc;

/// <summary>Requests that no gRPC client would send: each gets its own clear status, and the server serves on.</summary>
[Collection(nameof(Engines.Alone))] // counts what the process allocates
public sealed class GrpcMalformedTests(EchoServer server) : IClassFixture<EchoServer>, IDisposable
{
    private const string Unary = "/keyva.test.Echo/Unary";
    private const string Collect = "/keyva.test.Echo/Collect";

    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false }) { BaseAddress = server.Address };

    public void Dispose() => _http.Dispose();

    /// <summary>Path, body in hexadecimal, the status that answers it, and a word of its message.</summary>
    public static TheoryData<string, string, GrpcStatusCode, string> Bodies => new()
    {
        { Unary, "", GrpcStatusCode.Internal, "no message" },
        { Unary, "00", GrpcStatusCode.Internal, "ends inside a message" },
        { Unary, "0000000005", GrpcStatusCode.Internal, "ends inside a message" },
        { Unary, "00000000050a03", GrpcStatusCode.Internal, "ends inside a message" },
        { Unary, "0000000002ffff", GrpcStatusCode.Internal, "malformed protobuf" },
        { Unary, "00000000040a7f6161", GrpcStatusCode.Internal, "malformed protobuf" },
        { Unary, "00000000041202c328", GrpcStatusCode.Ok, "" }, // protobuf for C# replaces bad UTF-8, as proto3 permits
        { Unary, "0200000000", GrpcStatusCode.Internal, "flag 2" },
        { Unary, "0100000000", GrpcStatusCode.Internal, "without grpc-encoding" },
        { Unary, "00ffffffff", GrpcStatusCode.ResourceExhausted, "4294967295" },
        { Unary, "0000400001", GrpcStatusCode.ResourceExhausted, "4194305" },
        { Unary, "00000000000000000000", GrpcStatusCode.Internal, "more than one" },
        { Unary, "000000000000", GrpcStatusCode.Internal, "more than one" },
        { Collect, "", GrpcStatusCode.Ok, "" },
        { Collect, "0000000000000000", GrpcStatusCode.Internal, "ends inside a message, 3 bytes" },
        { Collect, "00000000000300000000", GrpcStatusCode.Internal, "flag 3" },
        { Collect, "000000000000ffffffff", GrpcStatusCode.ResourceExhausted, "4294967295" },
    };

    [Theory]
    [MemberData(nameof(Bodies))]
    public async Task ABadBodyGetsAStatus(string path, string hex, GrpcStatusCode code, string word)
    {
        (HttpStatusCode http, GrpcStatus status) = await PostAsync(path, Convert.FromHexString(hex));
        Assert.Equal(HttpStatusCode.OK, http);
        Assert.Equal(code, status.Code);
        Assert.Contains(word, status.Message, StringComparison.Ordinal);
        (_, GrpcStatus next) = await PostAsync(Unary, new byte[5]);
        Assert.True(next.IsOk);
    }

    [Fact]
    public async Task DeepNestingAndGroupsAreRefusedNotFollowed()
    {
        // 200 groups, each the first field of the one before.
        byte[] body = [0, 0, 0, 0, 200, .. Enumerable.Repeat((byte)0x53, 200)];
        (_, GrpcStatus status) = await PostAsync(Unary, body);
        Assert.Equal(GrpcStatusCode.Internal, status.Code);
    }

    [Theory]
    [InlineData("GET", "application/grpc", HttpStatusCode.MethodNotAllowed)]
    [InlineData("PUT", "application/grpc", HttpStatusCode.MethodNotAllowed)]
    [InlineData("POST", "application/json", HttpStatusCode.UnsupportedMediaType)]
    [InlineData("POST", "application/grpc-web", HttpStatusCode.UnsupportedMediaType)]
    [InlineData("POST", "application/grpc+json", HttpStatusCode.UnsupportedMediaType)]
    [InlineData("POST", null, HttpStatusCode.UnsupportedMediaType)]
    [InlineData("POST", "application/grpc", HttpStatusCode.OK)]
    [InlineData("POST", "application/grpc+proto", HttpStatusCode.OK)]
    [InlineData("POST", "Application/gRPC; charset=utf-8", HttpStatusCode.OK)]
    public async Task MethodAndContentTypeAreChecked(string method, string? contentType, HttpStatusCode expected)
    {
        foreach (string path in new[] { Unary, "/no.Such/Method" })
        {
            using HttpRequestMessage request = Request(new HttpMethod(method), path, new byte[5]);
            request.Content!.Headers.Remove("content-type");
            if (contentType is not null)
                request.Content.Headers.TryAddWithoutValidation("content-type", contentType);
            using HttpResponseMessage response = await _http.SendAsync(request);
            Assert.Equal(expected, response.StatusCode);
        }
    }

    [Theory]
    [InlineData("grpc-timeout", "10", GrpcStatusCode.Internal, "grpc-timeout")]
    [InlineData("grpc-timeout", "S", GrpcStatusCode.Internal, "grpc-timeout")]
    [InlineData("grpc-timeout", "-1S", GrpcStatusCode.Internal, "grpc-timeout")]
    [InlineData("grpc-timeout", "123456789S", GrpcStatusCode.Internal, "grpc-timeout")]
    [InlineData("grpc-timeout", "1x", GrpcStatusCode.Internal, "grpc-timeout")]
    [InlineData("grpc-timeout", "0n", GrpcStatusCode.DeadlineExceeded, "deadline")]
    [InlineData("grpc-timeout", "99999999H", GrpcStatusCode.Ok, "")]
    [InlineData("grpc-timeout", "20S", GrpcStatusCode.Ok, "")]
    [InlineData("grpc-encoding", "snappy", GrpcStatusCode.Unimplemented, "snappy")]
    [InlineData("grpc-encoding", "identity", GrpcStatusCode.Ok, "")]
    public async Task ProtocolHeadersAreChecked(string name, string value, GrpcStatusCode code, string word)
    {
        (HttpStatusCode http, GrpcStatus status) = await PostAsync(Unary, new byte[5], name, value);
        Assert.Equal(HttpStatusCode.OK, http);
        Assert.Equal(code, status.Code);
        Assert.Contains(word, status.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AnUnknownEncodingIsToldWhichAreKnown()
    {
        using HttpRequestMessage request = Request(HttpMethod.Post, Unary, new byte[5]);
        request.Headers.Add("grpc-encoding", "snappy");
        using HttpResponseMessage response = await _http.SendAsync(request);
        Assert.Equal("identity,gzip", Assert.Single(response.Headers.GetValues("grpc-accept-encoding")));
    }

    [Fact]
    public async Task CompressedBodiesAreBoundedAndChecked()
    {
        (_, GrpcStatus noGzip) = await PostAsync(Unary, [1, 0, 0, 0, 3, 1, 2, 3], "grpc-encoding", "gzip");
        Assert.Equal(GrpcStatusCode.Internal, noGzip.Code);
        Assert.Contains("gzip", noGzip.Message, StringComparison.Ordinal);
        (_, GrpcStatus empty) = await PostAsync(Unary, [1, 0, 0, 0, 0], "grpc-encoding", "gzip");
        Assert.Equal(GrpcStatusCode.Internal, empty.Code);
        ArrayBufferWriter<byte> whole = new();
        GrpcFrame.Write(whole, new EchoRequest { Payload = ByteString.CopyFrom(new byte[5000]) }, gzip: true);
        byte[] cut = whole.WrittenSpan[..^10].ToArray();
        cut[4] -= 10;
        (_, GrpcStatus truncated) = await PostAsync(Unary, cut, "grpc-encoding", "gzip");
        Assert.Equal(GrpcStatusCode.Internal, truncated.Code);

        // 1 GiB of zeros in one megabyte.
        MemoryStream packed = new();
        await using (GZipStream gzip = new(packed, CompressionLevel.Optimal, leaveOpen: true))
        {
            byte[] zeros = new byte[1024 * 1024];
            for (int i = 0; i < 1024; i++)
                gzip.Write(zeros);
        }
        byte[] frame = new byte[5 + packed.Length];
        GrpcFrame.WritePrefix(frame, 1, (int)packed.Length);
        packed.ToArray().CopyTo(frame, 5);
        long before = GC.GetTotalAllocatedBytes();
        (_, GrpcStatus bomb) = await PostAsync(Unary, frame, "grpc-encoding", "gzip");
        Assert.Equal(GrpcStatusCode.ResourceExhausted, bomb.Code);
        Assert.InRange(GC.GetTotalAllocatedBytes() - before, 0, 100L * 1024 * 1024);
    }

    [Theory]
    [InlineData("identity, gzip", 300, 1)]
    [InlineData("gzip", 100, 0)] // not worth it
    [InlineData("identity,deflate", 300, 0)]
    [InlineData(null, 300, 0)]
    public async Task ResponsesAreCompressedForThoseWhoAccept(string? accept, int length, byte flag)
    {
        EchoServer gzip = new(new GrpcServiceOptions { GzipResponses = true }, mapped: false);
        await gzip.InitializeAsync();
        EchoRequest echo = new() { Payload = ByteString.CopyFrom(new byte[length]) };
        byte[] body = [0, 0, 0, (byte)(echo.CalculateSize() >> 8), (byte)echo.CalculateSize(), .. echo.ToByteArray()];
        using (HttpRequestMessage request = Request(HttpMethod.Post, new Uri(gzip.Address, Unary).ToString(), body))
        {
            if (accept is not null)
                request.Headers.TryAddWithoutValidation("grpc-accept-encoding", accept);
            using HttpResponseMessage response = await _http.SendAsync(request);
            byte[] frame = await response.Content.ReadAsByteArrayAsync();
            Assert.Equal(flag, frame[0]);
            Assert.True(flag == 0 || frame.Length < length);
            Assert.Equal("0", Assert.Single(response.TrailingHeaders.GetValues("grpc-status")));
            Assert.True(flag == 0 || response.Headers.GetValues("grpc-encoding").Single() == "gzip");
        }
        await gzip.DisposeAsync();
    }

    [Fact]
    public async Task ADeadlineEndsACallWhoseRequestNeverComes()
    {
        using HttpRequestMessage request = Request(HttpMethod.Post, Collect, []);
        TaskCompletionSource never = new();
        request.Content = new StalledContent(never.Task);
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
        request.Headers.Add("grpc-timeout", "100m");
        using HttpResponseMessage response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal("4", Assert.Single(response.Headers.GetValues("grpc-status")));
        never.SetResult();
    }

    [Fact]
    public async Task ADeadlineEndsAHandlerThatWaits()
    {
        (_, GrpcStatus status) = await PostAsync("/keyva.test.Echo/Hang", new byte[5], "grpc-timeout", "100m");
        Assert.Equal(GrpcStatusCode.DeadlineExceeded, status.Code);
    }

    [Fact]
    public async Task BytesThatAreNoHttpCloseTheConnectionOnly()
    {
        using TcpClient tcp = new();
        await tcp.ConnectAsync(IPAddress.Loopback, server.Address.Port);
        NetworkStream stream = tcp.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes("\0\u0001 not HTTP at all \r\n\r\n" + new string('x', 100)));
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(20));
        byte[] answer = new byte[4096];
        try
        {
            while (await stream.ReadAsync(answer, limit.Token) > 0) ;
        }
        catch (IOException)
        {
            // A reset is as good an end as a close.
        }
        Assert.False(limit.IsCancellationRequested);
        (_, GrpcStatus status) = await PostAsync(Unary, new byte[5]);
        Assert.True(status.IsOk);
    }

    [Fact]
    public async Task RandomBodiesNeverBreakTheServer()
    {
        int seed = Environment.TickCount;
        Random random = new(seed);
        for (int i = 0; i < 300; i++)
        {
            EchoRequest request = new() { Text = "hello", Payload = ByteString.CopyFrom(new byte[random.Next(40)]) };
            byte[] body = [0, 0, 0, 0, (byte)request.CalculateSize(), .. request.ToByteArray()];
            for (int n = random.Next(1, 4); n > 0; n--)
                body[random.Next(body.Length)] = (byte)random.Next(256);
            body = body[..random.Next(body.Length + 1)];
            (HttpStatusCode http, GrpcStatus status) = await PostAsync(random.Next(2) == 0 ? Unary : Collect, body);
            Assert.True(http == HttpStatusCode.OK && !status.Message.Contains("handler failed", StringComparison.Ordinal),
                $"seed {seed}, request {i}: {http}, {status}");
        }
    }

    private static HttpRequestMessage Request(HttpMethod method, string path, byte[] body)
    {
        HttpRequestMessage request = new(method, path)
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent(body),
        };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
        request.Headers.TryAddWithoutValidation("te", "trailers");
        return request;
    }

    private async Task<(HttpStatusCode Http, GrpcStatus Status)> PostAsync(
        string path, byte[] body, string? header = null, string? value = null)
    {
        using HttpRequestMessage request = Request(HttpMethod.Post, path, body);
        if (header is not null)
            request.Headers.TryAddWithoutValidation(header, value);
        using HttpResponseMessage response = await _http.SendAsync(request);
        HttpResponseHeaders from = response.Headers.Contains("grpc-status") ? response.Headers : response.TrailingHeaders;
        string message = from.TryGetValues("grpc-message", out IEnumerable<string>? texts) ? texts.Single() : "";
        return (response.StatusCode, new GrpcStatus(
            (GrpcStatusCode)int.Parse(from.GetValues("grpc-status").Single(), null), PercentEncoding.Decode(message)));
    }

    private sealed class StalledContent(Task until) : HttpContent
    {
        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            await stream.FlushAsync();
            await until;
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
