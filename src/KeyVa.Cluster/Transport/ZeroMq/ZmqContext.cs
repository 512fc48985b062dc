using KeyVa.Engines;

namespace KeyVa.Cluster.Transport.ZeroMq;

/// <summary>A context of libzmq: its own I/O thread, and sockets that must all be closed before it. Used by one thread.</summary>
internal sealed class ZmqContext : IDisposable
{
    /// <summary>Messages up to so large come from memory that former ones had: an append, and a frame that is full, with what is around it.</summary>
    private const int LargestKept = 4 << 20;

    /// <summary>Bytes that each of malloc's heaps keeps for the next messages: twice what is on its way to a follower.</summary>
    private const int KeptBytes = 32 << 20;

    private nint _context;

    public ZmqContext()
    {
        ZmqLibrary.Require();

        // libzmq takes each message's memory from malloc, on one thread, and frees it on another. Left alone, malloc gives most of it back to the system each time.
        _ = NativePages.RetainHeap(LargestKept, KeptBytes);
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
