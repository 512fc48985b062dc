namespace KeyVa.Cluster.Transport.ZeroMq;

/// <summary>
/// The connection by which this node sends to a peer, on one lane: a DEALER that connects, greets, and sends once it was made welcome. What comes
/// back over it are the answers to greetings alone; the peer sends over a connection of its own.
/// <para>
/// libzmq reconnects by itself, but for one case: after a handshake that the other side refused (ZAP status 400) it never tries again, so the
/// socket is opened anew after a pause. Since the socket is ZMQ_IMMEDIATE, nothing is queued where there is no connection, and what was queued
/// for one that broke is gone with it. A connection can still be exchanged for the next one between two frames: these reach a peer that has not been greeted over it,
/// and are dropped there.
/// </para>
/// </summary>
internal sealed unsafe class PeerLink : IDisposable
{
    private const int BatchMessages = 32;
    private const int MostBatches = 8;

    /// <summary>How long an attempt to connect is left alone, though the peer is heard: it may be the one that succeeds.</summary>
    private const int LeastAttemptMilliseconds = 50;

    /// <summary>More than an answer has, and than libzmq's own commands have while a connection is made.</summary>
    private const long HandshakeBytes = 1024;

    private const int WatchedEvents = Zmq.EventDisconnected | Zmq.EventHandshakeSucceeded | Zmq.EventHandshakeFailed
        | Zmq.EventHandshakeFailedProtocol | Zmq.EventHandshakeFailedAuthentication;

    private static long _monitors;

    // Constant.
    private readonly ZmqTransportOptions _options;
    private readonly ulong _incarnation;
    private readonly ILinkOwner _owner;
    private readonly byte[]? _serverKey;

    private readonly Lock _gate = new();

    // Guarded by the gate.
    private readonly ZmqMessage[] _batch = GC.AllocateArray<ZmqMessage>(BatchMessages, pinned: true);
    private ZmqSocket? _dealer;
    private ZmqSocket? _monitor;
    private int _dealerPlace;
    private int _monitorPlace;
    private int _batchNext;
    private int _batchCount;
    private bool _isConnected;
    private ulong _greeting;
    private long _helloDue = long.MaxValue;
    private long _openDue;
    private long _openedAt;

    // Written under the gate, read by anybody.
    private volatile bool _isUp;
    private volatile bool _isBlocked;
    private volatile bool _hasAnswers;
    private volatile int _refusal;
    private long _sentMessages;
    private long _sentBytes;

    public PeerLink(ulong peer, PeerAddress address, Lane lane, ZmqTransportOptions options, ulong incarnation, ILinkOwner owner)
    {
        Peer = peer;
        Address = address;
        Lane = lane;
        _options = options;
        _incarnation = incarnation;
        _owner = owner;
        Queue = new SendQueue(options.QueueFrames, options.QueueBytes);
        if (options.Keys is not null)
        {
            _serverKey = new byte[NodeKeys.KeyBytes];
            if (!Z85.TryDecode(address.PublicKey, _serverKey))
            {
                throw new StoreException($"the public key of node {peer} is none: it must be {NodeKeys.KeyCharacters} characters of Z85, as 'keyva keygen' prints");
            }
        }
    }

    public ulong Peer { get; }

    public PeerAddress Address { get; }

    public Lane Lane { get; }

    /// <summary>What waits to be sent. Open while the peer has made this node welcome.</summary>
    public SendQueue Queue { get; }

    public bool IsUp => _isUp;

    /// <summary>Why the peer, or this node, would not have the last connection; none once one was welcome.</summary>
    public Refusal Refusal => (Refusal)_refusal;

    public long SentMessages => Volatile.Read(ref _sentMessages);

    public long SentBytes => Volatile.Read(ref _sentBytes);

    /// <summary>Whether there is something to do that no descriptor will tell of.</summary>
    public bool HasWork => _hasAnswers || CanSend;

