using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using KeyVa.Tests.Engines;
using KeyVa.Tests.Resp;
using Xunit;
using Xunit.Abstractions;
using static KeyVa.Tests.Server.Identity.SecuredServer;

namespace KeyVa.Tests.Server.Identity;

/// <summary>
/// Clients that mean no good, beside one that does: they are cut off, what the server holds for them is bounded, and the other is served. Each test writes its figures
/// into the output of the run.
/// </summary>
[Collection(nameof(Alone))]
public sealed class HostileClientTests(ITestOutputHelper output)
{
    private const int PoliteRequests = 3000;
    private const long MostBytes = 192L << 20;

    // What a busy machine adds to the longest waits of a client in the same process as its attacker.
    private static readonly TimeSpan Noise = TimeSpan.FromMilliseconds(40);

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan CutOff = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan HeldBack = TimeSpan.FromSeconds(10);

    [Fact]
    public Task RedisClientsThatSayNothing() => RunAsync("half-open Redis clients", 200, server => server.Server.RespAddress, static async (socket, cancellation) =>
        await UntilCutOffAsync(socket, cancellation));

    [Fact]
    public Task RedisClientsThatSpeakByteByByte() => RunAsync("Redis commands byte by byte", 50, server => server.Server.RespAddress, static async (socket, cancellation) =>
    {
        await LoginAsync(socket, cancellation);
        byte[] command = Encoding.ASCII.GetBytes("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10000000\r\n" + new string('x', 10_000));
        await DripAsync(socket, command, cancellation);
    });

    [Fact]
    public Task RedisClientsThatAnnounceMuch() => RunAsync("Redis bombs", 200, server => server.Server.RespAddress, static async (socket, cancellation) =>
    {
        await LoginAsync(socket, cancellation);
        string[] bombs =
        [
            "*1048576\r\n$16777216\r\nx", "*2147483647\r\n", "*3\r\n$536870912\r\n", "*1\r\n$-5\r\n", new string('x', 70_000), "*-1\r\n*99999999999999999999\r\n", "*1048576\r\n$1\r\n",
        ];
        byte[] bomb = Encoding.ASCII.GetBytes(bombs[Random.Shared.Next(bombs.Length)]);
        await SendAsync(socket, bomb, cancellation);
        await UntilCutOffAsync(socket, cancellation);
    });

