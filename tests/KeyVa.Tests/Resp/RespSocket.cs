using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace KeyVa.Tests.Resp;

/// <summary>A connection that speaks RESP byte by byte, as no client would. Replies come as text: <c>+OK</c>, <c>:1</c>, <c>[a, b]</c>, <c>nil</c>.</summary>
internal sealed class RespSocket : IAsyncDisposable
{
    private readonly TcpClient _client = new();
    private readonly byte[] _buffer = new byte[1 << 16];
    private int _start;
    private int _end;

    public static async Task<RespSocket> ConnectAsync(IPEndPoint address)
    {
        RespSocket socket = new();
        await socket._client.ConnectAsync(address);
        return socket;
    }

    public async Task<string> CallAsync(params string[] arguments)
    {
        await SendAsync(arguments);
        return await ReadAsync();
    }

    public Task SendAsync(params string[] arguments) => SendRawAsync(Encode(arguments));

    /// <summary>A command as it stands on the wire, to be sent in one piece with others.</summary>
    public static string Encode(params string[] arguments)
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"*{arguments.Length}\r\n");
        foreach (string argument in arguments)
        {
            text.Append(CultureInfo.InvariantCulture, $"${argument.Length}\r\n{argument}\r\n");
        }

        return text.ToString();
    }

    /// <summary>Sends nothing more, and goes on receiving.</summary>
    public void EndSending() => _client.Client.Shutdown(SocketShutdown.Send);

    public Task SendRawAsync(string text) => _client.Client.SendAsync(Encoding.Latin1.GetBytes(text), SocketFlags.None);

    /// <summary>One reply; <c>end</c>: the server has closed the connection.</summary>
    public async Task<string> ReadAsync()
    {
        string? line = await LineAsync();
        if (line is null)
        {
            return "end";
        }

        int count = line.Length > 1 && int.TryParse(line.AsSpan(1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number) ? number : 0;
        switch (line[0])
        {
            case '$' or '=':
                return count < 0 ? "nil" : (await BytesAsync(count + 2))[..^2];
            case '*' or '>' or '~' or '%':
                if (count < 0)
                {
                    return "nil";
                }

                List<string> items = [];
                for (int i = 0; i < (line[0] == '%' ? count * 2 : count); i++)
                {
                    items.Add(await ReadAsync());
                }

                return $"[{string.Join(", ", items)}]";
            case '_':
                return "nil";
            default:
                return line;
        }
    }

    public ValueTask DisposeAsync()
    {
        _client.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task<string?> LineAsync()
    {
        StringBuilder line = new();
        while (true)
        {
            if (_start == _end && !await FillAsync())
            {
                return null;
            }

            char one = (char)_buffer[_start++];
            line.Append(one);
            if (one == '\n')
            {
                return line.ToString(0, line.Length - 2);
            }
        }
    }

    private async Task<string> BytesAsync(int count)
    {
        StringBuilder text = new(count);
        while (text.Length < count)
        {
            if (_start == _end && !await FillAsync())
            {
                throw new EndOfStreamException();
            }

            int taken = Math.Min(count - text.Length, _end - _start);
            text.Append(Encoding.Latin1.GetString(_buffer, _start, taken));
            _start += taken;
        }

        return text.ToString();
    }

    private async Task<bool> FillAsync()
    {
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(60));
        try
        {
            _start = 0;
            _end = await _client.Client.ReceiveAsync(_buffer, SocketFlags.None, limit.Token);
            return _end > 0;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
        {
            _end = 0;
            return false;
        }
    }
}
