using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;

namespace KeyVa.Bench.Front;

/// <summary>
/// A load generator for unary gRPC: SocketsHttpHandler over one HTTP/2 connection, so many requests under way at once,
/// each a framed GetRequest with one key. Written out here and not taken from KeyVa's client, so that both servers meet the
/// very same bytes. Any answer that is not a whole frame with status 0 fails the run.
/// </summary>
internal sealed class GrpcLoad : ISliceLoad
{
    private const int FrameHeaderBytes = 5;

    private static readonly MediaTypeHeaderValue GrpcType = new("application/grpc");

    private readonly SocketsHttpHandler _handler = new() { EnableMultipleHttp2Connections = false, UseProxy = false, UseCookies = false };
    private readonly HttpMessageInvoker _client;
    private readonly Uri _uri;
    private readonly byte[][] _frames = [.. Enumerable.Range(0, FrontRecords.Asked).Select(i => Frame(FrontRecords.Key(i * (FrontRecords.Count / FrontRecords.Asked))))];
    private readonly int _underWay;
    private readonly string? _authorization;

    /// <summary>One connection, for as long as this lives.</summary>
    public GrpcLoad(int port, int underWay, string? authorization = null)
    {
        _client = new HttpMessageInvoker(_handler);
        _uri = new Uri($"http://127.0.0.1:{port}/keyva.v1.DataPlane/Get");
        _underWay = underWay;
        _authorization = authorization;
    }

    public static async Task<Sample> RunAsync(int port, int underWay, double seconds)
    {
        using GrpcLoad load = new(port, underWay);
        await CallAsync(load._client, load._uri, load._frames[0], new byte[1024], null);
        return await load.RunAsync(seconds);
    }

    public long Run(TimeSpan slice) => RunAsync(slice.TotalSeconds).GetAwaiter().GetResult().Operations;

    public void Dispose()
    {
        _client.Dispose();
        _handler.Dispose();
    }

    private async Task<Sample> RunAsync(double seconds)
    {
        long allocated = GC.GetTotalAllocatedBytes(precise: true);
        long begun = Stopwatch.GetTimestamp();
        long end = begun + (long)(seconds * Stopwatch.Frequency);
        Histogram[] latencies = await Task.WhenAll(Enumerable.Range(0, _underWay).Select(i => Task.Run(() => CallUntilAsync(_client, _uri, _frames, i, end, _authorization))));
        double elapsed = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        allocated = GC.GetTotalAllocatedBytes(precise: true) - allocated;

        Histogram latency = new();
        Array.ForEach(latencies, latency.Merge);
        return new Sample
        {
            Operations = latency.Count,
            Seconds = elapsed,
            P50 = latency.Microseconds(0.50),
            P99 = latency.Microseconds(0.99),
            P999 = latency.Microseconds(0.999),
            ProcessBytes = allocated / (double)latency.Count,
        };
    }

    private static async Task<Histogram> CallUntilAsync(HttpMessageInvoker client, Uri uri, byte[][] frames, int first, long end, string? authorization)
    {
        Histogram latency = new();
        byte[] buffer = new byte[1024];
        long begun = Stopwatch.GetTimestamp();
        for (int i = first; begun < end; i++)
        {
            await CallAsync(client, uri, frames[i % frames.Length], buffer, authorization);
            long now = Stopwatch.GetTimestamp();
            latency.Add(now - begun);
            begun = now;
        }

        return latency;
    }

    private static async Task CallAsync(HttpMessageInvoker client, Uri uri, byte[] frame, byte[] buffer, string? authorization)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, uri)
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent(frame) { Headers = { ContentType = GrpcType } },
        };
        if (authorization is not null)
        {
            request.Headers.TryAddWithoutValidation("authorization", authorization);
        }

        request.Headers.TE.Add(new TransferCodingWithQualityHeaderValue("trailers"));
        using HttpResponseMessage response = await client.SendAsync(request, CancellationToken.None);
        await using Stream body = await response.Content.ReadAsStreamAsync();
        int length = await body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false);
        bool whole = length > FrameHeaderBytes + FrontRecords.ValueBytes
            && BinaryPrimitives.ReadUInt32BigEndian(buffer.AsSpan(1)) == length - FrameHeaderBytes;
        string status = response.TrailingHeaders.TryGetValues("grpc-status", out IEnumerable<string>? values) ? values.First() : "none";
        if (!whole || status != "0")
        {
            throw new InvalidOperationException($"gRPC answer: HTTP {(int)response.StatusCode}, {length} bytes, grpc-status {status}");
        }
    }

    /// <summary>Compression flag (1 byte), length (4 bytes, big-endian), GetRequest { keys = 1: one key }.</summary>
    private static byte[] Frame(byte[] key)
    {
        byte[] frame = new byte[FrameHeaderBytes + 2 + key.Length];
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(1), 2 + key.Length);
        frame[FrameHeaderBytes] = 0x0A;
        frame[FrameHeaderBytes + 1] = (byte)key.Length;
        key.CopyTo(frame, FrameHeaderBytes + 2);
        return frame;
    }
}
