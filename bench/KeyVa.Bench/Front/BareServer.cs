using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace KeyVa.Bench.Front;

/// <summary>
/// What Kestrel can do at best: no routing, no middleware, a constant answer of the same size as KeyVa's. One listener
/// speaks HTTP/1.1, the other HTTP/2 with a gRPC frame and trailers.
/// </summary>
internal static class BareServer
{
    private const int FrameHeaderBytes = 5;

    public static async Task RunAsync(int http1Port, int http2Port)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.Configure<KestrelServerOptions>(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Listen(IPAddress.Loopback, http1Port, listen => listen.Protocols = HttpProtocols.Http1);
            kestrel.Listen(IPAddress.Loopback, http2Port, listen => listen.Protocols = HttpProtocols.Http2);
        });
        await using WebApplication application = builder.Build();
        byte[] frame = new byte[FrameHeaderBytes + FrontRecords.GrpcMessageBytes];
        frame[4] = FrontRecords.GrpcMessageBytes;
        application.Run(context => context.Connection.LocalPort == http1Port ? AnswerRest(context) : AnswerGrpc(context, frame));
        await application.StartAsync();
        await ServerProcess.ServeUntilInputEndsAsync();
        await application.StopAsync();
    }

    private static async Task AnswerRest(HttpContext context)
    {
        context.Response.ContentType = "application/octet-stream";
        context.Response.ContentLength = FrontRecords.ValueBytes;
        await context.Response.BodyWriter.WriteAsync(FrontRecords.Value);
    }

    private static async Task AnswerGrpc(HttpContext context, byte[] frame)
    {
        while (true)
        {
            System.IO.Pipelines.ReadResult read = await context.Request.BodyReader.ReadAsync();
            context.Request.BodyReader.AdvanceTo(read.Buffer.End);
            if (read.IsCompleted)
            {
                break;
            }
        }

        context.Response.ContentType = "application/grpc";
        await context.Response.BodyWriter.WriteAsync(frame);
        context.Response.AppendTrailer("grpc-status", "0");
    }
}