    /// <summary>Whether there is something to send that can be sent.</summary>
    private bool CanSend => _isUp && !_isBlocked && (Volatile.Read(ref _batchNext) < Volatile.Read(ref _batchCount) || !Queue.IsEmpty);

    /// <summary>When <see cref="Tick"/> has something to do, by <see cref="Environment.TickCount64"/>.</summary>
    public long Due => Math.Min(_helloDue, _openDue);

    /// <summary>Whether the sockets have changed since <see cref="Watch"/>.</summary>
    public bool IsChanged { get; private set; }

    /// <summary>Adds the link's descriptors to those that the loop sleeps on.</summary>
    public void Watch(WakeUp wakeUp)
    {
        lock (_gate)
        {
            IsChanged = false;
            if (_dealer is not null && _monitor is not null)
            {
                _dealerPlace = wakeUp.Add(_dealer.Descriptor);
                _monitorPlace = wakeUp.Add(_monitor.Descriptor);
            }
        }
    }

    /// <summary>Does what is due, opens the socket and greets; then sends what waits.</summary>
    public void Tick(ZmqContext context, long now)
    {
        lock (_gate)
        {
            if (now >= _openDue)
            {
                _openDue = long.MaxValue;
                if (!_isConnected)
                {
                    Close();
                    Open(context, now);
                }
            }

            if (now >= _helloDue)
            {
                Greet(now);
                // Greeting may attend to what the descriptor would have told.
                ReadAnswers(now);
            }

            if (_hasAnswers)
            {
                // Reading takes what the descriptor would have told of room.
                _isBlocked = false;
                ReadAnswers(now);
            }

            Flush();
        }
    }

    /// <summary>
    /// The peer has greeted this node, so it listens by now: who waits between two attempts to connect, or was refused by it before, need not wait any longer. A node
    /// that was away for long would else hear nothing for up to a second after its start.
    /// </summary>
    public void PeerGreeted(long now)
    {
        lock (_gate)
        {
            if (_isConnected)
            {
                _helloDue = _isUp ? _helloDue : now;
            }
            else
            {
                _openDue = Math.Min(_openDue, Math.Max(now, _openedAt + LeastAttemptMilliseconds));
            }
        }
    }

    /// <summary>Looks at what the descriptors tell.</summary>
    public void Attend(WakeUp wakeUp, long now)
    {
        if (IsChanged)
        {
            return;
        }

        bool isMonitorReady = wakeUp.IsReady(_monitorPlace);
        bool isDealerReady = wakeUp.IsReady(_dealerPlace);
        if (!isMonitorReady && !isDealerReady)
        {
            return;
        }

        lock (_gate)
        {
            if (isMonitorReady)
            {
                ReadEvents(now);
            }

            if (isDealerReady && _dealer is not null)
            {
                _isBlocked = false;
                ReadAnswers(now);
            }
        }
    }

    /// <summary>Sends what waits on the caller's thread; false if the socket is in other hands, or not all could be sent at once: the loop is to see to it.</summary>
    public bool TryFlush()
    {
        if (!_gate.TryEnter())
        {
            return false;
        }

        try
        {
            Flush();
        }
        finally
        {
            _gate.Exit();
        }

        return !HasWork;
    }

    public void Dispose()
    {
        lock (_gate)
        {
            Close();
        }

        Queue.Dispose();
    }

    /// <summary>Hands to libzmq what waits, as far as there is room; a bounded piece of it at a time.</summary>
    private void Flush()
    {
        bool hasSent = false;
        for (int batches = 0; CanSend && batches < MostBatches; batches++)
        {
            if (_batchNext == _batchCount)
            {
                _batchNext = 0;
                _batchCount = Queue.Take(_batch);
            }

            SendBatch();
            hasSent = true;
        }

        if (hasSent)
        {
            // The descriptor tells once, and sending takes what it would have told: a refusal that came meanwhile would never be heard of again, nor that there is room.
            int events = _dealer!.Events;
            _hasAnswers |= (events & Zmq.Readable) != 0;
            _isBlocked &= (events & Zmq.Writable) == 0;
        }
    }

