using System.Net;
using KeyVa.Io;

namespace KeyVa.Cluster.Transport.ZeroMq;

/// <summary>
/// The transport of real clusters: libzmq over TCP, one thread that attends to all sockets, and bounded queues before them. Each node listens with a ROUTER and
/// sends to each peer with a DEALER for every <see cref="Lane"/>; a connection begins with a hello and its answer. See docs/replication.md (Transport) and
/// docs/decisions/transport.md.
/// </summary>
internal sealed class ZmqTransport : ITransport, ILinkOwner, IBulkChannel
{
    /// <summary>What CURVE adds to a message, and more: a nonce, an authenticator, a command's name.</summary>
    internal const int EncryptionBytes = 128;

    private const int LongestSleepMilliseconds = 1000;

    // Constant.
    private readonly ZmqTransportOptions _options;
    private readonly ulong _incarnation = BitConverter.ToUInt64(System.Security.Cryptography.RandomNumberGenerator.GetBytes(8));
    private readonly WakeUp _wakeUp = new();
    private readonly SnapshotStreams _snapshots;

    // Guarded by the gate.
    private readonly Lock _gate = new();
    private Dictionary<ulong, PeerAddress> _peers = [];
    private Thread? _thread;
    private bool _isDisposed;

    // Shared: replaced whole, under the gate; the loop brings its own links into line.
    private volatile Dictionary<ulong, PeerLinks> _links = [];
    private volatile bool _isStopping;
    private int _peersChanged = 1;

    // The loop's, from its start on.
    private readonly List<PeerLink> _open = [];
    private ZmqContext? _context;
    private Inbound? _inbound;
    private Authenticator? _authenticator;
    private ITransportReceiver? _receiver;
    private bool _isWatchStale = true;
    private bool _isInboundBusy;
    private int _inboundPlace;
    private int _authenticatorPlace;

    private sealed record PeerLinks(PeerLink Frames, PeerLink Snapshots);

    /// <summary>A transport that does nothing yet. Refuses to do without keys where others than this machine could reach it.</summary>
    public ZmqTransport(ZmqTransportOptions options, IFileSystem files, TimeProvider? time = null)
    {
        if (options.Keys is null && !IsLoopback(options.Host))
        {
            throw new StoreException($"listening for other nodes on '{options.Host}' needs keys, since whoever reaches it could change the data: make them with 'keyva keygen', or listen on 127.0.0.1");
        }

        if (options.Keys is not null)
        {
            ZmqLibrary.RequireEncryption();
        }

        _options = options;
        _snapshots = new SnapshotStreams(this, files, options.Snapshots, time ?? TimeProvider.System);
    }

    public ISnapshotStreams Snapshots => _snapshots;

    /// <summary>The port that the node listens on, once it was started.</summary>
    public int Port { get; private set; }

    /// <summary>Messages from outside that were dropped: malformed, damaged, or of nobody who was accepted.</summary>
    public long StrayMessages => _inbound?.Stray ?? 0;

    /// <summary>Connections that were refused for their key.</summary>
    public long RefusedKeys => _authenticator?.Refused ?? 0;

    public bool TrySend(ulong peer, ReadOnlySpan<byte> frame)
    {
        if (frame.Length > _options.MaxFrameBytes || !_links.TryGetValue(peer, out PeerLinks? links) || !links.Frames.Queue.TryAdd(MessageKind.Frame, frame))
        {
            return false;
        }

        if (!links.Frames.TryFlush())
        {
            _wakeUp.Wake();
        }

        return true;
    }

    bool IBulkChannel.TrySend(ulong peer, ReadOnlySpan<byte> message)
    {
        if (!_links.TryGetValue(peer, out PeerLinks? links) || !links.Snapshots.Queue.TryAdd(MessageKind.Snapshot, message))
        {
            return false;
        }

        _wakeUp.Wake();
        return true;
    }

