using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace KeyVa.Tests;

/// <summary>
/// Ports that nobody listens on, below those that the system gives to connections and to whoever asks for any: a server that starts a little later, or is stopped and
/// started again, finds them free, however many tests run beside it.
/// </summary>
internal static class Ports
{
    private static readonly ConcurrentDictionary<int, bool> Given = new();

    public static int Take() => Take(1)[0];

    public static int[] Take(int count)
    {
        int[] ports = new int[count];
        for (int i = 0; i < count;)
        {
            int port = Random.Shared.Next(12_000, 32_000);
            if (!Given.TryAdd(port, true))
            {
                continue;
            }

            using TcpListener listener = new(IPAddress.Loopback, port);
            try
            {
                listener.Start();
                ports[i++] = port;
            }
            catch (SocketException taken) when (taken.SocketErrorCode == SocketError.AddressAlreadyInUse)
            {
                // The next one, then.
            }
        }

        return ports;
    }
}