    private void SendBatch()
    {
        long sent = 0;
        for (bool again = true; _batchNext < _batchCount; _batchNext++)
        {
            // The array is pinned.
            ZmqMessage* message = (ZmqMessage*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref _batch[_batchNext]);
            long bytes = (long)Zmq.MessageBytes(message);
            if (!_dealer!.TrySend(message))
            {
                // Sending does not always attend to what has changed; asking for events does.
                if (again && (_dealer.Events & Zmq.Writable) != 0)
                {
                    again = false;
                    _batchNext--;
                    continue;
                }

                _isBlocked = true;
                break;
            }

            sent += bytes;
            again = true;
            Volatile.Write(ref _sentMessages, _sentMessages + 1);
        }

        if (sent > 0)
        {
            Volatile.Write(ref _sentBytes, _sentBytes + sent);
            Queue.Sent(sent);
        }
    }

    private void Open(ZmqContext context, long now)
    {
        _openedAt = now;
        try
        {
            string monitor = $"inproc://keyva-monitor-{Interlocked.Increment(ref _monitors)}";
            _dealer = context.Open(Zmq.Dealer);
            _monitor = context.Open(Zmq.Pair);
            _dealer.Set(Zmq.Immediate, 1);
            _dealer.Set(Zmq.IPv6, Address.Host.Contains(':', StringComparison.Ordinal) ? 1 : 0);
            _dealer.Set(Zmq.SendHighWaterMark, _options.HighWaterMark);
            _dealer.Set(Zmq.ReceiveHighWaterMark, _options.ReceiveHighWaterMark);
            _dealer.Set(Zmq.MaxMessageBytes, HandshakeBytes);
            ZmqTransport.SetTimes(_dealer, _options);
            _dealer.Set(Zmq.ReconnectInterval, _options.ReconnectMilliseconds);
            _dealer.Set(Zmq.ReconnectIntervalMost, _options.ReconnectMostMilliseconds);
            _dealer.Set(Zmq.ConnectTimeout, _options.ConnectMilliseconds);
            if (_options.Keys is { } keys)
            {
                Span<byte> publicKey = stackalloc byte[NodeKeys.KeyBytes];
                _ = Z85.TryDecode(keys.PublicKey, publicKey);
                _dealer.Set(Zmq.CurvePublicKey, publicKey);
                _dealer.Set(Zmq.CurveSecretKey, keys.Secret);
                _dealer.Set(Zmq.CurveServerKey, _serverKey);
            }

            _dealer.Monitor(monitor, WatchedEvents);
            _monitor.Connect(monitor);
            _dealer.Connect($"tcp://{Address}");
            // A queue of libzmq wakes who has found it empty; this is the first time that somebody looks.
            ReadEvents(now);
        }
        catch (StoreException)
        {
            // No descriptor to be had, most likely: that passes.
            Close();
            _openDue = now + _options.ReconnectMostMilliseconds;
        }

        IsChanged = true;
    }

    private void Close()
    {
        Lose();
        // First of all: libzmq's own thread waits for ever if it has an event to tell and nobody is there to hear of it, and all sockets with it.
        _dealer?.EndMonitor();
        _dealer?.Dispose();
        _monitor?.Dispose();
        _dealer = null;
        _monitor = null;
        IsChanged = true;
    }

