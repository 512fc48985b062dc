using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace KeyVa.Cluster.Transport.ZeroMq;

/// <summary>
/// What peers send to this node: a ROUTER that listens, and who stands behind each of its connections. The loop's.
/// <para>
/// Peers give themselves no routing id, so libzmq gives each connection a number of its own. A connection counts from the moment its hello
/// was accepted, and takes the place of the peer's former one on that lane, of which nothing is heard any more: frames of two connections never mix.
/// With keys, every message also carries the node number that its key was admitted for (see <see cref="Authenticator"/>), and must
/// fit the connection.
/// </para>
/// </summary>
internal sealed unsafe class Inbound : IDisposable
{
    private const int MessagesInTurn = 256;
    private const int RoutingIdBytes = 5;
    private const int RefusalMilliseconds = 50;

    private readonly ZmqTransportOptions _options;
    private readonly ulong _incarnation;
    private readonly Action<ulong, Lane> _greeted;
    private readonly ZmqSocket _router;
    private readonly Dictionary<uint, Connection> _connections = [];
    private readonly Dictionary<(ulong Peer, Lane Lane), uint> _ofPeer = [];
    private IReadOnlyDictionary<ulong, PeerAddress> _peers = new Dictionary<ulong, PeerAddress>();
    private long _stray;
    private long _refusedAt;

    private sealed record Connection(ulong Peer, Lane Lane, byte[] UserId);

    /// <summary><paramref name="greeted"/> hears of each greeting of a peer that was accepted.</summary>
    public Inbound(ZmqContext context, ZmqTransportOptions options, ulong incarnation, Action<ulong, Lane> greeted)
    {
        _options = options;
        _greeted = greeted;
        _incarnation = incarnation;
        _router = context.Open(Zmq.Router);
        _router.Set(Zmq.IPv6, options.Host.Contains(':', StringComparison.Ordinal) ? 1 : 0);
        _router.Set(Zmq.SendHighWaterMark, options.HighWaterMark);
        _router.Set(Zmq.ReceiveHighWaterMark, options.ReceiveHighWaterMark);
        // Checked by libzmq before it takes memory for a message.
        _router.Set(Zmq.MaxMessageBytes, (long)Math.Max(options.MaxFrameBytes, SnapshotMessage.MaxBytes) + TransportMessage.HeaderBytes + ZmqTransport.EncryptionBytes);
        ZmqTransport.SetTimes(_router, options);
        if (options.Keys is { } keys)
        {
            _router.Set(Zmq.CurveServer, 1);
            _router.Set(Zmq.CurveSecretKey, keys.Secret);
            _router.Set(Zmq.AuthenticationDomain, System.Text.Encoding.ASCII.GetBytes(Authenticator.Domain));
        }
    }

    public int Descriptor => _router.Descriptor;

    /// <summary>Messages that were dropped: malformed, damaged, or of a connection that was not accepted.</summary>
    public long Stray => Volatile.Read(ref _stray);

    /// <summary>Listens; returns the port.</summary>
    public int Bind()
    {
        // libzmq takes numbers and names of interfaces alone here.
        string host = _options.Host == "localhost" ? "127.0.0.1" : _options.Host.Contains(':', StringComparison.Ordinal) ? $"[{_options.Host}]" : _options.Host;
        _router.Bind($"tcp://{host}:{(_options.Port == 0 ? "*" : _options.Port.ToString(System.Globalization.CultureInfo.InvariantCulture))}");
        string endpoint = _router.LastEndpoint;
        return int.Parse(endpoint.AsSpan(endpoint.LastIndexOf(':') + 1), System.Globalization.CultureInfo.InvariantCulture);
    }

    /// <summary>Says who the peers are; connections of others are no longer heard, and are told so. <see cref="Receive"/> must be called next: sending may attend to what has come.</summary>
    public void SetPeers(IReadOnlyDictionary<ulong, PeerAddress> peers)
    {
        foreach (((ulong Peer, Lane Lane) of, uint id) in _ofPeer.ToArray())
        {
            bool keeps = peers.TryGetValue(of.Peer, out PeerAddress? now) && _peers.TryGetValue(of.Peer, out PeerAddress? before) && now.PublicKey == before.PublicKey;
            if (!keeps)
            {
                _connections.Remove(id);
                _ofPeer.Remove(of);
                Refuse(id, Refusal.Stranger);
            }
        }

        _peers = peers;
    }

    /// <summary>Whether the last <see cref="Receive"/> handed frames on.</summary>
    public bool HasReceived { get; private set; }

