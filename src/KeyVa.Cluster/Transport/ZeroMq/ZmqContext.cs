namespace KeyVa.Cluster.Transport.ZeroMq;

/// <summary>A context of libzmq: its own I/O thread, and sockets that must all be closed before it. Used by one thread.</summary>
internal sealed class ZmqContext : IDisposable
{
    private nint _context;

    public ZmqContext()
    {
        ZmqLibrary.Require();
        _context = Zmq.CreateContext();
        if (_context == 0)
        {
            throw Zmq.Failure("creating a context of libzmq");
        }
    }

    public ZmqSocket Open(int type)
    {
        nint socket = Zmq.CreateSocket(_context, type);
        return socket != 0 ? new ZmqSocket(socket) : throw Zmq.Failure("creating a socket of libzmq");
    }

    /// <summary>Waits until what sockets had to do in their closing is done; they linger for nothing, so that is at once.</summary>
    public void Dispose()
    {
        nint context = Interlocked.Exchange(ref _context, 0);
        if (context != 0)
        {
            while (Zmq.EndContext(context) != 0 && System.Runtime.InteropServices.Marshal.GetLastPInvokeError() == Zmq.Interrupted)
            {
                // As its manual asks.
            }
        }
    }
}
