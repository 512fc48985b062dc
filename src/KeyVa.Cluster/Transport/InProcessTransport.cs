using KeyVa.Io;

namespace KeyVa.Cluster.Transport;

/// <summary>A node's part in an <see cref="InProcessNetwork"/>.</summary>
internal sealed class InProcessTransport(InProcessNetwork network, ulong id, IFileSystem fileSystem) : ITransport, ISnapshotStreams
{
    /// <summary>Bytes of a frame, at most.</summary>
    public const int MaxFrameBytes = 64 << 20;

    private const int CopyBytes = 64 << 10;

    private readonly IFileSystem _fileSystem = fileSystem;
    private volatile Dictionary<ulong, PeerAddress> _peers = [];
    private volatile ITransportReceiver? _receiver;
    private volatile ISnapshotReceiver? _snapshotReceiver;
    private volatile bool _closed;

    /// <summary>The node.</summary>
    public ulong Id => id;

    public ISnapshotStreams Snapshots => this;

    public bool TrySend(ulong peer, ReadOnlySpan<byte> frame)
    {
        if (_closed || _receiver is null || frame.Length > MaxFrameBytes || !_peers.ContainsKey(peer))
        {
            return false;
        }

        byte[] copy = frame.ToArray();
        if (network.Loses?.Invoke(id, peer, copy) == true)
        {
            return true;
        }

        network.Schedule(id, peer, () => network.Find(peer)?.Take(id, copy), lost: null);
        return true;
    }

    public void SetPeers(IReadOnlyDictionary<ulong, PeerAddress> peers) => _peers = new Dictionary<ulong, PeerAddress>(peers);

    public void Start(ITransportReceiver receiver) => _receiver = receiver;

    public void SetReceiver(ISnapshotReceiver receiver) => _snapshotReceiver = receiver;

    public void Send(ulong peer, ReadOnlyMemory<byte> head, IReadOnlyList<SnapshotFile> files, Action<bool> done)
    {
        // The sender's disk is read when the set leaves: what a crash leaves of it later is no business of the receiver's.
        (string Name, byte[] Bytes)[] set = [.. files.Select(file => (file.Name, ReadAll(file.Path)))];
        byte[] headCopy = head.ToArray();
        if (!_peers.ContainsKey(peer))
        {
            done(false);
            return;
        }

        bool isOver = false;
        network.Schedule(
            id,
            peer,
            () =>
            {
                bool arrived = network.Find(peer)?.TakeFiles(id, headCopy, set) ?? false;
                network.Schedule(peer, id, () => End(arrived), lost: null);
            },
            lost: () => End(arrived: false));

        void End(bool arrived)
        {
            if (!_closed && !isOver)
            {
                isOver = true;
                done(arrived);
            }
        }
    }

    public ValueTask DisposeAsync()
    {
        _closed = true;
        network.Leave(this);
        return default;
    }

    private void Take(ulong from, byte[] frame)
    {
        if (!_closed && _peers.ContainsKey(from))
        {
            _receiver?.Received(from, frame);
            _receiver?.Delivered(lendsThread: false);
        }
    }

    private bool TakeFiles(ulong from, byte[] head, (string Name, byte[] Bytes)[] set)
    {
        if (_closed || _snapshotReceiver is not { } receiver || receiver.Begin(from, head) is not { } directory)
        {
            return false;
        }

        bool complete = false;
        try
        {
            foreach ((string name, byte[] bytes) in set)
            {
                using StorageFile file = _fileSystem.Create(Path.Combine(directory, name));
                file.Write(0, bytes);
                file.Sync();
            }

            _fileSystem.SyncDirectory(directory);
            complete = true;
        }
        catch (StorageException)
        {
            // As a stream that breaks off: the receiver removes what there is.
        }

        return receiver.End(from, directory, complete) && complete;
    }

    private byte[] ReadAll(string path)
    {
        using StorageFile file = _fileSystem.Open(path, writable: false);
        byte[] bytes = new byte[checked((int)file.Length)];
        for (int at = 0; at < bytes.Length;)
        {
            int read = file.Read(at, bytes.AsSpan(at, Math.Min(CopyBytes, bytes.Length - at)));
            if (read == 0)
            {
                return bytes[..at];
            }

            at += read;
        }

        return bytes;
    }
}
