using System.Runtime.InteropServices;
using System.Text;

namespace KeyVa.Cluster.Transport.ZeroMq;

/// <summary>
/// A socket of libzmq, closed once. It belongs to the thread that opened it. Nothing waits: what would is an outcome. Errors are exceptions:
/// they mean a wrong option or a bug, since libzmq keeps the network's to itself.
/// </summary>
internal sealed unsafe class ZmqSocket : IDisposable
{
    private nint _socket;

    internal ZmqSocket(nint socket)
    {
        _socket = socket;
        // Closing throws away what could not be sent; the default would keep the process from ending.
        Set(Zmq.Linger, 0);
    }

    /// <summary>The descriptor that becomes readable when something about the socket has changed (and not whenever there is something to read).</summary>
    public int Descriptor => GetInt(Zmq.Descriptor);

    /// <summary>Attends to what has changed, and says what the socket is ready for.</summary>
    public int Events => GetInt(Zmq.Events);

    /// <summary>Where the socket is bound, with the port that the system chose.</summary>
    public string LastEndpoint
    {
        get
        {
            byte* text = stackalloc byte[256];
            nuint bytes = 256;
            Check(Zmq.GetOption(_socket, Zmq.LastEndpoint, text, &bytes), "asking a socket of libzmq for its address");
            return Encoding.UTF8.GetString(text, Math.Max(0, (int)bytes - 1));
        }
    }

    public void Set(int option, int value) => Check(Zmq.SetOption(_socket, option, &value, sizeof(int)), $"setting option {option} of libzmq");

    public void Set(int option, long value) => Check(Zmq.SetOption(_socket, option, &value, sizeof(long)), $"setting option {option} of libzmq");

    public void Set(int option, ReadOnlySpan<byte> value)
    {
        fixed (byte* bytes = value)
        {
            Check(Zmq.SetOption(_socket, option, bytes, (nuint)value.Length), $"setting option {option} of libzmq");
        }
    }

    public void Bind(string address) => Check(Zmq.Bind(_socket, address), $"listening for peers at '{address}'");

    public void Connect(string address) => Check(Zmq.Connect(_socket, address), $"connecting to a peer at '{address}'");

    /// <summary>Tells of the socket's connections at an address of this process, from now on.</summary>
    public void Monitor(string address, int events) => Check(Zmq.Monitor(_socket, address, events), "watching a socket of libzmq");

    /// <summary>Tells of nothing any more: to be called before the socket at the address is closed.</summary>
    public void EndMonitor() => Check(Zmq.Monitor(_socket, null, 0), "no longer watching a socket of libzmq");

    /// <summary>Hands a message over; false if there is no room, or no connection, and the message is the caller's still.</summary>
    public bool TrySend(ZmqMessage* message)
    {
        while (Zmq.Send(message, _socket, Zmq.DoNotWait) < 0)
        {
            if (!IsInterrupted("sending to a peer"))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Copies one part of a message and hands it over; false if there is no room.</summary>
    public bool TrySend(ReadOnlySpan<byte> part, bool more = false)
    {
        fixed (byte* bytes = part)
        {
            while (Zmq.Send(_socket, bytes, (nuint)part.Length, Zmq.DoNotWait | (more ? Zmq.SendMore : 0)) < 0)
            {
                if (!IsInterrupted("sending to a peer"))
                {
                    return false;
                }
            }
        }

        return true;
    }

    /// <summary>Takes the next part of a message; false if there is none. The message was initialized and is replaced.</summary>
    public bool TryReceive(ZmqMessage* message)
    {
        while (Zmq.Receive(message, _socket, Zmq.DoNotWait) < 0)
        {
            if (!IsInterrupted("receiving from a peer"))
            {
                return false;
            }
        }

        return true;
    }

    public void Dispose()
    {
        nint socket = _socket;
        _socket = 0;
        if (socket != 0)
        {
            // It fails for what is no socket alone.
            _ = Zmq.Close(socket);
        }
    }

    private static bool IsInterrupted(string operation) => Marshal.GetLastPInvokeError() switch
    {
        Zmq.Interrupted => true,
        Zmq.TryAgain => false,
        _ => throw Zmq.Failure(operation),
    };

    private static void Check(int result, string operation)
    {
        if (result < 0)
        {
            throw Zmq.Failure(operation);
        }
    }

    private int GetInt(int option)
    {
        int value;
        nuint bytes = sizeof(int);
        Check(Zmq.GetOption(_socket, option, &value, &bytes), "reading an option of libzmq");
        return value;
    }
}