    /// <summary>What a connection's end means: nothing can be sent, and what waited is gone.</summary>
    private void Lose()
    {
        bool wasUp = _isUp;
        _isUp = false;
        _isConnected = false;
        _isBlocked = false;
        _hasAnswers = false;
        _helloDue = long.MaxValue;
        Queue.Close();
        long dropped = 0;
        for (; _batchNext < _batchCount; _batchNext++)
        {
            ZmqMessage* message = (ZmqMessage*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref _batch[_batchNext]);
            dropped += (long)Zmq.MessageBytes(message);
            _ = Zmq.CloseMessage(message);
        }

        Queue.Sent(dropped);
        if (wasUp)
        {
            _owner.Down(this);
        }
    }

    private void ReadEvents(long now)
    {
        ZmqMessage part;
        _ = Zmq.InitMessage(&part);
        while (_monitor is not null && _monitor.TryReceive(&part))
        {
            // Two parts: number u16 and value u32; then the address.
            ReadOnlySpan<byte> bytes = new(Zmq.MessageData(&part), (int)Zmq.MessageBytes(&part));
            int number = bytes.Length >= 2 ? BitConverter.ToUInt16(bytes) : 0;
            while (Zmq.HasMore(&part) != 0 && _monitor.TryReceive(&part))
            {
                // The address is known.
            }

            Happened(number, now);
        }

        _ = Zmq.CloseMessage(&part);
    }

    private void Happened(int number, long now)
    {
        switch (number)
        {
            case Zmq.EventHandshakeSucceeded:
                Lose();
                _isConnected = true;
                _greeting++;
                _helloDue = now;
                break;
            case Zmq.EventDisconnected:
                Lose();
                break;
            case Zmq.EventHandshakeFailedAuthentication:
                _refusal = (int)Refusal.KeyUnknown;
                Close();
                _openDue = now + _options.ReconnectMostMilliseconds;
                break;
            case Zmq.EventHandshakeFailed or Zmq.EventHandshakeFailedProtocol:
                // Often the other side's key is not what is configured here: the handshake ends without a word.
                _refusal = (int)(_options.Keys is null ? Refusal.Version : Refusal.Key);
                break;
        }
    }

    private void Greet(long now)
    {
        if (!_isConnected || _dealer is null)
        {
            _helloDue = long.MaxValue;
            return;
        }

        Span<byte> message = stackalloc byte[Hello.MessageBytes];
        new Hello(_options.Node, Peer, _options.Cluster, _incarnation, _greeting, Lane).Write(message);
        _ = _dealer.Events;
        // Until there is an answer it is said again: the socket may not have taken the connection over yet, and a refusal may be taken back.
        _helloDue = now + (_dealer.TrySend(message) ? _options.ReconnectMostMilliseconds : 1);
    }

    private void ReadAnswers(long now)
    {
        _hasAnswers = false;
        ZmqMessage part;
        _ = Zmq.InitMessage(&part);
        while (_dealer is not null && _dealer.TryReceive(&part))
        {
            ReadOnlySpan<byte> bytes = new(Zmq.MessageData(&part), (int)Zmq.MessageBytes(&part));
            if (TransportMessage.Open(bytes, out MessageKind kind) == MessageFault.None && HelloAnswer.TryRead(bytes, kind, out HelloAnswer answer)
                && _isConnected && (answer.Greeting == _greeting || (answer.Greeting == HelloAnswer.AnyGreeting && kind == MessageKind.Refused)))
            {
                Answered(answer, now);
            }
        }

        _ = Zmq.CloseMessage(&part);
    }

    private void Answered(HelloAnswer answer, long now)
    {
        _refusal = (int)answer.Refusal;
        if (answer.Refusal != Refusal.None)
        {
            if (_isUp)
            {
                Lose();
                _isConnected = true;
            }

            _helloDue = now + _options.ReconnectMostMilliseconds;
        }
        else if (!_isUp)
        {
            _helloDue = long.MaxValue;
            _isUp = true;
            Queue.Open();
            _owner.Up(this);
        }
    }
}

/// <summary>Who is told of a link's connection, on the loop's thread.</summary>
internal interface ILinkOwner
{
    void Up(PeerLink link);

    void Down(PeerLink link);
}
