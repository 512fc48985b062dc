using System.Net;
using System.Net.Sockets;

namespace KeyVa.Tests.Cluster.Transport;

/// <summary>Stands between a node and those that connect to it: cuts connections, and damages what passes.</summary>
internal sealed class TcpRelay : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly List<Socket> _sockets = [];
    private readonly List<Task> _tasks = [];
    private readonly Func<int> _target;
    private readonly Task _accepting;

    // Guarded by the list of sockets.
    private bool _isCut;
    private bool _isDisposed;
    private long _passed;
    private long _cutAt = long.MaxValue;
    private long _flipAt = long.MaxValue;

    public TcpRelay(Func<int> target)
    {
        _target = target;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Bytes that passed towards the node.</summary>
    public long Passed
    {
        get
        {
            lock (_sockets)
            {
                return _passed;
            }
        }
    }

    /// <summary>How often connections were cut or damaged by appointment.</summary>
    public int Struck { get; private set; }

    /// <summary>Ends all connections, and every new one, until <see cref="Heal"/>.</summary>
    public void Cut()
    {
        lock (_sockets)
        {
            _isCut = true;
            CloseAll();
        }
    }

    public void Heal()
    {
        lock (_sockets)
        {
            _isCut = false;
        }
    }

    /// <summary>Ends all connections once, when so many more bytes have passed.</summary>
    public void CutAfter(long bytes)
    {
        lock (_sockets)
        {
            _cutAt = _passed + bytes;
        }
    }

    /// <summary>Flips a bit, once, when so many more bytes have passed.</summary>
    public void FlipAfter(long bytes)
    {
        lock (_sockets)
        {
            _flipAt = _passed + bytes;
        }
    }

    public async ValueTask DisposeAsync()
    {
        lock (_sockets)
        {
            _isDisposed = true;
            CloseAll();
        }

        _listener.Stop();
        await _accepting;
        await Task.WhenAll(_tasks);
    }

    private void CloseAll()
    {
        foreach (Socket socket in _sockets)
        {
            socket.Dispose();
        }

        _sockets.Clear();
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            Socket from;
            try
            {
                from = await _listener.AcceptSocketAsync();
            }
            catch (Exception ended) when (ended is SocketException or ObjectDisposedException)
            {
                return;
            }

            Socket to = new(SocketType.Stream, ProtocolType.Tcp);
            lock (_sockets)
            {
                if (_isCut || _isDisposed)
                {
                    from.Dispose();
                    to.Dispose();
                    continue;
                }

                _sockets.AddRange([from, to]);
                _tasks.Add(RelayAsync(from, to));
            }
        }
    }

    private async Task RelayAsync(Socket from, Socket to)
    {
        try
        {
            await to.ConnectAsync(IPAddress.Loopback, _target());
            await Task.WhenAny(PumpAsync(from, to, counts: true), PumpAsync(to, from, counts: false));
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException)
        {
            // One end is gone, and so is the other.
        }

        from.Dispose();
        to.Dispose();
    }

    private async Task PumpAsync(Socket from, Socket to, bool counts)
    {
        byte[] buffer = new byte[16 << 10];
        try
        {
            while (await from.ReceiveAsync(buffer) is > 0 and int read)
            {
                if (counts)
                {
                    Strike(buffer.AsSpan(0, read));
                }

                for (int at = 0; at < read;)
                {
                    at += await to.SendAsync(buffer.AsMemory(at, read - at));
                }
            }
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException)
        {
            // See above.
        }
    }

    private void Strike(Span<byte> bytes)
    {
        lock (_sockets)
        {
            _passed += bytes.Length;
            if (_passed > _flipAt)
            {
                bytes[(int)(_flipAt - (_passed - bytes.Length))] ^= 0x10;
                _flipAt = long.MaxValue;
                Struck++;
            }

            if (_passed > _cutAt)
            {
                _cutAt = long.MaxValue;
                Struck++;
                CloseAll();
            }
        }
    }
}
