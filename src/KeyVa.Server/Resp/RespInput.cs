using System.Buffers;
using System.Diagnostics;

namespace KeyVa.Server.Resp;

/// <summary>
/// What came of a connection that its session has not taken yet. Its memory is rented while there is something in it, and counts among what all connections
/// hold. One thread at a time.
/// </summary>
internal sealed class RespInput(RespDoor door) : IDisposable
{
    /// <summary>What a connection may hold without asking.</summary>
    public const int FreeBytes = 64 << 10;

    private const int FirstBytes = 4 << 10;

    /// <summary>Whoever sends a command over a longer time than it is given sends at least so many bytes a second, as Kestrel asks of bodies.</summary>
    private const double LeastBytesPerSecond = 240;

    private long _since;
    private byte[]? _buffer;
    private int _start;
    private int _end;

    public bool IsEmpty => _start == _end;

    /// <summary>Gives the session what has not been taken.</summary>
    public void Process(RespSession session)
    {
        int start = _start;
        session.Process(_buffer!, ref _start, _end);
        if (_start != start)
        {
            _since = Stopwatch.GetTimestamp();
        }

        if (IsEmpty)
        {
            Release();
        }
    }

    /// <summary>Whether the command that is being received has taken longer than it may, and comes too slowly.</summary>
    public bool IsTooSlow(TimeSpan patience)
    {
        if (IsEmpty)
        {
            return false;
        }

        TimeSpan took = Stopwatch.GetElapsedTime(_since);
        return took > patience && (_end - _start) / took.TotalSeconds < LeastBytesPerSecond;
    }

    /// <summary>Keeps what the session has not taken of a buffer that is not its own; false: there is no room.</summary>
    public bool TryKeep(ReadOnlySpan<byte> rest)
    {
        if (!TryGrow(rest.Length))
        {
            return false;
        }

        if (IsEmpty)
        {
            _since = Stopwatch.GetTimestamp();
        }

        rest.CopyTo(_buffer.AsSpan(_end));
        _end += rest.Length;
        return true;
    }

    /// <summary>Room behind what is kept; false: there is none to be had.</summary>
    public bool TryRoom(out Memory<byte> room)
    {
        room = default;
        if ((_buffer is null || _end == _buffer.Length) && !TryGrow(1))
        {
            return false;
        }

        room = _buffer.AsMemory(_end);
        return true;
    }

    public void NoteReceived(int bytes)
    {
        if (IsEmpty)
        {
            _since = Stopwatch.GetTimestamp();
        }

        _end += bytes;
    }

    public void Dispose() => Release();

    /// <summary>Moves what is kept to the beginning, into a larger buffer if need be. It at most doubles: who announces much and sends little holds little.</summary>
    private bool TryGrow(int bytes)
    {
        int kept = _end - _start;
        byte[]? old = _buffer;
        if (old is null || old.Length - kept < bytes || kept > old.Length / 2)
        {
            byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Max(FirstBytes, Math.Max(kept + bytes, old is null ? 0 : old.Length * 2)));
            if (!door.TryHold(Held(larger) - Held(old)))
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
            door.TryHold(-Held(buffer));
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static long Held(byte[]? buffer) => Math.Max(0, (buffer?.Length ?? 0) - FreeBytes);
}
