namespace KeyVa.Cluster.Transport.ZeroMq;

/// <summary>
/// What waits to be sent to a peer, as messages of libzmq: many threads put in, copying once, and one takes out. Bounded in number and bytes; what
/// finds no room is refused. Closed from the beginning, and whenever there is no connection: then everything is refused, and what there was is
/// thrown away, since a frame that is late is worse than one that is lost.
/// </summary>
internal sealed unsafe class SendQueue : IDisposable
{
    private readonly Lock _gate = new();
    private readonly long _mostBytes;
    private readonly ZmqMessage[] _ring;

    // Guarded by the gate.
    private int _first;
    private int _count;
    private long _bytes;
    private bool _isOpen;

    public SendQueue(int mostMessages, long mostBytes)
    {
        _ring = GC.AllocateArray<ZmqMessage>(mostMessages, pinned: true);
        _mostBytes = mostBytes;
    }

    /// <summary>Whether nothing waits; a moment's truth.</summary>
    public bool IsEmpty => Volatile.Read(ref _count) == 0;

    /// <summary>Bytes that wait; a moment's truth.</summary>
    public long Bytes => Volatile.Read(ref _bytes);

    /// <summary>Copies a payload and puts it in behind a header of the kind.</summary>
    public bool TryAdd(MessageKind kind, ReadOnlySpan<byte> payload)
    {
        int bytes = payload.Length + TransportMessage.HeaderBytes;
        if (!HasRoom(bytes))
        {
            // Looked at without the copy; again below, when it counts.
            return false;
        }

        ZmqMessage message;
        if (Zmq.InitMessage(&message, (nuint)bytes) != 0)
        {
            return false;
        }

        Span<byte> target = new(Zmq.MessageData(&message), bytes);
        payload.CopyTo(target[TransportMessage.HeaderBytes..]);
        TransportMessage.Seal(target, kind);
        lock (_gate)
        {
            if (IsRoomFor(bytes))
            {
                _ring[(_first + _count) % _ring.Length] = message;
                _count++;
                _bytes += bytes;
                return true;
            }
        }

        _ = Zmq.CloseMessage(&message);
        return false;
    }

    /// <summary>Takes the first messages, as many as there is room for; each is the caller's from here on. Their bytes count until <see cref="Sent"/>.</summary>
    public int Take(Span<ZmqMessage> messages)
    {
        lock (_gate)
        {
            int taken = Math.Min(messages.Length, _count);
            for (int i = 0; i < taken; i++)
            {
                messages[i] = _ring[_first];
                _first = (_first + 1) % _ring.Length;
            }

            _count -= taken;
            return taken;
        }
    }

    /// <summary>Says that messages that were taken have left, or were closed.</summary>
    public void Sent(long bytes)
    {
        lock (_gate)
        {
            _bytes -= bytes;
        }
    }

    /// <summary>Lets messages in.</summary>
    public void Open()
    {
        lock (_gate)
        {
            _isOpen = true;
        }
    }

    /// <summary>Refuses messages from now on, and throws away what there is.</summary>
    public void Close()
    {
        lock (_gate)
        {
            _isOpen = false;
            for (; _count > 0; _count--)
            {
                ZmqMessage message = _ring[_first];
                _bytes -= (long)Zmq.MessageBytes(&message);
                _ = Zmq.CloseMessage(&message);
                _first = (_first + 1) % _ring.Length;
            }
        }
    }

    public void Dispose() => Close();

    private bool HasRoom(int bytes)
    {
        lock (_gate)
        {
            return IsRoomFor(bytes);
        }
    }

    // One message alone passes, whatever its size: the transport has a bound for that.
    private bool IsRoomFor(int bytes) => _isOpen && _count < _ring.Length && (_bytes == 0 || _bytes + bytes <= _mostBytes);
}
