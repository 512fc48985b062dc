using System.Net;
using System.Net.Sockets;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.Grpc.Health.V1;
using KeyVa.Protocol.V1;
using KeyVa.Server;
using Xunit;

namespace KeyVa.Tests.Server;

public sealed class ListenerTests(ServerFixture server) : IClassFixture<ServerFixture>
{
    [Fact]
    public async Task AServiceIsReachedThroughItsOwnListenerAlone()
    {
        GrpcReply<StatsResponse> control = await server.Data.CallAsync(Methods.Stats, new StatsRequest());
        Assert.Equal(GrpcStatusCode.Unimplemented, control.Status.Code);
        GrpcReply<GetResponse> data = await server.Control.CallAsync(Methods.Get, new GetRequest());
        Assert.Equal(GrpcStatusCode.Unimplemented, data.Status.Code);
        foreach (IPEndPoint address in new[] { server.Server.GrpcAddress, server.Server.ControlAddress })
        {
            string answer = await ServerFixture.RawAsync(address, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            Assert.DoesNotContain("keyva_keys", answer);
        }

        using HttpRequestMessage grpc = new(HttpMethod.Post, $"http://{server.Server.RestAddress}/keyva.v1.DataPlane/Get")
        {
            Content = new ByteArrayContent(new byte[5]),
        };
        grpc.Content.Headers.ContentType = new("application/grpc");
        using HttpResponseMessage rest = await server.Http.SendAsync(grpc);
        Assert.Equal(HttpStatusCode.NotFound, rest.StatusCode);
    }

    [Theory]
    [InlineData("keyva.v1.DataPlane", true)]
    [InlineData("keyva.v1.ControlPlane", false)]
    public async Task HealthIsToldOnBothListeners(string service, bool onData)
    {
        HealthCheckRequest request = new() { Service = service };
        GrpcReply<HealthCheckResponse> data = await server.Data.CallAsync(HealthService.CheckMethod, request);
        GrpcReply<HealthCheckResponse> control = await server.Control.CallAsync(HealthService.CheckMethod, request);
        Assert.Equal(onData ? GrpcStatusCode.Ok : GrpcStatusCode.NotFound, data.Status.Code);
        Assert.Equal(onData ? GrpcStatusCode.NotFound : GrpcStatusCode.Ok, control.Status.Code);
        Assert.Equal(HealthCheckResponse.Types.ServingStatus.Serving, (onData ? data : control).GetMessage().Status);
    }

    [Fact]
    public async Task AnAddressInUseNamesTheAddressAndTheSetting()
    {
        string folder = Directory.CreateTempSubdirectory("keyva-").FullName;
        using Socket taken = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        taken.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        taken.Listen();
        IPEndPoint address = (IPEndPoint)taken.LocalEndPoint!;
        ServerOptions[] cases =
        [
            ServerFixture.AnyPorts with { RestListen = address },
            ServerFixture.AnyPorts with { GrpcListen = address },
            ServerFixture.AnyPorts with { ControlListen = address },
            ServerFixture.AnyPorts with { RespListen = address },
        ];
        string[] settings = ["--rest-listen", "--grpc-listen", "--control-listen", "--resp-listen"];
        for (int i = 0; i < cases.Length; i++)
        {
            // The same folder each time: a start that failed must have closed its store.
            ServerOptions options = cases[i] with { Data = folder, Logs = new CapturedLog() };
            ConfigurationException refused = await Assert.ThrowsAsync<ConfigurationException>(() => KeyVaServer.StartAsync(options));
            Assert.Contains($"127.0.0.1:{address.Port}", refused.Message);
            Assert.Contains(settings[i], refused.Message);
        }

        await using (KeyVaServer started = await KeyVaServer.StartAsync(ServerFixture.AnyPorts with { Data = folder, Logs = new CapturedLog() }))
        {
            Assert.NotEqual(0, started.RestAddress.Port);
        }

        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task AServerStopsWhenItIsAskedToAndCanBeStartedAgain()
    {
        string folder = Directory.CreateTempSubdirectory("keyva-").FullName;
        for (int i = 0; i < 2; i++)
        {
            KeyVaServer started = await KeyVaServer.StartAsync(ServerFixture.AnyPorts with { Data = folder, Logs = new CapturedLog() });
            using HttpClient http = new() { BaseAddress = new Uri($"http://{started.RestAddress}") };
            if (i == 0)
            {
                Assert.True((await http.PutAsync("/kv/kept", new StringContent("yes"))).IsSuccessStatusCode);
            }

            Assert.Equal("yes", await http.GetStringAsync("/kv/kept"));
            using CancellationTokenSource stop = new();
            Task stopped = started.WaitForShutdownAsync(stop.Token);
            Assert.False(stopped.IsCompleted);
            await stop.CancelAsync();
            await stopped;
            await Assert.ThrowsAsync<HttpRequestException>(() => http.GetStringAsync("/kv/kept"));
        }

        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task AServerThatStopsBreaksOffWhoDoesNotRead()
    {
        ServerFixture stopping = await ServerFixture.StartedAsync(new StoreOptions());
        for (int i = 0; i < 64; i++)
        {
            Assert.True(stopping.Store.Upsert(ServerFixture.Bytes($"stop/{i:d2}"), new byte[1 << 20]).IsOk);
        }

        using HttpRequestMessage list = new(HttpMethod.Get, "/kv");
        using HttpResponseMessage unread = await stopping.Http.SendAsync(list, HttpCompletionOption.ResponseHeadersRead);
        using GrpcResponses<ScanResponse> scan = stopping.Data.ServerStreaming(Methods.Scan, new ScanRequest());
        Assert.NotNull(await scan.ReadAsync());
        await stopping.Server.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30));
        await Assert.ThrowsAnyAsync<Exception>(async () =>
        {
            while (await scan.ReadAsync() is not null)
            {
            }
        });
        await Assert.ThrowsAnyAsync<Exception>(() => unread.Content.ReadAsByteArrayAsync());
        await stopping.DisposeAsync();
    }

    [Fact]
    public void TheBannerSaysWhereItListensAndWhatToTypeNext()
    {
        string banner = string.Join('\n', server.Server.Banner());
        Assert.Contains(server.Server.RestAddress.ToString(), banner);
        Assert.Contains(server.Server.GrpcAddress.ToString(), banner);
        Assert.Contains(server.Server.ControlAddress.ToString(), banner);
        Assert.Contains("keyva set", banner);
    }

    [Fact]
    public async Task TooManyHeadersAreRefused()
    {
        string headers = string.Concat(Enumerable.Range(0, 100).Select(i => $"X-{i}: 1\r\n"));
        Assert.StartsWith("HTTP/1.1 431", await ServerFixture.RawAsync(
            server.Server.RestAddress, $"GET /healthz HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n"));
        Assert.StartsWith("HTTP/1.1 431", await ServerFixture.RawAsync(
            server.Server.RestAddress, $"GET /healthz HTTP/1.1\r\nHost: x\r\nX: {new string('x', 20_000)}\r\nConnection: close\r\n\r\n"));
    }
}
