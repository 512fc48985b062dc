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
    // Requests of the polite client: until everything is compiled, of which one p99 is taken, between two looks at the attackers, and during attacks.
    private const int WarmUp = 20_000;
    private const int Window = 1000;
    private const int Slice = 100;
    private const int Samples = 20_000;
    private const int MostRounds = 20;

    private const long MostBytes = 192L << 20;

    // Whoever becomes ready where other threads run may wait for the kernel's next tick, whatever the server does: 250 of them a second are usual.
    private static readonly TimeSpan TimeSlice = TimeSpan.FromMilliseconds(4);

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan CutOff = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan HeldBack = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Stretch = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan DripPause = TimeSpan.FromMilliseconds(50);

    [Fact]
    public Task RedisClientsThatSayNothing() => RunAsync("half-open Redis clients", 200, server => server.Server.RespAddress, UntilCutOff);

    [Fact]
    public Task RedisClientsThatSpeakByteByByte() => RunAsync("Redis commands byte by byte", 50, server => server.Server.RespAddress, static socket =>
    {
        Login(socket);
        byte[] command = Encoding.ASCII.GetBytes("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10000000\r\n" + new string('x', 10_000));
        Drip(socket, command);
    });

    [Fact]
    public Task RedisClientsThatAnnounceMuch() => RunAsync("Redis bombs", 200, server => server.Server.RespAddress, static socket =>
    {
        Login(socket);
        string[] bombs =
        [
            "*1048576\r\n$16777216\r\nx", "*2147483647\r\n", "*3\r\n$536870912\r\n", "*1\r\n$-5\r\n", new string('x', 70_000), "*-1\r\n*99999999999999999999\r\n", "*1048576\r\n$1\r\n",
        ];
        byte[] bomb = Encoding.ASCII.GetBytes(bombs[Random.Shared.Next(bombs.Length)]);
        Send(socket, bomb);
        UntilCutOff(socket);
    });

    [Fact]
    public Task RedisClientsThatNeverRead() => RunAsync("deep pipelines that are never read", 20, server => server.Server.RespAddress, static socket =>
    {
        Login(socket);
        byte[] gets = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(RespSocket.Encode("GET", "large"), 1000)));
        UntilRefused(socket, gets);
    });

    [Fact]
    public Task HttpClientsThatSayNothingOrLittle() => RunAsync("half-open and byte by byte HTTP", 100, server => server.Server.RestAddress, static socket =>
    {
        if (Random.Shared.Next(2) == 0)
        {
            Drip(socket, Encoding.ASCII.GetBytes("GET /kv/x HTTP/1.1\r\nHost: x\r\nX: " + new string('x', 10_000)));
        }
        else
        {
            Send(socket, "GET /kv/x HTTP/1.1\r\n"u8.ToArray());
            UntilCutOff(socket);
        }
    });

    [Fact]
    public Task HttpBodiesThatComeSlowly() => RunAsync("HTTP bodies byte by byte", 50, server => server.Server.RestAddress, static socket =>
    {
        Send(socket, Encoding.ASCII.GetBytes($"PUT /kv/x HTTP/1.1\r\nHost: x\r\nAuthorization: {Basic("admin", AdminPassword)}\r\nContent-Length: 1000000\r\n\r\n"));
        Drip(socket, new byte[10_000]);
    });

    [Fact]
    public Task HttpHeadersWithoutEnd() => RunAsync("giant headers", 50, server => server.Server.RestAddress, static socket =>
    {
        Send(socket, "GET / HTTP/1.1\r\nHost: x\r\n"u8.ToArray());
        UntilRefused(socket, Encoding.ASCII.GetBytes("X-Junk: " + new string('x', 4000) + "\r\n"));
    });

    [Fact]
    public Task HttpAnswersThatNobodyReads() => RunAsync("answers that are never read", 20, server => server.Server.RestAddress, static socket =>
    {
        string get = $"GET /kv/large HTTP/1.1\r\nHost: x\r\nAuthorization: {Basic("admin", AdminPassword)}\r\n\r\n";
        UntilRefused(socket, Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(get, 50))));
    });

    [Fact]
    public Task StreamsThatAreResetAtOnce() => RunAsync("HTTP/2 rapid reset", 4, server => server.Server.GrpcAddress, static socket =>
    {
        Send(socket, Http2.Preface);
        for (int stream = 1; stream < 200_000; stream += 2)
        {
            Send(socket, [.. Http2.Headers(stream, endHeaders: true), .. Http2.Frame(3, 0, stream, [0, 0, 0, 8])]);
        }
    });

    [Fact]
    public Task PingsAndSettingsWithoutEnd() => RunAsync("HTTP/2 ping and settings floods", 4, server => server.Server.GrpcAddress, static socket =>
    {
        Send(socket, Http2.Preface);
        byte[] flood = [.. Enumerable.Range(0, 500).SelectMany(static _ => (byte[])[.. Http2.Frame(6, 0, 0, new byte[8]), .. Http2.Frame(4, 0, 0, [])])];
        UntilRefused(socket, flood);
    }, isHeldBack: true);

    [Fact]
    public Task ContinuationsWithoutEnd() => RunAsync("HTTP/2 continuation flood", 20, server => server.Server.GrpcAddress, static socket =>
    {
        Send(socket, [.. Http2.Preface, .. Http2.Headers(1, endHeaders: false)]);

        // Literal fields that are not to be indexed, one behind the other.
        byte[] fields = [.. Enumerable.Range(0, 100).SelectMany(static _ => (byte[])[0, 1, (byte)'x', 100, .. new byte[100].Select(static _ => (byte)'y')])];
        UntilRefused(socket, Http2.Frame(9, 0, 1, fields));
    });

    /// <summary>
    /// Runs so many attackers beside a polite client, and asks that each is cut off, memory bounded, and the polite one served: its p99 at most doubled.
    /// </summary>
    /// <remarks>
    /// Three kinds of stretches take turns: quiet ones; ones in which the same attackers send to a listener that reads a little and answers nothing, which is what
    /// they cost as neighbours on the same machine; and attacks, again until there are enough samples. Both kinds with attackers begin as they do and last half a second at least,
    /// so that the starting of their threads has the same part in both; an attack that is cut off sooner has no more to show. A figure is the median of the p99 of windows of
    /// requests, and what windows of the first two kinds differ by is the machine's own noise.
    /// All clients have threads of their own and wait in the kernel, so that none stands in another's way, or in the server's, before it comes to the server.
    /// </remarks>
    private async Task RunAsync(string name, int attackers, Func<SecuredServer, IPEndPoint> address, Action<Socket> attack, bool isHeldBack = false)
    {
        await using SecuredServer server = await StartAsync(static options => options with { RespPatience = Patience });
        server.Server.Store.Upsert("large"u8, new byte[100_000]);
        using IdleListener control = new();
        await Task.Factory.StartNew(
            () => Run(name, server, control.Address, address(server), attackers, attack, isHeldBack), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    private void Run(string name, SecuredServer server, IPEndPoint control, IPEndPoint address, int attackers, Action<Socket> attack, bool isHeldBack)
    {
        using PoliteClient polite = new(server.Server.RespAddress, server.Server.RestAddress);
        polite.Ask(WarmUp);
        GC.Collect();
        long resident = Environment.WorkingSet;
        List<long> quiet = [];
        List<long> beside = [];
        List<long> attacked = [];
        TimeSpan longest = TimeSpan.Zero;
        long most = 0;
        quiet.AddRange(polite.Ask(2 * Window));
        for (int round = 0; round < MostRounds && attacked.Count < Samples; round++)
        {
            using (Attackers harmless = new(control, attackers, attack, Stretch))
            {
                do
                {
                    beside.AddRange(polite.Ask(Slice));
                }
                while (!harmless.AreOver || harmless.Age < Stretch);
            }

            // Whoever takes no answers to what costs nothing is held back at once, and cut off minutes later, as any connection without requests.
            using Attackers hostile = new(address, attackers, attack, isHeldBack ? HeldBack : CutOff);
            do
            {
                attacked.AddRange(polite.Ask(Slice));
                most = Math.Max(most, Environment.WorkingSet - resident);
            }
            while (!hostile.AreOver || hostile.Age < Stretch);

            Assert.False(!isHeldBack && hostile.WereEnded, $"{name}: not all were cut off in {CutOff}");
            longest = hostile.Lasted > longest ? hostile.Lasted : longest;
            quiet.AddRange(polite.Ask(2 * Window));
        }

        TimeSpan[] alone = P99s(quiet);
        TimeSpan[] machine = P99s(beside);
        TimeSpan[] meanwhile = P99s(attacked);
        TimeSpan calm = Median(alone) > Median(machine) ? Median(alone) : Median(machine);
        TimeSpan noise = alone.Concat(machine).Max() - Median([.. alone, .. machine]);
        TimeSpan floor = noise > TimeSlice ? noise : TimeSlice;
        output.WriteLine($"{name}: {attackers} attackers {(isHeldBack ? "held back for" : "cut off after")} {longest.TotalSeconds:F1} s; p99 of the other client {Median(alone).TotalMilliseconds:F2} ms alone, {Median(machine).TotalMilliseconds:F2} ms beside attackers of another port, {Median(meanwhile).TotalMilliseconds:F2} ms meanwhile ({alone.Length}, {machine.Length} and {meanwhile.Length} windows; calm ones differ by {noise.TotalMilliseconds:F2} ms); at most {most >> 20} MiB more resident");
        Assert.True(most < MostBytes, $"{name}: {most} bytes more");
        Assert.True(Median(meanwhile) <= (2 * calm) + floor, $"{name}: p99 {Median(alone)} alone, {Median(machine)} beside attackers of another port, {Median(meanwhile)} meanwhile, more than twice that and {floor}");
    }

    /// <summary>The 99th percentiles of windows of equal length; of what there is, if that is less than one.</summary>
    private static TimeSpan[] P99s(List<long> ticks) =>
        [.. ticks.Chunk(Window).Where(window => window.Length == Window || ticks.Count < Window).Select(static window => Stopwatch.GetElapsedTime(0, window.Order().ElementAt(window.Length * 99 / 100)))];

    private static TimeSpan Median(TimeSpan[] times) => times.Order().ElementAt(times.Length / 2);

    private static void Login(Socket socket)
    {
        Send(socket, Encoding.ASCII.GetBytes(RespSocket.Encode("AUTH", "admin", AdminPassword)));
        Span<byte> reply = stackalloc byte[5];
        for (int received = 0; received < reply.Length;)
        {
            received += socket.Receive(reply[received..]) is > 0 and var more ? more : throw new SocketException((int)SocketError.ConnectionReset);
        }
    }

    private static void Send(Socket socket, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            bytes = bytes[socket.Send(bytes)..];
        }
    }

    /// <summary>A byte every twentieth of a second, until the server has enough.</summary>
    private static void Drip(Socket socket, byte[] bytes)
    {
        byte[] replies = new byte[4096];
        foreach (byte one in bytes)
        {
            if (socket.Poll(DripPause, SelectMode.SelectRead) && socket.Receive(replies) == 0)
            {
                return;
            }

            Send(socket, [one]);
        }

        UntilCutOff(socket);
    }

    /// <summary>The same again and again, reading nothing, until the server has enough.</summary>
    private static void UntilRefused(Socket socket, byte[] bytes)
    {
        while (true)
        {
            Send(socket, bytes);
        }
    }

    private static void UntilCutOff(Socket socket)
    {
        byte[] buffer = new byte[4096];
        while (socket.Receive(buffer) > 0)
        {
        }
    }

    /// <summary>Attackers under way, each on a thread of its own, until they are cut off or the time is over.</summary>
    private sealed class Attackers : IDisposable
    {
        private const int StackBytes = 128 << 10;

        private readonly CancellationTokenSource _limit;
        private readonly Thread[] _threads;
        private readonly long _began = Stopwatch.GetTimestamp();
        private int _left;
        private long _ended;

        public Attackers(IPEndPoint address, int count, Action<Socket> attack, TimeSpan limit)
        {
            _limit = new CancellationTokenSource(limit);
            _left = count;
            _threads = [.. Enumerable.Range(0, count).Select(_ => new Thread(() => Attack(address, attack), StackBytes) { IsBackground = true })];
            foreach (Thread thread in _threads)
            {
                thread.Start();
            }
        }

        public bool AreOver => Volatile.Read(ref _left) == 0;

        /// <summary>Whether the time was over before all had been cut off.</summary>
        public bool WereEnded { get; private set; }

        public TimeSpan Age => Stopwatch.GetElapsedTime(_began);

        public TimeSpan Lasted => Stopwatch.GetElapsedTime(_began, Volatile.Read(ref _ended));

        public void Dispose()
        {
            _limit.Cancel();
            foreach (Thread thread in _threads)
            {
                thread.Join();
            }

            _limit.Dispose();
        }

        private void Attack(IPEndPoint address, Action<Socket> attack)
        {
            using Socket socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            using (_limit.Token.Register(socket.Dispose))
            {
                try
                {
                    socket.Connect(address);
                    attack(socket);
                }
                catch (SocketException)
                {
                    // Cut off, which is the point.
                }
                catch (ObjectDisposedException)
                {
                    // The time is over, as is noted below.
                }
            }

            if (_limit.IsCancellationRequested)
            {
                WereEnded = true;
            }

            Volatile.Write(ref _ended, Stopwatch.GetTimestamp());
            Interlocked.Decrement(ref _left);
        }
    }

    /// <summary>
    /// Takes connections, says what lets Redis clients go on, and reads as much as a server would before it has enough: what attackers cost the machine
    /// whatever the server does.
    /// </summary>
    private sealed class IdleListener : IDisposable
    {
        private const int ReadBytes = 64 << 10;

        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly List<Socket> _taken = [];
        private readonly Thread _thread;

        public IdleListener()
        {
            _listener.Start(512);
            _thread = new Thread(Accept) { IsBackground = true };
            _thread.Start();
        }

        public IPEndPoint Address => (IPEndPoint)_listener.LocalEndpoint;

        public void Dispose()
        {
            _listener.Dispose();
            _thread.Join();
            _taken.ForEach(static socket => socket.Dispose());
        }

        private void Accept()
        {
            try
            {
                while (true)
                {
                    Socket socket = _listener.AcceptSocket();
                    _taken.Add(socket);
                    Welcome(socket);
                }
            }
            catch (SocketException)
            {
                // The listener is closed.
            }
        }

        private static void Welcome(Socket socket)
        {
            try
            {
                socket.Send("+OK\r\n"u8);
                socket.ReceiveTimeout = 1;
                byte[] buffer = new byte[16 << 10];
                for (int left = ReadBytes; left > 0 && socket.Receive(buffer) is > 0 and var read; left -= read)
                {
                }
            }
            catch (SocketException)
            {
                // Nothing more comes, or whoever it was is gone already.
            }
        }
    }

    /// <summary>A client that asks one thing after the other, over Redis's protocol and, each fourth time, over REST.</summary>
    private sealed class PoliteClient : IDisposable
    {
        private static readonly byte[] RestRequest = Encoding.ASCII.GetBytes($"HEAD /kv/none HTTP/1.1\r\nHost: x\r\nAuthorization: {Basic("admin", AdminPassword)}\r\n\r\n");
        private static readonly byte[] RedisRequest = Encoding.ASCII.GetBytes(RespSocket.Encode("GET", "none"));

        private readonly Socket _redis = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        private readonly Socket _rest = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        private readonly byte[] _buffer = new byte[16 << 10];

        public PoliteClient(IPEndPoint redis, IPEndPoint rest)
        {
            _redis.Connect(redis);
            _rest.Connect(rest);
            Login(_redis);
        }

        /// <summary>What each of so many requests took, in ticks of the stopwatch.</summary>
        public long[] Ask(int requests)
        {
            long[] took = new long[requests];
            for (int i = 0; i < requests; i++)
            {
                long began = Stopwatch.GetTimestamp();
                if (i % 4 == 0)
                {
                    Ask(_rest, RestRequest, "HTTP/1.1 404"u8, "\r\n\r\n"u8);
                }
                else
                {
                    Ask(_redis, RedisRequest, "$-1"u8, "\r\n"u8);
                }

                took[i] = Stopwatch.GetTimestamp() - began;
            }

            return took;
        }

        public void Dispose()
        {
            _redis.Dispose();
            _rest.Dispose();
        }

        private void Ask(Socket socket, byte[] request, ReadOnlySpan<byte> begin, ReadOnlySpan<byte> end)
        {
            Send(socket, request);
            int received = 0;
            do
            {
                int more = socket.Receive(_buffer.AsSpan(received));
                Assert.True(more > 0, "the other client was cut off");
                received += more;
            }
            while (!_buffer.AsSpan(0, received).EndsWith(end));

            Assert.True(_buffer.AsSpan(0, received).StartsWith(begin), Encoding.ASCII.GetString(_buffer, 0, received));
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
