using System.Buffers;
using System.Net.Sockets;

namespace KeyVa.Server.Resp;

/// <summary>
/// A socket, its session, and what came that the session has not taken yet. Its loop's thread alone, but for <see cref="Wake"/>.
/// </summary>
internal sealed class RespConnection : IDisposable
{
    /// <summary>What a connection may hold without asking.</summary>
    private const int FreeBytes = 64 << 10;

    private const int FirstBytes = 4 << 10;

    private readonly Socket _socket;
    private readonly RespLoop _loop;
    private byte[]? _buffer;
    private int _start;
    private int _end;
    private int _isPosted;
    private long _heldOutput;

    public RespConnection(Socket socket, RespLoop loop, RespDoor door)
    {
        _socket = socket;
        _loop = loop;
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

    public bool HasInput => _start < _end;

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

    /// <summary>Gives the session what has not been taken.</summary>
    public void Process()
    {
        Session!.Process(_buffer!, ref _start, _end);
        if (!HasInput)
        {
            Release();
        }
    }

    /// <summary>Keeps what the session has not taken of a buffer that is not its own; false: there is no room.</summary>
    public bool TryKeep(ReadOnlySpan<byte> rest)
    {
        if (!TryGrow(rest.Length))
        {
            return false;
        }

        rest.CopyTo(_buffer.AsSpan(_end));
        _end += rest.Length;
        return true;
    }

    /// <summary>Room behind what is kept; false: there is none to be had.</summary>
    public bool TryRoom(out Span<byte> room)
    {
        room = default;
        if (_buffer is null || (_end == _buffer.Length && !TryGrow(1)))
        {
            return false;
        }

        room = _buffer.AsSpan(_end);
        return true;
    }

    /// <summary>Counts replies that wait for the other side among what all connections hold; false: there is no room.</summary>
    public bool TryHoldOutput()
    {
        long held = IsBlocked ? Math.Max(0, Session!.Output.Length - FreeBytes) : 0;
        if (held != _heldOutput && !_loop.Door.TryHold(held - _heldOutput))
        {
            return false;
        }

        _heldOutput = held;
        return true;
    }

    public void NoteReceived(int bytes) => _end += bytes;

    public void Dispose()
    {
        IsClosed = true;
        Release();
        _loop.Door.TryHold(-_heldOutput);
        _heldOutput = 0;
        Session?.Dispose();
        _socket.Dispose();
    }

    /// <summary>Moves what is kept to the beginning, into a larger buffer if need be. It at most doubles: who announces much and sends little holds little.</summary>
    private bool TryGrow(int bytes)
    {
        int kept = _end - _start;
        byte[]? old = _buffer;
        if (old is null || old.Length - kept < bytes || kept > old.Length / 2)
        {
            byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Max(FirstBytes, Math.Max(kept + bytes, old is null ? 0 : old.Length * 2)));
            if (!_loop.Door.TryHold(Held(larger) - Held(old)))
            {
                ArrayPool<byte>.Shared.Return(larger);
                return false;
            }

            old.AsSpan(_start, kept).CopyTo(larger);
            if (old is not null)
            {
                ArrayPool<byte>.Shared.Return(old);
            }

            _buffer = larger;
        }
        else
        {
            old.AsSpan(_start, kept).CopyTo(old);
        }

        _start = 0;
        _end = kept;
        return true;
    }

    private void Release()
    {
        _start = 0;
        _end = 0;
        if (_buffer is { } buffer)
        {
            _buffer = null;
            _loop.Door.TryHold(-Held(buffer));
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static long Held(byte[]? buffer) => Math.Max(0, (buffer?.Length ?? 0) - FreeBytes);
}
