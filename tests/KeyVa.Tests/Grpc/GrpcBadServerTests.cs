using System.Net;
using System.Net.Sockets;
using KeyVa.Protocol.Grpc;
using KeyVa.Tests.Grpc.Messages;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xunit;

namespace KeyVa.Tests.Grpc;

/// <summary>The client half against servers and proxies that misbehave: whatever they do, a status comes out.</summary>
public sealed class GrpcBadServerTests : IAsyncLifetime
{
    private readonly WebApplication _app;
    private RequestDelegate _answer = _ => Task.CompletedTask;

    public GrpcBadServerTests()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2));
        _app = builder.Build();
        _app.Run(http => _answer(http));
    }

    public Task InitializeAsync() => _app.StartAsync();

    public Task DisposeAsync() => _app.DisposeAsync().AsTask();

    [Theory]
    [InlineData(400, GrpcStatusCode.Internal)]
    [InlineData(401, GrpcStatusCode.Unauthenticated)]
    [InlineData(403, GrpcStatusCode.PermissionDenied)]
    [InlineData(404, GrpcStatusCode.Unimplemented)]
    [InlineData(429, GrpcStatusCode.Unavailable)]
    [InlineData(431, GrpcStatusCode.ResourceExhausted)]
    [InlineData(503, GrpcStatusCode.Unavailable)]
    [InlineData(500, GrpcStatusCode.Unknown)]
    [InlineData(302, GrpcStatusCode.Unknown)]
    public async Task HttpStatusesAreTranslated(int http, GrpcStatusCode code)
        => Assert.Equal(code, await CodeAsync(context =>
        {
            context.Response.StatusCode = http;
            return Task.CompletedTask;
        }));

    [Fact]
    public async Task AnotherContentTypeIsUnknown()
        => Assert.Equal(GrpcStatusCode.Unknown, await CodeAsync(http => http.Response.WriteAsync("hello")));

    [Fact]
    public async Task AMissingStatusIsInternal()
        => Assert.Equal(GrpcStatusCode.Internal, await CodeAsync(http => AnswerAsync(http, [0, 0, 0, 0, 0], null)));

    [Theory]
    [InlineData("99", GrpcStatusCode.Unknown)]
    [InlineData("-1", GrpcStatusCode.Unknown)]
    [InlineData("five", GrpcStatusCode.Unknown)]
    public async Task AStatusThatIsNoneIsUnknown(string status, GrpcStatusCode code)
        => Assert.Equal(code, await CodeAsync(http => AnswerAsync(http, [0, 0, 0, 0, 0], status)));

    [Theory]
    [InlineData("")]
    [InlineData("0000000000 0000000000")]
    [InlineData("00000000050a")]
    [InlineData("0000000001ff")]
    [InlineData("0100000000")]
    [InlineData("0700000000")]
    public async Task BodiesThatAreNotOneMessageAreInternal(string hex)
        => Assert.Equal(GrpcStatusCode.Internal, await CodeAsync(http =>
            AnswerAsync(http, Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal)), "0")));

    [Fact]
    public async Task ALengthAboveTheLimitIsRefusedUnread()
        => Assert.Equal(GrpcStatusCode.ResourceExhausted, await CodeAsync(async http =>
        {
            await AnswerAsync(http, [0, 255, 255, 255, 255], null);
            await http.Response.BodyWriter.FlushAsync();
            TaskCompletionSource never = new();
            await never.Task.WaitAsync(http.RequestAborted).ContinueWith(_ => { }, TaskScheduler.Default);
        }));

    [Theory]
    [InlineData(7, GrpcStatusCode.Unavailable)]
    [InlineData(8, GrpcStatusCode.Cancelled)]
    [InlineData(11, GrpcStatusCode.ResourceExhausted)]
    [InlineData(12, GrpcStatusCode.PermissionDenied)]
    [InlineData(2, GrpcStatusCode.Internal)]
    public async Task ResetsAreTranslatedBeforeAndAfterTheHeaders(int reset, GrpcStatusCode code)
    {
        Assert.Equal(code, await CodeAsync(http =>
        {
            http.Features.GetRequiredFeature<IHttpResetFeature>().Reset(reset);
            return Task.CompletedTask;
        }));
        Assert.Equal(code, await CodeAsync(async http =>
        {
            await AnswerAsync(http, [0, 0, 0, 0], null);
            await http.Response.BodyWriter.FlushAsync();
            http.Features.GetRequiredFeature<IHttpResetFeature>().Reset(reset);
        }));
    }

    [Fact]
    public async Task ALostConnectionIsUnavailable()
        => Assert.Equal(GrpcStatusCode.Unavailable, await CodeAsync(async http =>
        {
            await AnswerAsync(http, [0, 0, 0, 0], null);
            await http.Response.BodyWriter.FlushAsync();
            http.Features.GetRequiredFeature<Microsoft.AspNetCore.Connections.Features.IConnectionLifetimeFeature>().Abort();
        }));

    [Fact]
    public async Task AConnectionThatIsResetBeforeItIsUsedIsUnavailable()
    {
        // What a server does to connections that it has not accepted when it dies.
        using TcpListener dying = new(IPAddress.Loopback, 0);
        dying.Start();
        // What the callback throws would come out as a lost connection, too: it is looked at behind the call.
        bool wasReset = false;
        using GrpcChannel channel = new(new Uri($"http://{dying.LocalEndpoint}"), new GrpcChannelOptions
        {
            ConfigureHandler = handler => handler.ConnectCallback = async (context, cancellation) =>
            {
                Socket socket = new(SocketType.Stream, ProtocolType.Tcp);
                await socket.ConnectAsync(context.DnsEndPoint, cancellation);
                using (Socket accepted = await dying.AcceptSocketAsync(cancellation))
                {
                    accepted.LingerState = new LingerOption(enable: true, seconds: 0);
                }

                wasReset = socket.Poll(TimeSpan.FromSeconds(20), SelectMode.SelectRead);
                return new NetworkStream(socket, ownsSocket: true);
            },
        });
        GrpcReply<EchoResponse> reply = await channel.CallAsync(
            EchoService.Unary, new EchoRequest(), new GrpcCallOptions { Timeout = TimeSpan.FromSeconds(60) });
        Assert.True(wasReset, "no reset came");
        Assert.Equal(GrpcStatusCode.Unavailable, reply.Status.Code);
    }

    private static async Task AnswerAsync(HttpContext http, byte[] body, string? status)
    {
        http.Response.ContentType = "application/grpc";
        await http.Response.BodyWriter.WriteAsync(body);
        if (status is not null)
            http.Response.AppendTrailer("grpc-status", status);
    }

    private async Task<GrpcStatusCode> CodeAsync(RequestDelegate answer)
    {
        _answer = answer;
        using GrpcChannel channel = new(new Uri(_app.Services.GetRequiredService<IServer>().Features
            .Get<IServerAddressesFeature>()!.Addresses.Single()));
        GrpcReply<EchoResponse> reply = await channel.CallAsync(
            EchoService.Unary, new EchoRequest(), new GrpcCallOptions { Timeout = TimeSpan.FromSeconds(20) });
        return reply.Status.Code;
    }
}