    public void SetPeers(IReadOnlyDictionary<ulong, PeerAddress> peers)
    {
        Check(peers);
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            Dictionary<ulong, PeerLinks> links = [];
            foreach ((ulong peer, PeerAddress address) in peers)
            {
                links[peer] = _peers.GetValueOrDefault(peer) == address ? _links[peer] : new PeerLinks(
                    new PeerLink(peer, address, Lane.Frames, _options, _incarnation, this),
                    new PeerLink(peer, address, Lane.Snapshots, _options, _incarnation, this));
            }

            _peers = new Dictionary<ulong, PeerAddress>(peers);
            _links = links;
            Volatile.Write(ref _peersChanged, 1);
        }

        _wakeUp.Wake();
    }

    public void Start(ITransportReceiver receiver)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            if (_thread is not null)
            {
                throw new InvalidOperationException("the transport was started before");
            }

            // The thread owns the sockets from its start on, which is the fence that libzmq asks for.
            _receiver = receiver;
            try
            {
                Listen();
            }
            catch
            {
                CloseSockets();
                throw;
            }

            _snapshots.Start();
            _thread = new Thread(Run) { Name = "keyva-peers", IsBackground = true };
            _thread.Start();
        }
    }

    /// <summary>What is known of the connection to a peer; null if it is none.</summary>
    public PeerConnection? Describe(ulong peer) => _links.TryGetValue(peer, out PeerLinks? links)
        ? new PeerConnection(links.Frames.Address, links.Frames.IsUp, links.Frames.Refusal, links.Frames.SentMessages, links.Frames.SentBytes, links.Frames.Queue.Bytes)
        : null;

    public async ValueTask DisposeAsync()
    {
        Thread? thread;
        lock (_gate)
        {
            if (_isDisposed)
            {
                return;
            }

            _isDisposed = true;
            thread = _thread;
        }

        await Task.Run(() =>
        {
            _snapshots.Dispose();
            _isStopping = true;
            _wakeUp.Wake();
            thread?.Join();
        });
        if (thread is null)
        {
            CloseSockets();
        }

        _wakeUp.Dispose();
    }

    void ILinkOwner.Up(PeerLink link)
    {
        if (link.Lane == Lane.Frames)
        {
            _receiver!.PeerUp(link.Peer);
        }
        else
        {
            _snapshots.PeerUp(link.Peer);
        }
    }

    void ILinkOwner.Down(PeerLink link)
    {
        // Streams of files wait for the next connection.
        if (link.Lane == Lane.Frames)
        {
            _receiver!.PeerDown(link.Peer);
        }
    }

    /// <summary>The options that both ends of a connection have.</summary>
    internal static void SetTimes(ZmqSocket socket, ZmqTransportOptions options)
    {
        socket.Set(Zmq.HeartbeatInterval, options.HeartbeatMilliseconds);
        socket.Set(Zmq.HeartbeatTimeout, options.HeartbeatTimeoutMilliseconds);
        // What the other side is told; libzmq counts it in tenths of a second.
        socket.Set(Zmq.HeartbeatLife, Math.Max(100, options.HeartbeatTimeoutMilliseconds));
        socket.Set(Zmq.HandshakeInterval, options.ConnectMilliseconds);
    }

    private static bool IsLoopback(string host) =>
        host == "localhost" || (IPAddress.TryParse(host, out IPAddress? address) && IPAddress.IsLoopback(address));

    private void Check(IReadOnlyDictionary<ulong, PeerAddress> peers)
    {
        HashSet<string> keys = _options.Keys is { } own ? [own.PublicKey] : [];
        foreach ((ulong peer, PeerAddress address) in peers)
        {
            if (peer == _options.Node)
            {
                throw new StoreException($"node {peer} is this one and cannot be its own peer");
            }

            if (_options.Keys is null && !IsLoopback(address.Host))
            {
                throw new StoreException($"node {peer} is at '{address}', and connections beyond this machine need keys: make them with 'keyva keygen' on every node");
            }

            if (_options.Keys is not null && (address.PublicKey is not { } key || !NodeKeys.IsPublicKey(key) || !keys.Add(key)))
            {
                throw new StoreException($"node {peer} needs a public key of its own, {NodeKeys.KeyCharacters} characters, as 'keyva keygen' prints on that node");
            }
        }
    }

    private void Listen()
    {
        _context = new ZmqContext();
        if (_options.Keys is not null)
        {
            // Before the first connection: libzmq would refuse it.
            _authenticator = new Authenticator(_context);
        }

        _inbound = new Inbound(_context, _options, _incarnation, Greeted);
        Port = _inbound.Bind();
    }

    private void Run()
    {
        try
        {
            while (!_isStopping)
            {
                Turn();
            }
        }
        finally
        {
            CloseSockets();
        }
    }

    /// <summary>Attends to everything once, and sleeps if there is nothing left to do.</summary>
    private void Turn()
    {
        long now = Environment.TickCount64;
        if (Interlocked.Exchange(ref _peersChanged, 0) == 1)
        {
            TakePeers();
            _isInboundBusy = true;
        }

        if (_authenticator is not null && _wakeUp.IsReady(_authenticatorPlace))
        {
            _authenticator.Answer();
        }

        if (_isInboundBusy || _wakeUp.IsReady(_inboundPlace))
        {
            _isInboundBusy = _inbound!.Receive(_receiver!, _snapshots);
            if (_inbound.HasReceived)
            {
                _receiver!.Delivered(lendsThread: true);
            }
        }

        bool isBusy = _isInboundBusy;
        long due = now + LongestSleepMilliseconds;
        foreach (PeerLink link in _open)
        {
            link.Tick(_context!, now);
            isBusy |= link.HasWork;
            _isWatchStale |= link.IsChanged;
            due = Math.Min(due, link.Due);
        }

        if (_isWatchStale)
        {
            Watch();
        }

        Sleep(isBusy ? 0 : (int)Math.Max(0, due - now));
        now = Environment.TickCount64;
        foreach (PeerLink link in _open)
        {
            link.Attend(_wakeUp, now);
        }
    }

    private void Sleep(int milliseconds)
    {
        if (milliseconds > 0)
        {
            _wakeUp.BeginSleep();
            if (_isStopping || Volatile.Read(ref _peersChanged) == 1 || HasWork())
            {
                milliseconds = 0;
            }
        }

        _wakeUp.Sleep(milliseconds);
    }

    /// <summary>The loop's: a peer has said hello, so it can be reached.</summary>
    private void Greeted(ulong peer, Lane lane)
    {
        long now = Environment.TickCount64;
        foreach (PeerLink link in _open)
        {
            if (link.Peer == peer && link.Lane == lane)
            {
                link.PeerGreeted(now);
            }
        }
    }

    private bool HasWork()
    {
        foreach (PeerLink link in _open)
        {
            if (link.HasWork)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Brings links, admitted keys and accepted connections into line with the peers.</summary>
    private void TakePeers()
    {
        Dictionary<ulong, PeerAddress> peers;
        Dictionary<ulong, PeerLinks> links;
        lock (_gate)
        {
            peers = _peers;
            links = _links;
        }

        _authenticator?.Admit(peers);
        _inbound!.SetPeers(peers);
        HashSet<PeerLink> wanted = [.. links.Values.SelectMany(static one => new[] { one.Frames, one.Snapshots })];
        foreach (PeerLink link in _open.ToArray())
        {
            if (!wanted.Remove(link))
            {
                _open.Remove(link);
                link.Dispose();
            }
        }

        _open.AddRange(wanted);
        _isWatchStale = true;
    }

    private void Watch()
    {
        _isWatchStale = false;
        _wakeUp.Clear();
        _inboundPlace = _wakeUp.Add(_inbound!.Descriptor);
        if (_authenticator is not null)
        {
            _authenticatorPlace = _wakeUp.Add(_authenticator.Descriptor);
        }

        foreach (PeerLink link in _open)
        {
            link.Watch(_wakeUp);
        }
    }

    private void CloseSockets()
    {
        foreach (PeerLink link in _open)
        {
            link.Dispose();
        }

        _open.Clear();
        _inbound?.Dispose();
        _authenticator?.Dispose();
        _context?.Dispose();
    }
}

/// <summary>A connection to a peer, for those who look: the last refusal is none while it is up.</summary>
internal readonly record struct PeerConnection(PeerAddress Address, bool IsUp, Refusal Refusal, long SentFrames, long SentBytes, long QueuedBytes);
