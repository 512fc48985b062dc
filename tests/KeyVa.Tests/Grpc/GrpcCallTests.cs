using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Tests.Grpc.Messages;
using Xunit;

namespace KeyVa.Tests.Grpc;

/// <summary>Both halves of the wire layer against each other, over real sockets.</summary>
public sealed class GrpcCallTests(EchoServer server) : IClassFixture<EchoServer>, IDisposable
{
    private readonly GrpcChannel _channel = new(server.Address);

    public void Dispose() => _channel.Dispose();

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(4000)]
    [InlineData(5000)]
    [InlineData(1024 * 1024)]
    public async Task UnaryEchoesPayloads(int length)
    {
        ByteString payload = Random(length);
        EchoResponse response = await _channel.UnaryAsync(EchoService.Unary, new EchoRequest { Payload = payload, Text = "zö€𝄞" });
        Assert.Equal(payload, response.Payload);
        Assert.Equal("zö€𝄞", response.Text);
    }

    [Fact]
    public async Task ManyCallsAtOnceShareTheChannel()
    {
        Task<EchoResponse>[] calls = [.. Enumerable.Range(0, 500).Select(i =>
            _channel.UnaryAsync(EchoService.Unary, new EchoRequest { Text = $"{i}" }).AsTask())];
        EchoResponse[] responses = await Task.WhenAll(calls);
        Assert.Equal(Enumerable.Range(0, 500).Select(i => $"{i}"), responses.Select(r => r.Text));
    }

    [Fact]
    public async Task TheEmptyMessageIsAMessage()
    {
        GrpcReply<EchoResponse> reply = await _channel.CallAsync(EchoService.Unary, new EchoRequest());
        Assert.True(reply.Status.IsOk);
        Assert.Equal(new EchoResponse(), reply.Message);
    }

    [Theory]
    [InlineData(3, "plain")]
    [InlineData(5, "100 % größer\nzweite Zeile 𝄞")]
    [InlineData(16, "")]
    public async Task AStatusArrivesWithItsMessage(int code, string message)
    {
        EchoRequest request = new() { StatusCode = code, StatusMessage = message };
        GrpcReply<EchoResponse> reply = await _channel.CallAsync(EchoService.Unary, request);
        Assert.Null(reply.Message);
        Assert.Equal(new GrpcStatus((GrpcStatusCode)code, message), reply.Status);
        GrpcException thrown = await Assert.ThrowsAsync<GrpcException>(() => _channel.UnaryAsync(EchoService.Unary, request).AsTask());
        Assert.Equal(reply.Status, thrown.Status);
    }

    [Fact]
    public async Task AnOverlongStatusMessageIsCutAndTheCodeKept()
    {
        EchoRequest request = new() { StatusCode = 9, StatusMessage = new string('ü', 5000) };
        GrpcReply<EchoResponse> reply = await _channel.CallAsync(EchoService.Unary, request);
        Assert.Equal(GrpcStatusCode.FailedPrecondition, reply.Status.Code);
        Assert.Equal(new string('ü', PercentEncoding.MaxEncodedBytes / 6), reply.Status.Message);
    }

    [Fact]
    public async Task AThrownRefusalKeepsItsTrailersAndABugItsSecret()
    {
        EchoRequest refuse = new() { Text = "refuse", StatusCode = 10, StatusMessage = "conflict" };
        GrpcReply<EchoResponse> refused = await _channel.CallAsync(EchoService.Unary, refuse);
        Assert.Equal(new GrpcStatus(GrpcStatusCode.Aborted, "conflict"), refused.Status);
        Assert.Equal("thrown", refused.Trailers.Get("reason"));

        GrpcReply<EchoResponse> broken = await _channel.CallAsync(EchoService.Unary, new EchoRequest { Text = "throw" });
        Assert.Equal(GrpcStatusCode.Unknown, broken.Status.Code);
        Assert.DoesNotContain("secret", broken.Status.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task MetadataTravelsBothWays()
    {
        byte[] bytes = [0, 1, 2, 255, 254];
        GrpcMetadata sent = new GrpcMetadata().Add("echo-big", new string('x', 6000)).Add("echo-raw-bin", bytes);
        GrpcReply<EchoResponse> reply = await _channel.CallAsync(
            EchoService.Unary, new EchoRequest(), new GrpcCallOptions { Metadata = sent });
        foreach (GrpcMetadata got in new[] { reply.Headers, reply.Trailers })
        {
            Assert.Equal(new string('x', 6000), got.Get("echo-big"));
            Assert.Equal(bytes, got.GetBytes("echo-raw-bin"));
            Assert.Equal(2, got.Count);
        }
        GrpcReply<EchoResponse> refused = await _channel.CallAsync(
            EchoService.Unary, new EchoRequest { StatusCode = 6 }, new GrpcCallOptions { Metadata = sent });
        Assert.Equal(GrpcStatusCode.AlreadyExists, refused.Status.Code);
        Assert.Equal(bytes, refused.Trailers.GetBytes("echo-raw-bin"));
    }

    [Fact]
    public async Task MetadataBeyondTheServersLimitFailsThatCallOnly()
    {
        GrpcMetadata sent = [];
        for (int i = 0; i < 8; i++)
            sent.Add($"echo-{i}", new string('x', 6000));
        GrpcReply<EchoResponse> first = await _channel.CallAsync(
            EchoService.Unary, new EchoRequest(), new GrpcCallOptions { Metadata = sent });
        Assert.Equal(GrpcStatusCode.ResourceExhausted, first.Status.Code);
        GrpcReply<EchoResponse> reply = await _channel.CallAsync(
            EchoService.Unary, new EchoRequest(), new GrpcCallOptions { Metadata = sent });
        // The server refuses with 431, or the client already does, once it knows the server's limit.
        Assert.Equal(GrpcStatusCode.ResourceExhausted, reply.Status.Code);
        Assert.True((await _channel.CallAsync(EchoService.Unary, new EchoRequest())).Status.IsOk);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(3, 0)]
    [InlineData(10_000, 7)]
    public async Task ServerStreamsKeepOrderAndEndWithTheirStatus(int count, int code)
    {
        using GrpcResponses<EchoResponse> responses = _channel.ServerStreaming(EchoService.Repeat,
            new EchoRequest { Count = count, Payload = Random(50), StatusCode = code, StatusMessage = "end" });
        long next = 0;
        GrpcStatusCode end = GrpcStatusCode.Ok;
        try
        {
            await foreach (EchoResponse response in responses)
                Assert.Equal(next++, response.Number);
        }
        catch (GrpcException e)
        {
            end = e.Code;
        }
        Assert.Equal(count, next);
        Assert.Equal((GrpcStatusCode)code, end);
    }

    [Fact]
    public async Task ClientStreamsOfManyMegabytesArrive()
    {
        using GrpcUpload<EchoRequest, EchoResponse> upload = _channel.ClientStreaming(EchoService.Collect);
        EchoRequest request = new() { Payload = Random(1024 * 1024) };
        for (int i = 0; i < 40; i++) // more than Kestrel's own limit on request bodies
            Assert.True(await upload.WriteAsync(request));
        GrpcReply<EchoResponse> reply = await upload.FinishAsync();
        Assert.Equal(40L * 1024 * 1024, reply.GetMessage().Number);
        Assert.Equal("40", reply.GetMessage().Text);
    }

    [Fact]
    public async Task AServerThatEndsAnUploadEarlyIsHeard()
    {
        using GrpcUpload<EchoRequest, EchoResponse> upload = _channel.ClientStreaming(EchoService.Collect);
        await upload.WriteAsync(new EchoRequest { StatusCode = 8, StatusMessage = "enough" });
        while (await upload.WriteAsync(new EchoRequest { Payload = Random(100_000) })) ;
        GrpcReply<EchoResponse> reply = await upload.FinishAsync();
        Assert.Equal(new GrpcStatus(GrpcStatusCode.ResourceExhausted, "enough"), reply.Status);
    }

    [Fact]
    public async Task DuplexAnswersBeforeTheNextRequest()
    {
        using GrpcDuplexCall<EchoRequest, EchoResponse> chat = _channel.Duplex(EchoService.Chat);
        for (int i = 0; i < 100; i++)
        {
            Assert.True(await chat.WriteAsync(new EchoRequest { Text = $"{i}" }));
            EchoResponse? response = await chat.ReadAsync();
            Assert.Equal($"{i}", response!.Text);
            Assert.Equal(i, response.Number);
        }
        chat.CompleteRequests();
        Assert.Null(await chat.ReadAsync());
    }

    [Fact]
    public async Task ADuplexStatusEndsTheCallWhileTheClientCouldStillWrite()
    {
        using GrpcDuplexCall<EchoRequest, EchoResponse> chat = _channel.Duplex(EchoService.Chat);
        await chat.WriteAsync(new EchoRequest { StatusCode = 11, StatusMessage = "over" });
        GrpcException end = await Assert.ThrowsAsync<GrpcException>(() => chat.ReadAsync().AsTask());
        Assert.Equal(new GrpcStatus(GrpcStatusCode.OutOfRange, "over"), end.Status);
        Assert.False(await chat.WriteAsync(new EchoRequest()));
    }

    [Fact]
    public async Task ADeadlineEndsBothSides()
    {
        // On a busy machine a short deadline passes before the handler has begun; then with a longer one.
        string tag = Tag();
        TimeSpan timeout = TimeSpan.FromMilliseconds(200);
        while (true)
        {
            GrpcReply<EchoResponse> reply = await _channel.CallAsync(
                EchoService.Hang, new EchoRequest { Text = tag }, new GrpcCallOptions { Timeout = timeout });
            Assert.Equal(GrpcStatusCode.DeadlineExceeded, reply.Status.Code);
            GrpcReply<EchoResponse> started = await _channel.CallAsync(
                EchoService.Ended, new EchoRequest { Text = "started:" + tag }, new GrpcCallOptions { Timeout = timeout });
            if (started.Status.IsOk || timeout > TimeSpan.FromSeconds(20))
                break;
            timeout *= 2;
            tag = Tag();
        }
        // The client gives up at the same moment, so the server may see either first.
        Assert.Contains(await EndedAsync(tag), new[] { "deadline", "cancelled" });
        GrpcReply<EchoResponse> late = await _channel.CallAsync(
            EchoService.Unary, new EchoRequest(), new GrpcCallOptions { Timeout = TimeSpan.Zero });
        Assert.Equal(GrpcStatusCode.DeadlineExceeded, late.Status.Code);
        GrpcReply<EchoResponse> inTime = await _channel.CallAsync(
            EchoService.Unary, new EchoRequest(), new GrpcCallOptions { Timeout = TimeSpan.FromHours(1) });
        Assert.True(inTime.Status.IsOk);
    }

    [Fact]
    public async Task ACancelledCallEndsOnTheServer()
    {
        string tag = Tag();
        using CancellationTokenSource source = new();
        Task call = _channel.UnaryAsync(EchoService.Hang, new EchoRequest { Text = tag }, null, source.Token).AsTask();
        Assert.Equal("started", await EndedAsync("started:" + tag));
        await source.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call);
        Assert.Equal("cancelled", await EndedAsync(tag));
    }

    [Fact]
    public async Task AStreamThatIsDroppedEndsOnTheServer()
    {
        string tag = Tag();
        using (GrpcResponses<EchoResponse> flood = _channel.ServerStreaming(
            EchoService.Flood, new EchoRequest { Text = tag, Payload = Random(1000) }))
        {
            for (int i = 0; i < 10; i++)
                Assert.Equal(i, (await flood.ReadAsync())!.Number);
        }
        Assert.Equal("cancelled", await EndedAsync(tag));
    }

    [Fact]
    public async Task AnUploadThatIsDroppedEndsOnTheServer()
    {
        string tag = Tag();
        using (GrpcUpload<EchoRequest, EchoResponse> upload = _channel.ClientStreaming(EchoService.Collect))
        {
            Assert.True(await upload.WriteAsync(new EchoRequest { Text = tag }));
            Assert.Equal("started", await EndedAsync("started:" + tag));
        }
        Assert.Equal("cancelled", await EndedAsync(tag));
    }

    [Fact]
    public async Task AResponseAboveTheClientsLimitIsRefused()
    {
        using GrpcChannel small = new(server.Address, new GrpcChannelOptions { MaxReceiveBytes = 1000 });
        GrpcReply<EchoResponse> reply = await small.CallAsync(EchoService.Unary, new EchoRequest { Payload = Random(2000) });
        Assert.Equal(GrpcStatusCode.ResourceExhausted, reply.Status.Code);
        Assert.True((await small.CallAsync(EchoService.Unary, new EchoRequest { Payload = Random(500) })).Status.IsOk);
    }

    [Fact]
    public async Task ARequestAboveTheServersLimitIsRefused()
    {
        EchoRequest request = new() { Payload = Random(GrpcServiceOptions.DefaultMaxReceiveBytes) };
        GrpcReply<EchoResponse> reply = await _channel.CallAsync(EchoService.Unary, request);
        Assert.Equal(GrpcStatusCode.ResourceExhausted, reply.Status.Code);
        Assert.Contains("4194304", reply.Status.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task GzipWorksBothWays()
    {
        EchoServer gzip = new(new GrpcServiceOptions { GzipResponses = true, MaxReceiveBytes = 2 * 1024 * 1024 }, mapped: true);
        await gzip.InitializeAsync();
        using (GrpcChannel channel = new(gzip.Address))
        {
            GrpcCallOptions options = new() { GzipRequests = true };
            foreach (ByteString payload in new[] { ByteString.Empty, ByteString.CopyFrom(new byte[1024 * 1024]), Random(100_000) })
            {
                EchoResponse response = await channel.UnaryAsync(EchoService.Unary, new EchoRequest { Payload = payload }, options);
                Assert.Equal(payload, response.Payload);
            }
            GrpcReply<EchoResponse> bomb = await channel.CallAsync(
                EchoService.Unary, new EchoRequest { Payload = ByteString.CopyFrom(new byte[3 * 1024 * 1024]) }, options);
            Assert.Equal(GrpcStatusCode.ResourceExhausted, bomb.Status.Code);
        }
        await gzip.DisposeAsync();
    }

    [Fact]
    public async Task TlsCarriesCallsAndAnUnknownCertificateIsUnavailable()
    {
        using GrpcChannel trusting = new(server.TlsAddress, new GrpcChannelOptions
        {
            ConfigureHandler = handler => handler.SslOptions.RemoteCertificateValidationCallback =
                (_, certificate, _, _) => certificate?.GetCertHashString() == server.Certificate.GetCertHashString(),
        });
        Assert.Equal("tls", (await trusting.UnaryAsync(EchoService.Unary, new EchoRequest { Text = "tls" })).Text);
        using GrpcChannel careful = new(server.TlsAddress);
        GrpcReply<EchoResponse> refused = await careful.CallAsync(EchoService.Unary, new EchoRequest());
        Assert.Equal(GrpcStatusCode.Unavailable, refused.Status.Code);
    }

    [Fact]
    public async Task NobodyListeningIsUnavailableForEveryKindOfCall()
    {
        using GrpcChannel channel = new(new Uri($"http://127.0.0.1:{Ports.Take()}"));
        Assert.Equal(GrpcStatusCode.Unavailable, (await channel.CallAsync(EchoService.Unary, new EchoRequest())).Status.Code);
        using GrpcUpload<EchoRequest, EchoResponse> upload = channel.ClientStreaming(EchoService.Collect);
        Assert.False(await upload.WriteAsync(new EchoRequest()));
        Assert.Equal(GrpcStatusCode.Unavailable, (await upload.FinishAsync()).Status.Code);
        using GrpcResponses<EchoResponse> responses = channel.ServerStreaming(EchoService.Repeat, new EchoRequest());
        Assert.Equal(GrpcStatusCode.Unavailable, (await Assert.ThrowsAsync<GrpcException>(() => responses.ReadAsync().AsTask())).Code);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AnUnknownMethodOrServiceIsUnimplemented(bool mapped)
    {
        EchoServer other = new(new GrpcServiceOptions(), mapped);
        await other.InitializeAsync();
        using (GrpcChannel channel = new(other.Address))
        {
            GrpcReply<EchoResponse> reply = await channel.CallAsync(EchoService.Method("Nothing"), new EchoRequest());
            Assert.Equal(GrpcStatusCode.Unimplemented, reply.Status.Code);
            Assert.Contains("/keyva.test.Echo/Nothing", reply.Status.Message, StringComparison.Ordinal);
            Assert.True((await channel.CallAsync(EchoService.Unary, new EchoRequest())).Status.IsOk);
        }
        await other.DisposeAsync();
    }

    private static ByteString Random(int length)
    {
        byte[] bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        return ByteString.CopyFrom(bytes);
    }

    private static string Tag() => Guid.NewGuid().ToString();

    private async Task<string> EndedAsync(string tag) => (await _channel.UnaryAsync(
        EchoService.Ended, new EchoRequest { Text = tag }, new GrpcCallOptions { Timeout = TimeSpan.FromSeconds(20) })).Text;
}