    [Fact]
    public Task RedisClientsThatNeverRead() => RunAsync("deep pipelines that are never read", 20, server => server.Server.RespAddress, static async (socket, cancellation) =>
    {
        await LoginAsync(socket, cancellation);
        byte[] gets = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(RespSocket.Encode("GET", "large"), 1000)));
        await UntilRefusedAsync(socket, gets, cancellation);
    });

    [Fact]
    public Task HttpClientsThatSayNothingOrLittle() => RunAsync("half-open and byte by byte HTTP", 100, server => server.Server.RestAddress, static async (socket, cancellation) =>
    {
        if (Random.Shared.Next(2) == 0)
        {
            await DripAsync(socket, Encoding.ASCII.GetBytes("GET /kv/x HTTP/1.1\r\nHost: x\r\nX: " + new string('x', 10_000)), cancellation);
        }
        else
        {
            await SendAsync(socket, "GET /kv/x HTTP/1.1\r\n"u8.ToArray(), cancellation);
            await UntilCutOffAsync(socket, cancellation);
        }
    });

    [Fact]
    public Task HttpBodiesThatComeSlowly() => RunAsync("HTTP bodies byte by byte", 50, server => server.Server.RestAddress, static async (socket, cancellation) =>
    {
        await SendAsync(socket, Encoding.ASCII.GetBytes($"PUT /kv/x HTTP/1.1\r\nHost: x\r\nAuthorization: {Basic("admin", AdminPassword)}\r\nContent-Length: 1000000\r\n\r\n"), cancellation);
        await DripAsync(socket, new byte[10_000], cancellation);
    });

    [Fact]
    public Task HttpHeadersWithoutEnd() => RunAsync("giant headers", 50, server => server.Server.RestAddress, static async (socket, cancellation) =>
    {
        await SendAsync(socket, "GET / HTTP/1.1\r\nHost: x\r\n"u8.ToArray(), cancellation);
        await UntilRefusedAsync(socket, Encoding.ASCII.GetBytes("X-Junk: " + new string('x', 4000) + "\r\n"), cancellation);
    });

    [Fact]
    public Task HttpAnswersThatNobodyReads() => RunAsync("answers that are never read", 20, server => server.Server.RestAddress, static async (socket, cancellation) =>
    {
        string get = $"GET /kv/large HTTP/1.1\r\nHost: x\r\nAuthorization: {Basic("admin", AdminPassword)}\r\n\r\n";
        await UntilRefusedAsync(socket, Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(get, 50))), cancellation);
    });

    [Fact]
    public Task StreamsThatAreResetAtOnce() => RunAsync("HTTP/2 rapid reset", 4, server => server.Server.GrpcAddress, static async (socket, cancellation) =>
    {
        await SendAsync(socket, Http2.Preface, cancellation);
        for (int stream = 1; stream < 200_000; stream += 2)
        {
            await SendAsync(socket, [.. Http2.Headers(stream, endHeaders: true), .. Http2.Frame(3, 0, stream, [0, 0, 0, 8])], cancellation);
        }
    });

    [Fact]
    public Task PingsAndSettingsWithoutEnd() => RunAsync("HTTP/2 ping and settings floods", 4, server => server.Server.GrpcAddress, static async (socket, cancellation) =>
    {
        await SendAsync(socket, Http2.Preface, cancellation);
        byte[] flood = [.. Enumerable.Range(0, 500).SelectMany(static _ => (byte[])[.. Http2.Frame(6, 0, 0, new byte[8]), .. Http2.Frame(4, 0, 0, [])])];
        await UntilRefusedAsync(socket, flood, cancellation);
    }, isHeldBack: true);

    [Fact]
    public Task ContinuationsWithoutEnd() => RunAsync("HTTP/2 continuation flood", 20, server => server.Server.GrpcAddress, static async (socket, cancellation) =>
    {
        await SendAsync(socket, [.. Http2.Preface, .. Http2.Headers(1, endHeaders: false)], cancellation);

        // Literal fields that are not to be indexed, one behind the other.
        byte[] fields = [.. Enumerable.Range(0, 100).SelectMany(static _ => (byte[])[0, 1, (byte)'x', 100, .. new byte[100].Select(static _ => (byte)'y')])];
        await UntilRefusedAsync(socket, Http2.Frame(9, 0, 1, fields), cancellation);
    });

    /// <summary>Runs so many attackers beside a polite client, and asks that each is cut off, memory bounded, and the polite one served.</summary>
    private async Task RunAsync(string name, int attackers, Func<SecuredServer, IPEndPoint> address, Func<Socket, CancellationToken, Task> attack, bool isHeldBack = false)
    {
        await using SecuredServer server = await StartAsync(static options => options with { RespPatience = Patience });
        server.Server.Store.Upsert("large"u8, new byte[100_000]);
        await using RespSocket polite = await server.RedisAsync("admin", AdminPassword);
        await PoliteAsync(server, polite, PoliteRequests);
        TimeSpan before = await PoliteAsync(server, polite, PoliteRequests);
        GC.Collect();
        long resident = Environment.WorkingSet;

        // Whoever takes no answers to what costs nothing is held back at once, and cut off minutes later, as any connection without requests.
        using CancellationTokenSource limit = new(isHeldBack ? HeldBack : CutOff);
        long began = Stopwatch.GetTimestamp();
        Task[] attacks = [.. Enumerable.Range(0, attackers).Select(_ => Task.Run(() => AttackAsync(address(server), attack, limit.Token)))];
        Task all = Task.WhenAll(attacks);
        List<TimeSpan> during = [];
        long most = 0;
        do
        {
            during.Add(await PoliteAsync(server, polite, PoliteRequests / 4));
            most = Math.Max(most, Environment.WorkingSet - resident);
        }
        while (!all.IsCompleted);

        await all;
        TimeSpan p99 = during.Order().ElementAt(during.Count / 2);
        output.WriteLine($"{name}: {attackers} attackers {(isHeldBack ? "held back for" : "cut off after")} {Stopwatch.GetElapsedTime(began).TotalSeconds:F1} s; p99 of the other client {before.TotalMilliseconds:F2} ms before, {p99.TotalMilliseconds:F2} ms meanwhile; at most {most >> 20} MiB more resident");
        Assert.False(!isHeldBack && limit.IsCancellationRequested, $"{name}: not all were cut off in {CutOff}");
        Assert.True(most < MostBytes, $"{name}: {most} bytes more");
        Assert.True(p99 < (2 * before) + Noise, $"{name}: p99 {before} before, {p99} meanwhile");
    }

    private static async Task AttackAsync(IPEndPoint address, Func<Socket, CancellationToken, Task> attack, CancellationToken cancellation)
    {
        using Socket socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(address, cancellation);
            await attack(socket, cancellation);
        }
        catch (SocketException)
        {
            // Cut off, which is the point.
        }
        catch (OperationCanceledException)
        {
            // Whoever waits for all sees that it was too long.
        }
    }

    /// <summary>The 99th percentile of a client that asks one thing after the other.</summary>
    private static async Task<TimeSpan> PoliteAsync(SecuredServer server, RespSocket redis, int requests)
    {
        List<long> took = [];
        for (int i = 0; i < requests; i++)
        {
            long began = Stopwatch.GetTimestamp();
            if (i % 4 == 0)
            {
                Assert.Equal(404, await server.StatusAsync("GET", "/kv/none", Basic("admin", AdminPassword)));
            }
            else
            {
                Assert.Equal("nil", await redis.CallAsync("GET", "none"));
            }

            took.Add(Stopwatch.GetTimestamp() - began);
        }

        return Stopwatch.GetElapsedTime(0, took.Order().ElementAt(requests * 99 / 100));
    }

    private static async Task LoginAsync(Socket socket, CancellationToken cancellation)
    {
        await SendAsync(socket, Encoding.ASCII.GetBytes(RespSocket.Encode("AUTH", "admin", AdminPassword)), cancellation);
        byte[] reply = new byte[5];
        int received = 0;
        while (received < reply.Length)
        {
            received += await socket.ReceiveAsync(reply.AsMemory(received), SocketFlags.None, cancellation) is > 0 and var more ? more : throw new SocketException((int)SocketError.ConnectionReset);
        }
    }

    private static async Task SendAsync(Socket socket, byte[] bytes, CancellationToken cancellation)
    {
        for (int sent = 0; sent < bytes.Length;)
        {
            sent += await socket.SendAsync(bytes.AsMemory(sent), SocketFlags.None, cancellation);
        }
    }

    /// <summary>A byte every twentieth of a second, until the server has enough.</summary>
    private static async Task DripAsync(Socket socket, byte[] bytes, CancellationToken cancellation)
    {
        using PeriodicTimer timer = new(TimeSpan.FromMilliseconds(50));
        Task cut = UntilCutOffAsync(socket, cancellation);
        for (int i = 0; i < bytes.Length && !cut.IsCompleted && await timer.WaitForNextTickAsync(cancellation); i++)
        {
            await SendAsync(socket, [bytes[i]], cancellation);
        }

        await cut;
    }

    /// <summary>The same again and again, reading nothing, until the server has enough.</summary>
    private static async Task UntilRefusedAsync(Socket socket, byte[] bytes, CancellationToken cancellation)
    {
        while (true)
        {
            await SendAsync(socket, bytes, cancellation);
        }
    }

    private static async Task UntilCutOffAsync(Socket socket, CancellationToken cancellation)
    {
        byte[] buffer = new byte[4096];
        while (await socket.ReceiveAsync(buffer, SocketFlags.None, cancellation) > 0)
        {
        }
    }

    /// <summary>Frames of HTTP/2 (RFC 9113), as no client would send them.</summary>
    private static class Http2
    {
        public static readonly byte[] Preface = [.. "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8, .. Frame(4, 0, 0, [])];

        public static byte[] Frame(byte type, byte flags, int stream, byte[] payload)
        {
            byte[] frame = new byte[9 + payload.Length];
            frame[0] = (byte)(payload.Length >> 16);
            BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(1), (ushort)payload.Length);
            frame[3] = type;
            frame[4] = flags;
            BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(5), stream);
            payload.CopyTo(frame, 9);
            return frame;
        }

        /// <summary>POST /, in HPACK's static table.</summary>
        public static byte[] Headers(int stream, bool endHeaders) => Frame(1, (byte)(endHeaders ? 4 : 0), stream, [0x83, 0x86, 0x84, 0x41, 0x01, (byte)'x']);
    }
}
