using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;

namespace KeyVa.Bench.Cluster;

/// <summary>
/// Clients of a gRPC method, each with one request under way: connections of HTTP/2 through SocketsHttpHandler, 64 clients on each, the same for every server. An answer with
/// another status than 0 is counted, and not as an operation.
/// </summary>
internal sealed class UnaryLoad : IDisposable
{
    private const int FrameHeaderBytes = 5;
    private const int ClientsOfConnection = 64;

    private static readonly MediaTypeHeaderValue GrpcType = new("application/grpc");

    private readonly HttpMessageInvoker[] _connections;
    private readonly int _clients;

    public UnaryLoad(int clients)
    {
        _clients = clients;
        _connections = [.. Enumerable.Range(0, (clients + ClientsOfConnection - 1) / ClientsOfConnection).Select(static _ => new HttpMessageInvoker(
            new SocketsHttpHandler { EnableMultipleHttp2Connections = false, UseProxy = false, UseCookies = false }))];
    }

    /// <summary>Answers with another status than 0, and what the last of them said.</summary>
    public (long Count, string Last) Failures { get; private set; }

    /// <summary>A message as it goes over the wire: compression flag (1 byte), length (4 bytes, big-endian), message.</summary>
    public static byte[] Frame(ReadOnlySpan<byte> message)
    {
        byte[] frame = new byte[FrameHeaderBytes + message.Length];
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(1), message.Length);
        message.CopyTo(frame.AsSpan(FrameHeaderBytes));
        return frame;
    }

    /// <summary>One call; the message that answers, or null with the status.</summary>
    public async Task<(byte[]? Message, string Status)> CallAsync(Uri uri, byte[] frame)
    {
        byte[] buffer = new byte[8 << 10];
        (int length, string status) = await CallAsync(_connections[0], uri, frame, buffer);
        return (status == "0" ? buffer[FrameHeaderBytes..length] : null, status);
    }

    /// <summary>Goes round the frames for so long. An answer shorter than <paramref name="leastBytes"/> fails the run.</summary>
    public async Task<Sample> RunAsync(Uri uri, byte[][] frames, int leastBytes, double seconds)
    {
        Failures = (0, "");
        long begun = Stopwatch.GetTimestamp();
        long end = begun + (long)(seconds * Stopwatch.Frequency);
        Histogram[] latencies = await Task.WhenAll(Enumerable.Range(0, _clients).Select(i => Task.Run(() => CallUntilAsync(i, uri, frames, leastBytes, end))));
        double elapsed = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        Histogram latency = new();
        Array.ForEach(latencies, latency.Merge);
        return new Sample
        {
            Operations = latency.Count,
            Seconds = elapsed,
            P50 = latency.Microseconds(0.50),
            P99 = latency.Microseconds(0.99),
            P999 = latency.Microseconds(0.999),
        };
    }

    public void Dispose() => Array.ForEach(_connections, static connection => connection.Dispose());

    private async Task<Histogram> CallUntilAsync(int client, Uri uri, byte[][] frames, int leastBytes, long end)
    {
        Histogram latency = new();
        byte[] buffer = new byte[4096];
        HttpMessageInvoker connection = _connections[client / ClientsOfConnection];
        // Each client has a place and a stride of its own: no two ask for the same keys in step.
        int at = client * 7919;
        long begun = Stopwatch.GetTimestamp();
        while (begun < end)
        {
            at += 1 + (client % 31);
            (int length, string status) = await CallAsync(connection, uri, frames[(at & int.MaxValue) % frames.Length], buffer);
            long now = Stopwatch.GetTimestamp();
            if (status != "0")
            {
                lock (_connections)
                {
                    Failures = (Failures.Count + 1, status);
                }
            }
            else if (length < leastBytes)
            {
                throw new InvalidOperationException($"{uri} answered {length} bytes, and not {leastBytes}");
            }
            else
            {
                latency.Add(now - begun);
            }

            begun = now;
        }

        return latency;
    }

    private static async Task<(int Length, string Status)> CallAsync(HttpMessageInvoker connection, Uri uri, byte[] frame, byte[] buffer)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, uri)
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent(frame) { Headers = { ContentType = GrpcType } },
        };
        request.Headers.TE.Add(new TransferCodingWithQualityHeaderValue("trailers"));
        using HttpResponseMessage response = await connection.SendAsync(request, CancellationToken.None);
        await using Stream body = await response.Content.ReadAsStreamAsync();
        int length = await body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false);
        // A refusal may come as headers alone.
        string status = Header(response.TrailingHeaders) ?? Header(response.Headers) ?? "none";
        return (length, status);
    }

    private static string? Header(HttpHeaders headers) => headers.TryGetValues("grpc-status", out IEnumerable<string>? values) ? values.First() : null;
}
