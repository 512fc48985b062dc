using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace KeyVa.Bench.Front;

/// <summary>
/// Requests in waves over plain sockets: one to each connection, then the answer of each, then the next wave. One thread, which does as little as
/// it can, so that the server is what the processors are busy with.
/// </summary>
internal abstract class SocketWaves : ISliceLoad
{
    /// <summary>Requests of one connection, one after the other.</summary>
    private const int Variants = 16;

    private readonly Socket[] _sockets;
    private readonly byte[] _received = new byte[1 << 20];
    private readonly int _depth;

    // Made when they are sent first: what a request is like is not known while this is constructed.
    private byte[][][]? _requests;
    private int _wave;

    /// <param name="port">The server's, on this machine.</param>
    /// <param name="connections">So many, for as long as this lives.</param>
    /// <param name="depth">Requests of one connection under way at once.</param>
    protected SocketWaves(int port, int connections, int depth)
    {
        _depth = depth;
        _sockets = [.. Enumerable.Range(0, connections).Select(_ => Connect(port))];
    }

    public long Run(TimeSpan slice)
    {
        _requests ??= Requests();
        long answered = 0;
        long begun = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(begun) < slice)
        {
            int variant = _wave++ % Variants;
            for (int i = 0; i < _sockets.Length; i++)
            {
                _sockets[i].Send(_requests[i][variant]);
            }

            foreach (Socket socket in _sockets)
            {
                Receive(socket);
            }

            answered += (long)_sockets.Length * _depth;
        }

        return answered;
    }

    public void Dispose() => Array.ForEach(_sockets, static socket => socket.Dispose());

    /// <summary>One request.</summary>
    protected abstract string Request(string key);

    /// <summary>The bytes of the first answer that is there whole; 0: there is none yet.</summary>
    /// <exception cref="InvalidOperationException">It is not the answer that was asked for.</exception>
    protected abstract int AnswerBytes(ReadOnlySpan<byte> received);

    /// <summary>Sends a request of another kind and takes its answer, a line, which must begin with these.</summary>
    protected void Introduce(string request, string expected)
    {
        foreach (Socket socket in _sockets)
        {
            socket.Send(Encoding.ASCII.GetBytes(request));
            int length = 0;
            while (length == 0 || _received[length - 1] != '\n')
            {
                length += ReceiveSome(socket, _received.AsSpan(length));
            }

            if (!Encoding.ASCII.GetString(_received, 0, length).StartsWith(expected, StringComparison.Ordinal))
            {
                throw new InvalidOperationException($"the server answered '{Encoding.ASCII.GetString(_received, 0, length).TrimEnd()}'");
            }
        }
    }

    protected static InvalidOperationException Unexpected(ReadOnlySpan<byte> received) =>
        new($"the server answered '{Encoding.ASCII.GetString(received[..Math.Min(received.Length, 200)])}'");

    private static Socket Connect(int port)
    {
        Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        socket.Connect(new IPEndPoint(IPAddress.Loopback, port));
        return socket;
    }

    private static int ReceiveSome(Socket socket, Span<byte> room)
    {
        int received = socket.Receive(room);
        return received > 0 ? received : throw new InvalidOperationException("the server has closed a connection");
    }

    private byte[][][] Requests()
    {
        int key = 0;
        return [.. _sockets.Select(_ => Enumerable.Range(0, Variants).Select(_ => Pipeline(ref key)).ToArray())];
    }

    private byte[] Pipeline(ref int key)
    {
        StringBuilder text = new();
        for (int i = 0; i < _depth; i++)
        {
            text.Append(Request(FrontRecords.KeyText(key % FrontRecords.Asked * (FrontRecords.Count / FrontRecords.Asked))));
            key += 7;
        }

        return Encoding.ASCII.GetBytes(text.ToString());
    }

    private void Receive(Socket socket)
    {
        int length = 0;
        int taken = 0;
        for (int left = _depth; left > 0;)
        {
            length += ReceiveSome(socket, _received.AsSpan(length));
            while (left > 0 && AnswerBytes(_received.AsSpan(taken, length - taken)) is > 0 and var bytes)
            {
                taken += bytes;
                left--;
            }
        }

        if (taken != length)
        {
            throw Unexpected(_received.AsSpan(taken, length - taken));
        }
    }
}

/// <summary>GETs, or SETs, of a Redis client.</summary>
internal sealed class RespWaves : SocketWaves
{
    private static readonly byte[] Value = [.. Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"${FrontRecords.ValueBytes}\r\n")), .. FrontRecords.Value, .. "\r\n"u8];
    private static readonly byte[] Ok = [.. "+OK\r\n"u8];

    private readonly bool _sets;

    /// <param name="port">The server's.</param>
    /// <param name="connections">So many.</param>
    /// <param name="depth">Requests of a pipeline.</param>
    /// <param name="credentials">A name and a password; null: nobody in particular.</param>
    /// <param name="sets">SETs instead of GETs.</param>
    public RespWaves(int port, int connections, int depth, (string User, string Password)? credentials = null, bool sets = false)
        : base(port, connections, depth)
    {
        _sets = sets;
        if (credentials is var (user, password))
        {
            Introduce(Command("AUTH", user, password), "+OK");
        }
    }

    // Other keys than those that are read.
    protected override string Request(string key) => _sets ? Command("SET", "s" + key, new string('v', FrontRecords.ValueBytes)) : Command("GET", key);

    protected override int AnswerBytes(ReadOnlySpan<byte> received)
    {
        byte[] expected = _sets ? Ok : Value;
        return received.Length < expected.Length ? 0 : received.StartsWith(expected) ? expected.Length : throw Unexpected(received);
    }

    private static string Command(params string[] words) =>
        $"*{words.Length}\r\n{string.Concat(words.Select(static word => string.Create(CultureInfo.InvariantCulture, $"${word.Length}\r\n{word}\r\n")))}";
}

/// <summary>GETs of keys over HTTP/1.1.</summary>
internal sealed class HttpWaves(int port, int connections, string? authorization = null) : SocketWaves(port, connections, depth: 1)
{
    private static readonly byte[] Ok = [.. "HTTP/1.1 200 "u8];
    private static readonly byte[] Length = [.. "Content-Length: "u8];
    private static readonly byte[] End = [.. "\r\n\r\n"u8];

    protected override string Request(string key) =>
        $"GET /kv/{key} HTTP/1.1\r\nHost: 127.0.0.1\r\n{(authorization is null ? "" : $"Authorization: {authorization}\r\n")}\r\n";

    protected override int AnswerBytes(ReadOnlySpan<byte> received)
    {
        int head = received.IndexOf(End);
        if (head < 0)
        {
            return 0;
        }

        int length = received[..head].IndexOf(Length);
        ReadOnlySpan<byte> digits = length < 0 ? default : received[(length + Length.Length)..head];
        digits = digits[..(digits.IndexOf((byte)'\r') is >= 0 and var end ? end : digits.Length)];
        if (!received.StartsWith(Ok) || !int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out int body) || body != FrontRecords.ValueBytes)
        {
            throw Unexpected(received);
        }

        int bytes = head + End.Length + body;
        return received.Length < bytes ? 0 : bytes;
    }
}