    /// <summary>Takes what has come, a bounded number of messages; true if there may be more.</summary>
    public bool Receive(ITransportReceiver frames, IBulkReceiver bulk)
    {
        ZmqMessage id;
        ZmqMessage body;
        _ = Zmq.InitMessage(&id);
        _ = Zmq.InitMessage(&body);
        int messages = 0;
        HasReceived = false;
        while (messages < MessagesInTurn && _router.TryReceive(&id))
        {
            messages++;
            bool hasBody = Zmq.HasMore(&id) != 0 && _router.TryReceive(&body);
            if (!hasBody || Zmq.HasMore(&body) != 0)
            {
                // Nobody of ours sends in parts.
                while (hasBody && Zmq.HasMore(&body) != 0 && _router.TryReceive(&body))
                {
                }

                _stray++;
            }
            else if (!Take(&id, &body, frames, bulk))
            {
                _stray++;
            }
        }

        _ = Zmq.CloseMessage(&id);
        _ = Zmq.CloseMessage(&body);
        return messages == MessagesInTurn;
    }

    public void Dispose() => _router.Dispose();

    private static ReadOnlySpan<byte> Bytes(ZmqMessage* message) => new(Zmq.MessageData(message), (int)Zmq.MessageBytes(message));

    private bool Take(ZmqMessage* idPart, ZmqMessage* body, ITransportReceiver frames, IBulkReceiver bulk)
    {
        ReadOnlySpan<byte> routing = Bytes(idPart);
        ReadOnlySpan<byte> message = Bytes(body);
        if (routing.Length != RoutingIdBytes || routing[0] != 0)
        {
            return false;
        }

        uint id = BinaryPrimitives.ReadUInt32BigEndian(routing[1..]);
        MessageFault fault = TransportMessage.Open(message, out MessageKind kind);
        if (kind == MessageKind.Hello && fault is MessageFault.None or MessageFault.Version)
        {
            return Greeted(routing, id, body, message, fault);
        }

        if (fault != MessageFault.None)
        {
            return false;
        }

        if (!_connections.TryGetValue(id, out Connection? connection) || !IsOf(body, connection.UserId))
        {
            // Somebody takes itself for welcome: it says hello again when it hears that it is not. Now and then is enough.
            if (Environment.TickCount64 - _refusedAt >= RefusalMilliseconds)
            {
                _refusedAt = Environment.TickCount64;
                Refuse(id, Refusal.Stranger);
            }

            return false;
        }

        switch (kind)
        {
            case MessageKind.Frame when connection.Lane == Lane.Frames:
                frames.Received(connection.Peer, message[TransportMessage.HeaderBytes..]);
                HasReceived = true;
                return true;
            case MessageKind.Snapshot when connection.Lane == Lane.Snapshots:
                bulk.Received(connection.Peer, message[TransportMessage.HeaderBytes..]);
                return true;
            default:
                return false;
        }
    }

    private bool Greeted(ReadOnlySpan<byte> routing, uint id, ZmqMessage* body, ReadOnlySpan<byte> message, MessageFault fault)
    {
        if (!Hello.TryRead(message, out Hello hello))
        {
            return false;
        }

        Refusal refusal = fault == MessageFault.Version ? Refusal.Version
            : hello.Cluster != _options.Cluster ? Refusal.Cluster
            : hello.To != _options.Node ? Refusal.Addressee
            : !_peers.ContainsKey(hello.From) ? Refusal.Stranger
            : !IsOf(body, Authenticator.UserId(hello.From)) ? Refusal.Key
            : Refusal.None;
        if (refusal == Refusal.None)
        {
            Accept(id, hello);
        }

        Answer(routing, new HelloAnswer(hello.Greeting, refusal, _incarnation));
        return refusal == Refusal.None;
    }

    private void Refuse(uint id, Refusal refusal)
    {
        Span<byte> routing = stackalloc byte[RoutingIdBytes];
        routing[0] = 0;
        BinaryPrimitives.WriteUInt32BigEndian(routing[1..], id);
        Answer(routing, new HelloAnswer(HelloAnswer.AnyGreeting, refusal, _incarnation));
    }

    private void Answer(ReadOnlySpan<byte> routing, in HelloAnswer answer)
    {
        Span<byte> message = stackalloc byte[HelloAnswer.MessageBytes];
        answer.Write(message);
        // To who is gone by now, or does not take it, nothing is sent; hellos come again.
        _ = _router.TrySend(routing, more: true) && _router.TrySend(message);
    }

    private void Accept(uint id, in Hello hello)
    {
        if (_ofPeer.TryGetValue((hello.From, hello.Lane), out uint former))
        {
            _connections.Remove(former);
        }

        if (_connections.Remove(id, out Connection? other))
        {
            _ofPeer.Remove((other.Peer, other.Lane));
        }

        _ofPeer[(hello.From, hello.Lane)] = id;
        _connections[id] = new Connection(hello.From, hello.Lane, Authenticator.UserId(hello.From));
        _greeted(hello.From, hello.Lane);
    }

    /// <summary>Whether the key of a message's connection is that of a node. Without keys there is nothing to be checked.</summary>
    private bool IsOf(ZmqMessage* body, byte[] userId)
    {
        if (_options.Keys is null)
        {
            return true;
        }

        fixed (byte* name = "User-Id\0"u8)
        {
            byte* found = Zmq.Property(body, name);
            return found is not null && MemoryMarshal.CreateReadOnlySpanFromNullTerminated(found).SequenceEqual(userId);
        }
    }
}
