using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace KeyVa.Bench.Front;

/// <summary>Memory per key: what a server has resident with so many keys of 16 bytes and values of 100, less what it had empty; KeyVa's memory engine against redis-server.</summary>
internal sealed class RespMemoryBench(BenchOptions options)
{
    private const int DefaultKeys = 10_000_000;
    private const int Pipeline = 1000;
    private const int ValueBytes = 100;
    private const string OkReply = "+OK\r\n";

    /// <summary>The measured section, and whether KeyVa took at most Redis's memory.</summary>
    public (Section Section, bool Passed) Run()
    {
        int keys = (int)(options.RecordsGiven ?? DefaultKeys);
        Section section = new("Memory per key", askedRatio: 0);
        section.Targets.Add(("keyva-resp", "KeyVa's memory engine, volatile"));
        section.Targets.Add(("redis", "redis-server, no persistence"));
        section.Conditions.Add(("fill", $"{keys:N0} keys of 16 bytes, values of {ValueBytes} bytes, one client, pipelines of {Pipeline}"));
        using DataFolder folder = new(options.Data, "resp-memory");
        double keyva = Measure(section, "keyva-resp", keys, StartKeyVa(folder.Path));
        double redis = Measure(section, "redis", keys, StartRedis(folder.Path));
        bool kept = keyva <= redis;
        section.Note(string.Create(
            CultureInfo.InvariantCulture, $"{(kept ? "kept" : "BROKEN")}: {keyva:0.0} bytes resident per key, redis-server {redis:0.0} (116 of them are key and value)"));
        return (section, kept);
    }

    private static double Measure(Section section, string target, int keys, (IDisposable Server, int Port, Func<long> Resident) started)
    {
        using (started.Server)
        {
            long before = started.Resident();
            long began = System.Diagnostics.Stopwatch.GetTimestamp();
            Fill(started.Port, keys);
            double seconds = System.Diagnostics.Stopwatch.GetElapsedTime(began).TotalSeconds;
            section.Add("fill", threads: 1, target, new Sample { Operations = keys, Seconds = seconds });
            return (double)(started.Resident() - before) / keys;
        }
    }

    private static (IDisposable Server, int Port, Func<long> Resident) StartKeyVa(string folder)
    {
        string place = Path.Combine(folder, "keyva");
        Directory.CreateDirectory(place);
        int port = ServerProcess.FreePort();
        ServerProcess server = ServerProcess.Start(RespBench.KeyVaRole, place, port.ToString(CultureInfo.InvariantCulture), "volatile");
        return (server, port, () => server.ResidentBytes);
    }

    private static (IDisposable Server, int Port, Func<long> Resident) StartRedis(string folder)
    {
        string place = Path.Combine(folder, "redis");
        Directory.CreateDirectory(place);
        int port = ServerProcess.FreePort();
        RedisProcess server = new(port, place, appendFsync: null);
        return (server, port, () => server.ResidentBytes);
    }

    private static void Fill(int port, int keys)
    {
        using Socket socket = new(SocketType.Stream, ProtocolType.Tcp);
        socket.Connect(new IPEndPoint(IPAddress.Loopback, port));
        string value = new('v', ValueBytes);
        StringBuilder commands = new();
        byte[] replies = new byte[Pipeline * OkReply.Length];
        for (int at = 0; at < keys; at += Pipeline)
        {
            commands.Clear();
            int count = Math.Min(Pipeline, keys - at);
            for (int i = at; i < at + count; i++)
            {
                commands.Append(CultureInfo.InvariantCulture, $"*3\r\n$3\r\nSET\r\n$16\r\nkey:{i:D12}\r\n${ValueBytes}\r\n{value}\r\n");
            }

            Send(socket, Encoding.ASCII.GetBytes(commands.ToString()));
            Receive(socket, replies.AsSpan(0, count * OkReply.Length));
        }
    }

    private static void Send(Socket socket, ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            bytes = bytes[socket.Send(bytes)..];
        }
    }

    private static void Receive(Socket socket, Span<byte> bytes)
    {
        Span<byte> rest = bytes;
        while (!rest.IsEmpty)
        {
            int received = socket.Receive(rest);
            if (received == 0)
            {
                throw new InvalidOperationException("the server closed the connection");
            }

            rest = rest[received..];
        }

        if (bytes.IndexOf("-"u8) >= 0)
        {
            throw new InvalidOperationException("a SET was refused: " + Encoding.ASCII.GetString(bytes[..Math.Min(200, bytes.Length)]));
        }
    }
}
