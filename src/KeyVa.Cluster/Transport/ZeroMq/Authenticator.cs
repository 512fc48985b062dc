namespace KeyVa.Cluster.Transport.ZeroMq;

/// <summary>
/// Answers libzmq's question whether a key may connect (ZAP, ZeroMQ RFC 27): the keys of the configured peers may, and the node's number becomes
/// the "User-Id" of the connection, which every message that comes over it carries. Since the listening socket names a domain, libzmq admits nobody
/// without an answer. The loop's.
/// </summary>
internal sealed unsafe class Authenticator : IDisposable
{
    /// <summary>The domain of the listening socket; any text makes libzmq ask.</summary>
    public const string Domain = "keyva";

    private const string Address = "inproc://zeromq.zap.01";
    private const int MostParts = 16;

    private readonly ZmqSocket _socket;
    private Dictionary<string, byte[]> _admitted = [];

    public Authenticator(ZmqContext context)
    {
        _socket = context.Open(Zmq.Reply);
        _socket.Bind(Address);
    }

    public int Descriptor => _socket.Descriptor;

    /// <summary>Keys that were refused.</summary>
    public long Refused { get; private set; }

    /// <summary>Says whose keys are admitted, from now on.</summary>
    public void Admit(IReadOnlyDictionary<ulong, PeerAddress> peers)
    {
        Dictionary<string, byte[]> admitted = new(StringComparer.Ordinal);
        foreach ((ulong node, PeerAddress address) in peers)
        {
            if (address.PublicKey is { } key)
            {
                admitted[key] = UserId(node);
            }
        }

        _admitted = admitted;
    }

    /// <summary>What stands for a node in the messages of its connections.</summary>
    public static byte[] UserId(ulong node) => System.Text.Encoding.ASCII.GetBytes(node.ToString(System.Globalization.CultureInfo.InvariantCulture));

    /// <summary>Answers all questions that wait.</summary>
    public void Answer()
    {
        ZmqMessage part;
        ZmqMessage id;
        _ = Zmq.InitMessage(&part);
        _ = Zmq.InitMessage(&id);
        // Parts: version, request id, domain, address, identity, mechanism, credentials.
        while (_socket.TryReceive(&part))
        {
            bool versionFits = Bytes(&part).SequenceEqual("1.0"u8);
            byte[]? userId = null;
            for (int number = 1; Zmq.HasMore(&part) != 0 && number < MostParts; number++)
            {
                ZmqMessage* target = number == 1 ? &id : &part;
                if (!_socket.TryReceive(target))
                {
                    break;
                }

                if (number == 1 && Zmq.HasMore(&id) == 0)
                {
                    break;
                }

                if (number == 6 && versionFits && Bytes(&part).Length == NodeKeys.KeyBytes)
                {
                    userId = _admitted.GetValueOrDefault(Z85.Encode(Bytes(&part)));
                }
            }

            Refused += userId is null ? 1 : 0;
            Reply(Bytes(&id), userId);
        }

        _ = Zmq.CloseMessage(&id);
        _ = Zmq.CloseMessage(&part);
    }

    public void Dispose() => _socket.Dispose();

    private static ReadOnlySpan<byte> Bytes(ZmqMessage* message) => new(Zmq.MessageData(message), (int)Zmq.MessageBytes(message));

    private void Reply(ReadOnlySpan<byte> id, byte[]? userId)
    {
        _ = _socket.TrySend("1.0"u8, more: true)
            && _socket.TrySend(id, more: true)
            && _socket.TrySend(userId is null ? "400"u8 : "200"u8, more: true)
            && _socket.TrySend(userId is null ? "key not admitted"u8 : "OK"u8, more: true)
            && _socket.TrySend(userId, more: true)
            && _socket.TrySend([]);
    }
}
