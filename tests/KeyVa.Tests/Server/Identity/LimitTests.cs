using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using KeyVa.Client;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using KeyVa.Server;
using KeyVa.Server.Admission;
using KeyVa.Tests.Resp;
using Xunit;
using static KeyVa.Tests.Server.Identity.SecuredServer;

namespace KeyVa.Tests.Server.Identity;

/// <summary>Limits of requests, bytes, connections and requests under way, and how each door says when to come back.</summary>
public sealed class LimitTests
{
    [Fact]
    public async Task AUserThatComesTooOftenIsToldWhenToComeBackInEachDoorsOwnWay()
    {
        await using SecuredServer server = await StartAsync(static options => options with { DataLimits = new PlaneLimits { UserRequests = 5 } });
        await server.Admin.Users.AddAsync("ada", Grants("data:write"), "pw");
        await server.Admin.Users.AddAsync("bob", Grants("data:write"), "pw");

        // One budget for all doors: what REST takes is missing to the others.
        HttpResponseMessage? refused = null;
        for (int i = 0; i < 20 && refused is null; i++)
        {
            HttpResponseMessage response = await server.SendAsync("GET", "/kv/x", Basic("ada", "pw"));
            refused = response.StatusCode == HttpStatusCode.TooManyRequests ? response : null;
        }

        await ServerFixture.ProblemAsync(refused!, 429, "rate-limited");
        Assert.Equal(TimeSpan.FromSeconds(1), refused!.Headers.RetryAfter!.Delta);
        refused.Dispose();

        using GrpcChannel channel = new(new Uri($"http://{server.Server.GrpcAddress}"));
        GrpcCallOptions options = new() { Metadata = new GrpcMetadata().Add("authorization", Basic("ada", "pw").ToString()) };
        GrpcReply<GetResponse> reply = await UntilRefusedAsync(() => channel.CallAsync(Methods.Get, new GetRequest { Keys = { Google.Protobuf.ByteString.CopyFromUtf8("x") } }, options).AsTask());
        Assert.Equal("rate-limited", reply.Trailers.Get("keyva-status"));
        Assert.InRange(int.Parse(reply.Trailers.Get("keyva-retry-after-ms")!, CultureInfo.InvariantCulture), 1, 1000);

        await using RespSocket redis = await server.RedisAsync("ada", "pw");
        string busy = "";
        for (int i = 0; i < 20 && !busy.StartsWith('-'); i++)
        {
            busy = await redis.CallAsync("GET", "x");
        }

        Assert.Matches("^-BUSY a limit of requests or bytes is reached, retry after [0-9]+ ms$", busy);

        // Another user has its own, and the client library says what it is.
        Assert.Equal(404, await server.StatusAsync("GET", "/kv/x", Basic("bob", "pw")));
        await using RemoteStore store = server.Connect(RemoteCredentials.Password("ada", "pw"));
        WriteResult write = default;
        for (int i = 0; i < 20 && write.Status != Status.RateLimited; i++)
        {
            write = await store.UpsertAsync("x"u8.ToArray(), "1"u8.ToArray());
        }

        Assert.Equal(Status.RateLimited, write.Status);

        // After a while it goes on.
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(20));
        while (await server.StatusAsync("GET", "/kv/x", Basic("ada", "pw")) == 429)
        {
            patience.Token.ThrowIfCancellationRequested();
        }
    }

    [Fact]
    public async Task RefusedCommandsOfAPipelineAreAnsweredInTheirPlaces()
    {
        await using SecuredServer server = await StartAsync(static options => options with { DataLimits = new PlaneLimits { AddressRequests = 50 } });
        await using RespSocket redis = await server.RedisAsync("admin", AdminPassword);
        StringBuilder sent = new();
        for (int i = 0; i < 300; i++)
        {
            sent.Append(RespSocket.Encode("SET", $"k{i}", "v")).Append(RespSocket.Encode("GET", $"k{i}"));
        }

        long begun = Stopwatch.GetTimestamp();
        await redis.SendRawAsync(sent.ToString());
        int done = 0;
        int refused = 0;
        for (int i = 0; i < 300; i++)
        {
            string set = await redis.ReadAsync();
            string get = await redis.ReadAsync();
            bool isSet = set == "+OK";
            Assert.True(isSet || set.StartsWith("-BUSY", StringComparison.Ordinal), set);
            Assert.True(get.StartsWith("-BUSY", StringComparison.Ordinal) || get == (isSet ? "v" : "nil"), get);
            done += (isSet ? 1 : 0) + (get[0] == '-' ? 0 : 1);
            refused += (isSet ? 0 : 1) + (get[0] == '-' ? 1 : 0);
        }

        // Those of a second, and of each that this took; the others of six hundred were refused.
        Assert.InRange(done, 10, 100 + (int)(50 * Stopwatch.GetElapsedTime(begun).TotalSeconds));
        Assert.True(refused > 0, "none was refused");

        // Saying who one is stays possible.
        Assert.Equal("+OK", await redis.CallAsync("AUTH", "admin", AdminPassword));
    }

    [Fact]
    public async Task BytesAreOwedUntilTheyArePaid()
    {
        await using SecuredServer server = await StartAsync(static options => options with { DataLimits = new PlaneLimits { UserBytes = 10_000 } });
        long begun = Stopwatch.GetTimestamp();
        Assert.Equal(204, await server.StatusAsync("PUT", "/kv/x", Basic("admin", AdminPassword), new ByteArrayContent(new byte[400_000])));
        using (HttpResponseMessage refused = await server.SendAsync("GET", "/kv/x", Basic("admin", AdminPassword)))
        {
            await ServerFixture.ProblemAsync(refused, 429, "rate-limited");

            // 400,000 bytes at 10,000 a second, of which one second's worth was there.
            Assert.InRange(refused.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 38 - Stopwatch.GetElapsedTime(begun).TotalSeconds, 40);
        }

        await using RespSocket redis = await server.RedisAsync("admin", AdminPassword);
        Assert.StartsWith("-BUSY", await redis.CallAsync("GET", "x"));

        // Health is not kept from those who ask for it.
        Assert.Equal(200, await server.StatusAsync("GET", "/healthz", null));
    }

    /// <summary>What is said of the control plane counts there, but only if it is said.</summary>
    [Fact]
    public async Task RepliesThatAreDroppedPayForNoOthers()
    {
        const int Dropped = 200;
        const int PaidAtOnce = 32;
        byte[] value = new byte[60_000];
        await using SecuredServer server = await StartAsync(static options => options with { DataLimits = new PlaneLimits { UserBytes = 10_000 } });
        Assert.True((await server.Server.Store.UpsertAsync("x"u8.ToArray(), value)).IsOk);
        await using RespSocket redis = await server.RedisAsync("admin", AdminPassword);
        StringBuilder sent = new(RespSocket.Encode("CLIENT", "REPLY", "OFF"));
        for (int i = 0; i < Dropped; i++)
        {
            sent.Append(RespSocket.Encode("CONFIG", "GET", "*"));
        }

        await redis.SendRawAsync(sent + RespSocket.Encode("CLIENT", "REPLY", "ON"));
        Assert.Equal("+OK", await redis.ReadAsync());
        Assert.Equal(value.Length, (await redis.CallAsync("GET", "x")).Length);

        // In one piece, before the debt is paid.
        await redis.SendRawAsync(string.Concat(Enumerable.Repeat(RespSocket.Encode("STRLEN", "x"), PaidAtOnce)));
        string reply = "";
        for (int i = 0; i < PaidAtOnce; i++)
        {
            reply = await redis.ReadAsync();
        }

        Assert.StartsWith("-BUSY", reply, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ABlockOfRedisCommandsOwesItsBytesToo()
    {
        await using SecuredServer server = await StartAsync(static options => options with { DataLimits = new PlaneLimits { AddressBytes = 50_000 } });
        await using RespSocket redis = await server.RedisAsync("admin", AdminPassword);
        string reply = "+OK";
        int sent = 0;
        for (; sent < 200 && reply == "+OK"; sent++)
        {
            reply = await redis.CallAsync("SET", "k", new string('x', 10_000));
        }

        Assert.StartsWith("-BUSY", reply);
        Assert.InRange(sent, 5, 60);
    }

    /// <summary>The end of a connection that an attacker broke off never came, and a stop waited for it for ever.</summary>
    [Fact]
    public void AStopWaitsForRequestsAndALostConnectionGivesItsPlaceBack()
    {
        ConnectionLimits limits = new(10, 10, 10, 10);
        AddressEntry address = limits.TryConnect(new IPEndPoint(IPAddress.Loopback, 1))!;
        using (ConnectionSlot held = new(limits, address))
        {
            Assert.True(limits.TryBeginRequest(address));
            Task stop = limits.StopAsync();
            Assert.False(stop.IsCompleted);
            Assert.False(limits.TryBeginRequest(address));
            Assert.False(stop.IsCompleted);
            limits.EndRequest(address);
            Assert.True(stop.IsCompletedSuccessfully);
            Assert.False(limits.TryBeginRequest(address));
            Assert.Equal(1, limits.Connections);
        }

        Assert.Equal(0, limits.Connections);
        Lose(limits);
        GC.Collect();
        GC.WaitForPendingFinalizers();
        Assert.Equal(0, limits.Connections);

        [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
        static void Lose(ConnectionLimits limits) => _ = new ConnectionSlot(limits, limits.TryConnect(new IPEndPoint(IPAddress.Loopback, 1))!);
    }

    [Fact]
    public async Task TheControlPlaneHasSmallLimitsByDefault()
    {
        await using SecuredServer server = await StartAsync(static options => options with { ControlLimits = new ServerOptions().ControlLimits });
        Assert.Equal(200, await server.StatusAsync("GET", "/users", Basic("admin", AdminPassword)));
        int[] statuses = await Task.WhenAll(Enumerable.Range(0, 200).Select(_ => server.StatusAsync("GET", "/users", Basic("admin", AdminPassword))));
        Assert.Contains(200, statuses);
        Assert.Contains(429, statuses);
        Assert.Equal(404, await server.StatusAsync("GET", "/kv/x", Basic("admin", AdminPassword)));
        Assert.Contains(server.Log.Audit, static line => line.Contains("outcome=rate-limited", StringComparison.Ordinal));
    }

    [Fact]
    public async Task AnAddressHasSoManyConnectionsAndNoMore()
    {
        await using SecuredServer server = await StartAsync(static options => options with { MaxAddressConnections = 3 });
        List<Socket> open = [];
        foreach (IPEndPoint address in new[] { server.Server.RestAddress, server.Server.RespAddress })
        {
            for (int i = 0; i < 3; i++)
            {
                Socket socket = new(SocketType.Stream, ProtocolType.Tcp);
                await socket.ConnectAsync(address);
                open.Add(socket);
                bool isRedis = address.Equals(server.Server.RespAddress);
                await socket.SendAsync(Encoding.ASCII.GetBytes(isRedis ? "PING\r\n" : "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), SocketFlags.None);
                Assert.StartsWith(isRedis ? "-NOAUTH" : "HTTP/1.1 200", await ReceiveAsync(socket));
            }

            using Socket fourth = new(SocketType.Stream, ProtocolType.Tcp);

            // It may be cut off before the client has even seen that it was connected.
            string answer = await TryConnectAsync(fourth, address) ? await ReceiveAsync(fourth) : "";
            Assert.True(answer is "" or "-ERR max number of clients reached\r\n", answer);

            // One that goes makes room.
            open[^1].Dispose();
            using CancellationTokenSource patience = new(TimeSpan.FromSeconds(20));
            while (true)
            {
                patience.Token.ThrowIfCancellationRequested();
                using Socket next = new(SocketType.Stream, ProtocolType.Tcp);
                if (!await TryConnectAsync(next, address))
                {
                    continue;
                }

                try
                {
                    await next.SendAsync("PING\r\n\r\n"u8.ToArray(), SocketFlags.None);
                }
                catch (SocketException)
                {
                    continue;
                }

                if (await ReceiveAsync(next) is { Length: > 0 } text && !text.StartsWith("-ERR max", StringComparison.Ordinal))
                {
                    break;
                }
            }
        }

        open.ForEach(static socket => socket.Dispose());
    }

    [Fact]
    public async Task RequestsUnderWayAreCountedByAddress()
    {
        await using SecuredServer server = await StartAsync(static options => options with { MaxAddressInFlight = 4 });
        List<HttpResponseMessage> watches = [];
        for (int i = 0; i < 4; i++)
        {
            HttpRequestMessage request = new(HttpMethod.Get, "/watch") { Headers = { Authorization = Basic("admin", AdminPassword) } };
            watches.Add(await server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead));
            Assert.Equal(HttpStatusCode.OK, watches[^1].StatusCode);
        }

        using (HttpResponseMessage refused = await server.SendAsync("GET", "/kv/x", Basic("admin", AdminPassword)))
        {
            await ServerFixture.ProblemAsync(refused, 429, "rate-limited");
        }

        watches.ForEach(static watch => watch.Dispose());
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(20));
        while (await server.StatusAsync("GET", "/kv/x", Basic("admin", AdminPassword)) != 404)
        {
            patience.Token.ThrowIfCancellationRequested();
        }
    }

    [Theory]
    [InlineData("10.0.0.7", "10.0.0.7")]
    [InlineData("::ffff:10.0.0.7", "10.0.0.7")]
    [InlineData("::1", "::1")]
    [InlineData("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64")]
    public void AnAddressIsCountedByWhatOneCustomerGets(string address, string expected) =>
        Assert.Equal(expected, ConnectionLimits.TextOf(new IPEndPoint(IPAddress.Parse(address), 1)));

    [Fact]
    public void ARateLetsThroughWhatItSays()
    {
        foreach (long perSecond in new[] { 1L, 7, 150, 99_999, 5_000_000_000 })
        {
            Rate rate = new(new RateOptions { PerSecond = perSecond });
            Assert.InRange(rate.Most, perSecond, perSecond + (perSecond / 50) + 1);
            Assert.True(rate.TryTake(rate.Most, out _));

            // Unless a second passes in between, which fills it again.
            long begun = Stopwatch.GetTimestamp();
            TimeSpan after;
            while (rate.TryTake(rate.Most, out after))
            {
                Assert.True(Stopwatch.GetElapsedTime(begun) > TimeSpan.FromSeconds(0.9), $"{rate.Most} were there again after {Stopwatch.GetElapsedTime(begun)}");
                begun = Stopwatch.GetTimestamp();
            }

            Assert.InRange(after, TimeSpan.FromMicroseconds(1), TimeSpan.FromSeconds(1.1));
        }

        Rate owed = new(new RateOptions { PerSecond = 1000 });
        long since = Stopwatch.GetTimestamp();
        owed.Owe(100_000);
        Assert.False(owed.TrySettle(out TimeSpan retryAfter));
        Assert.InRange(retryAfter.TotalSeconds, 98.5 - Stopwatch.GetElapsedTime(since).TotalSeconds, 99.1);
    }

    [Fact]
    public async Task WhoHasPaidIsNotRefusedForWhatOthersComeToOweMeanwhile()
    {
        // More than all of them will ever owe: whoever is refused here was refused for nothing. The size makes the bucket count in units of many bytes.
        Rate rate = new(new RateOptions { PerSecond = 100_000_000_000 });
        const int Callers = 4;
        const int Requests = 200_000;
        int refused = 0;
        using Barrier all = new(Callers);
        await Task.WhenAll(Enumerable.Range(0, Callers).Select(_ => Task.Factory.StartNew(
            () =>
            {
                all.SignalAndWait();
                for (int i = 0; i < Requests; i++)
                {
                    if (!rate.TrySettle(out TimeSpan _))
                    {
                        Interlocked.Increment(ref refused);
                    }

                    rate.Owe(120);
                    rate.Owe(340);
                }
            },
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default)));
        Assert.Equal(0, refused);
    }

    [Fact]
    public void MadeUpNamesShareWhatIsLeftWhenThereAreTooMany()
    {
        // What was taken comes back in a quarter of an hour, however long this takes: no name is left alone meanwhile.
        RateTable<string> table = new(new RateOptions { PerSecond = 1, Burst = 1000 });
        for (int i = 0; i < 40_000; i++)
        {
            table.Find(i.ToString(CultureInfo.InvariantCulture)).TryTake(1000, out _);
        }

        Assert.Same(table.Find("one more"), table.Find("and another"));
        Assert.NotSame(table.Find("1"), table.Find("2"));
    }

    private static async Task<GrpcReply<GetResponse>> UntilRefusedAsync(Func<Task<GrpcReply<GetResponse>>> call)
    {
        GrpcReply<GetResponse> reply = await call();
        for (int i = 0; i < 20 && reply.Status.Code != GrpcStatusCode.ResourceExhausted; i++)
        {
            reply = await call();
        }

        Assert.Equal(GrpcStatusCode.ResourceExhausted, reply.Status.Code);
        return reply;
    }

    private static async Task<bool> TryConnectAsync(Socket socket, IPEndPoint address)
    {
        try
        {
            await socket.ConnectAsync(address);
            return true;
        }
        catch (SocketException refused) when (refused.SocketErrorCode == SocketError.ConnectionReset)
        {
            return false;
        }
    }

    private static async Task<string> ReceiveAsync(Socket socket)
    {
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(20));
        byte[] buffer = new byte[4096];
        try
        {
            return Encoding.ASCII.GetString(buffer, 0, await socket.ReceiveAsync(buffer, SocketFlags.None, limit.Token));
        }
        catch (SocketException)
        {
            return "";
        }
    }
}
