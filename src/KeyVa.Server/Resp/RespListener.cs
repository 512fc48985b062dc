using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using KeyVa.Server.Tls;

namespace KeyVa.Server.Resp;

/// <summary>
/// Accepts Redis clients and hands them to the loops, one after the other. Thread-safe once started.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "StopAsync disposes it, when nothing uses it any more")]
internal sealed class RespListener
{
    /// <summary>What it is called in metrics and messages.</summary>
    public const string Name = "resp";

    private const int Backlog = 512;
    private const int KeepAliveSeconds = 300;

    /// <summary>Between two attempts to accept, the first of which has failed.</summary>
    private static readonly TimeSpan AcceptPause = TimeSpan.FromMilliseconds(100);

    private readonly RespDoor _door;
    private readonly ServerLog _log;
    private readonly Socket _socket;
    private readonly RespLoop[] _loops;
    private readonly Task _accepting;
    private readonly TlsCertificates? _certificates;
    private readonly CancellationTokenSource _stopping = new();
    private readonly ConcurrentDictionary<Task, byte> _secured = new();

    private RespListener(RespDoor door, Socket socket, int threads, TlsCertificates? certificates, ServerLog log)
    {
        _door = door;
        _certificates = certificates;
        _log = log;
        _socket = socket;
        Address = (IPEndPoint)socket.LocalEndPoint!;
        door.Port = Address.Port;
        _loops = [.. Enumerable.Range(0, threads).Select(number => new RespLoop(door, log, number))];
        _accepting = AcceptAsync();
    }

    public IPEndPoint Address { get; }

    public int Connections => _door.Connections;

    /// <summary>Starts to listen.</summary>
    /// <exception cref="ConfigurationException">The address cannot be listened on.</exception>
    public static RespListener Start(RespDoor door, ServerOptions options, TlsCertificates? certificates, ServerLog log)
    {
        Socket socket = new(options.RespListen.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            if (options.RespListen.Address.Equals(IPAddress.IPv6Any))
            {
                socket.DualMode = true;
            }

            socket.Bind(options.RespListen);
            socket.Listen(Backlog);
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new ConfigurationException(
                $"cannot listen on {options.RespListen} for {Name}: {e.Message}; "
                + "free the address, or choose another one with the setting 'resp-listen' (--resp-listen)", e);
        }

        int threads = options.RespThreads > 0 ? options.RespThreads : Math.Max(1, Environment.ProcessorCount / 2);
        return new RespListener(door, socket, threads, certificates, log);
    }

    /// <summary>
    /// Takes no more connections and closes those there are; when it ends, none of them uses the store any more. Once
    /// <paramref name="patience"/> is cancelled, what waits for others gives up at its next attempt, a lock's timeout later at most.
    /// </summary>
    public async Task StopAsync(CancellationToken patience)
    {
        _socket.Dispose();
        await _accepting;
        await using (patience.Register(_door.GiveUp))
        {
            await _stopping.CancelAsync();
            await Task.WhenAll([.. _loops.Select(static loop => loop.StopAsync()), .. _secured.Keys]);
        }

        _stopping.Dispose();
        await _door.DisposeAsync();
    }

    /// <summary>Serves a client over TLS, beside the loops.</summary>
    private void Secure(Socket client, TlsCertificates certificates)
    {
        Task serving = Task.Run(async () =>
        {
            await using RespTlsConnection connection = new(client, _door, _stopping.Token);
            try
            {
                await connection.RunAsync(certificates);
            }
            catch (Exception defect)
            {
                // As in the loops: it costs this client its connection, and nobody else anything.
                _log.RespDefect(defect);
            }
        });
        _secured[serving] = 0;
        serving.ContinueWith(ended => _secured.TryRemove(ended, out _), TaskScheduler.Default);
    }

    private async Task AcceptAsync()
    {
        bool hasFailed = false;
        for (int next = 0; ; next = (next + 1) % _loops.Length)
        {
            Socket client;
            try
            {
                client = await _socket.AcceptAsync();
                hasFailed = false;
            }
            catch (ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.OperationAborted)
            {
                return;
            }
            catch (SocketException e)
            {
                // One that went away again, or no descriptor left: those that are here go on. Said once, until it works again.
                if (!hasFailed)
                {
                    _log.RespNotAccepted(e.Message);
                }

                hasFailed = true;
                await Task.Delay(AcceptPause);
                continue;
            }

            try
            {
                client.NoDelay = true;
                client.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
                client.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, KeepAliveSeconds);
                if (_certificates is null)
                {
                    _loops[next].Add(client);
                }
                else
                {
                    Secure(client, _certificates);
                }
            }
            catch (SocketException e)
            {
                _log.RespNotAccepted(e.Message);
                client.Dispose();
            }
        }
    }
}
