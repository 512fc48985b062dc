using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace KeyVa.Cli;

/// <summary>
/// Tells the service manager (sd_notify(3)) that the server is ready, that it is alive, and that it stops, if the manager has asked for that.
/// Thread-safe.
/// </summary>
internal sealed class ServiceNotifier : IAsyncDisposable
{
    private const string SocketVariable = "NOTIFY_SOCKET";
    private const string WatchdogVariable = "WATCHDOG_USEC";

    private readonly Socket? _socket;
    private readonly ITimer? _watchdog;

    private ServiceNotifier(Socket? socket, TimeSpan every)
    {
        _socket = socket;
        Tell("READY=1");
        if (socket is not null && every > TimeSpan.Zero)
        {
            _watchdog = TimeProvider.System.CreateTimer(static state => ((ServiceNotifier)state!).Tell("WATCHDOG=1"), this, every, every);
        }
    }

    /// <summary>
    /// Says that the server is ready; then, twice in the time that the manager waits, that the process is alive. A store that takes no writes any more is
    /// alive: it can still be read, and what to do about its disk is for a person to decide.
    /// </summary>
    public static ServiceNotifier Ready()
    {
        Socket? socket = Connect(Environment.GetEnvironmentVariable(SocketVariable));
        bool isWatched = long.TryParse(Environment.GetEnvironmentVariable(WatchdogVariable), NumberStyles.None, CultureInfo.InvariantCulture, out long microseconds);
        return new ServiceNotifier(socket, isWatched ? TimeSpan.FromMicroseconds(microseconds / 2.0) : TimeSpan.Zero);
    }

    /// <summary>Says that the server stops.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_watchdog is not null)
        {
            await _watchdog.DisposeAsync();
        }

        Tell("STOPPING=1");
        _socket?.Dispose();
    }

    private static Socket? Connect(string? path)
    {
        if (string.IsNullOrEmpty(path))
        {
            return null;
        }

        Socket socket = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        try
        {
            // An @ stands for the zero byte of an abstract name.
            socket.Connect(new UnixDomainSocketEndPoint(path[0] == '@' ? '\0' + path[1..] : path));
            return socket;
        }
        catch (SocketException)
        {
            socket.Dispose();
            return null;
        }
    }

    private void Tell(string state)
    {
        try
        {
            _socket?.Send(Encoding.ASCII.GetBytes(state));
        }
        catch (SocketException)
        {
            // A manager that does not listen any more is no reason to stop serving.
        }
    }
}
