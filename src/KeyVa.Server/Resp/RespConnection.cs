using System.Diagnostics;
using System.Net.Sockets;

namespace KeyVa.Server.Resp;

/// <summary>
/// A socket, its session, and what came that the session has not taken yet. Its loop's thread alone, but for <see cref="Wake"/>.
/// </summary>
internal sealed class RespConnection : IDisposable
{
    private readonly Socket _socket;
    private readonly RespLoop _loop;
    private readonly RespInput _input;
    private int _isPosted;
    private long _heldOutput;

    public RespConnection(Socket socket, RespLoop loop, RespDoor door)
    {
        _socket = socket;
        _loop = loop;
        _input = new RespInput(door);
        Descriptor = (int)socket.Handle;
        WakeAction = Wake;
        Session = door.TryOpen(socket.RemoteEndPoint, WakeAction);
    }

    public int Descriptor { get; }

    /// <summary>Null: there are too many connections, and this one is told so.</summary>
    public RespSession? Session { get; }

    public Action WakeAction { get; }

    /// <summary>There may be bytes to receive.</summary>
    public bool IsReadable { get; set; } = true;

    /// <summary>The other side sends nothing more; what it has sent may still be there to receive.</summary>
    public bool HasHungUp { get; set; }

    /// <summary>The other side does not take what is sent.</summary>
    public bool IsBlocked { get; set; }

    /// <summary>Ticks of the loop's clock when it was found blocked last.</summary>
    public long BlockedSince { get; set; }

    public bool IsClosed { get; private set; }

    /// <summary>The loop waits for the session's task, and is told when it ends.</summary>
    public bool IsAwaited { get; set; }

    /// <summary>Ticks of the loop's clock when something came last.</summary>
    public long LastHeard { get; set; }

    public bool HasInput => !_input.IsEmpty;

    /// <summary>Has the loop look at it; from any thread.</summary>
    public void Wake()
    {
        if (Interlocked.Exchange(ref _isPosted, 1) == 0)
        {
            _loop.Post(this);
        }
    }

    /// <summary>The loop looks at it now: what comes from here on posts it again.</summary>
    public void NoteTaken() => Volatile.Write(ref _isPosted, 0);

    /// <summary>Ticks of the loop's clock when it came.</summary>
    public long Opened { get; } = Stopwatch.GetTimestamp();

    /// <summary>Whether the command that is being received comes too slowly.</summary>
    public bool IsTooSlow(TimeSpan patience) => _input.IsTooSlow(patience);

    /// <summary>Gives the session what has not been taken.</summary>
    public void Process() => _input.Process(Session!);

    /// <summary>Keeps what the session has not taken of a buffer that is not its own; false: there is no room.</summary>
    public bool TryKeep(ReadOnlySpan<byte> rest) => _input.TryKeep(rest);

    /// <summary>Room behind what is kept; false: there is none to be had.</summary>
    public bool TryRoom(out Span<byte> room)
    {
        bool isThere = _input.TryRoom(out Memory<byte> memory);
        room = memory.Span;
        return isThere;
    }

    /// <summary>Counts replies that wait for the other side among what all connections hold; false: there is no room.</summary>
    public bool TryHoldOutput()
    {
        long held = IsBlocked ? Math.Max(0, Session!.Output.Length - RespInput.FreeBytes) : 0;
        if (held != _heldOutput && !_loop.Door.TryHold(held - _heldOutput))
        {
            return false;
        }

        _heldOutput = held;
        return true;
    }

    public void NoteReceived(int bytes) => _input.NoteReceived(bytes);

    public void Dispose()
    {
        IsClosed = true;
        _input.Dispose();
        _loop.Door.TryHold(-_heldOutput);
        _heldOutput = 0;
        Session?.Dispose();
        _socket.Dispose();
    }
}
