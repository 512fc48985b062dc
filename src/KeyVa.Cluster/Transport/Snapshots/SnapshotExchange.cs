using KeyVa.Io;

namespace KeyVa.Cluster.Transport;

/// <summary>
/// All snapshot streams of a node, those that it sends and those that it takes: messages, connections and time go in, messages go out. No thread, no
/// clock and no lock of its own. Not thread-safe.
/// </summary>
internal sealed class SnapshotExchange(IBulkChannel channel, IFileSystem fileSystem, SnapshotStreamOptions options, uint incarnation)
{
    private const int FinishedKept = 64;

    // The rate is kept over this time.
    private static readonly TimeSpan Burst = TimeSpan.FromMilliseconds(100);

    private readonly List<SnapshotSending> _sending = [];
    private readonly Dictionary<(ulong Peer, ulong Stream), SnapshotReceiving> _receiving = [];
    private readonly Queue<(ulong Peer, ulong Stream)> _finished = new();
    private readonly byte[] _buffer = new byte[SnapshotMessage.ChunkHeaderBytes + Math.Min(options.ChunkBytes, SnapshotMessage.MaxChunkBytes)];
    private uint _nextStream;
    private long _allowance;
    private TimeSpan _allowanceFrom;
    private int _turn;

    public ISnapshotReceiver? Receiver { get; set; }

    /// <summary>Whether a stream is under way, in either direction.</summary>
    public bool IsActive => _sending.Count > 0 || _receiving.Count > 0;

    /// <summary>Whether <see cref="Pump"/> would send at once (unless the rate forbids).</summary>
    public bool HasWork => _sending.Exists(static one => one.HasWork);

    /// <summary>Begins a stream.</summary>
    public void Send(ulong peer, ReadOnlyMemory<byte> head, IReadOnlyList<SnapshotFile> files, Action<bool> done, TimeSpan now)
    {
        if (_sending.Count >= options.MaxSending || head.Length > SnapshotMessage.MaxHeadBytes || files.Count > SnapshotMessage.MaxFiles
            || !files.All(static file => SnapshotOffer.IsName(System.Text.Encoding.UTF8.GetBytes(file.Name))))
        {
            done(false);
            return;
        }

        try
        {
            ulong stream = ((ulong)incarnation << 32) | ++_nextStream;
            _sending.Add(new SnapshotSending(peer, stream, head, files, done, channel, fileSystem, options, now));
        }
        catch (StorageException)
        {
            done(false);
        }
    }

    /// <summary>Takes a message from a peer.</summary>
    public void Receive(ulong peer, ReadOnlySpan<byte> message, TimeSpan now)
    {
        if (!SnapshotMessage.TryReadHeader(message, out SnapshotMessageKind kind, out ulong stream))
        {
            return;
        }

        if (kind >= SnapshotMessageKind.Accept)
        {
            SnapshotSending? sending = _sending.Find(one => one.Peer == peer && one.Stream == stream);
            sending?.Heard(kind, message, now);
            _sending.RemoveAll(static one => one.IsOver);
            return;
        }

        if (kind == SnapshotMessageKind.Offer)
        {
            Offered(peer, stream, message, now);
        }
        else if (_receiving.TryGetValue((peer, stream), out SnapshotReceiving? receiving))
        {
            Continue(receiving, kind, message, now);
        }
    }

    /// <summary>There is a connection to the peer: what is sent to it goes on.</summary>
    public void PeerUp(ulong peer, TimeSpan now)
    {
        foreach (SnapshotSending sending in _sending)
        {
            if (sending.Peer == peer)
            {
                sending.Connected(now);
            }
        }
    }

    /// <summary>Sends what may be sent, and gives up what has been silent for too long. Returns when to be called again at the latest.</summary>
    public TimeSpan Pump(TimeSpan now)
    {
        Refill(now);
        for (int i = 0; i < _sending.Count; i++)
        {
            // Each in turn is first, so that the rate is shared.
            SnapshotSending sending = _sending[(i + _turn) % _sending.Count];
            _allowance -= sending.Pump(options.BytesPerSecond == 0 ? options.WindowBytes : Math.Max(0, _allowance), _buffer, now);
        }

        _turn++;
        _sending.RemoveAll(static one => one.IsOver);
        foreach (SnapshotReceiving receiving in _receiving.Values.Where(one => now - one.LastHeard > options.Forget).ToArray())
        {
            End(receiving, complete: false);
        }

        return now + (HasWork && (options.BytesPerSecond == 0 || _allowance > 0) ? TimeSpan.Zero : HasWork ? Burst : options.Retry / 4);
    }

    /// <summary>Ends everything, as when the node stops.</summary>
    public void Close()
    {
        foreach (SnapshotSending sending in _sending)
        {
            sending.Cancel();
        }

        _sending.Clear();
        foreach (SnapshotReceiving receiving in _receiving.Values.ToArray())
        {
            End(receiving, complete: false);
        }
    }

    private void Refill(TimeSpan now)
    {
        if (options.BytesPerSecond > 0)
        {
            long most = Math.Max(options.ChunkBytes, (long)(options.BytesPerSecond * Burst.TotalSeconds));
            double earned = options.BytesPerSecond * Math.Min(1, (now - _allowanceFrom).TotalSeconds);
            _allowance = Math.Min(most, _allowance + (long)earned);
        }

        _allowanceFrom = now;
    }

    private void Offered(ulong peer, ulong stream, ReadOnlySpan<byte> message, TimeSpan now)
    {
        if (_receiving.TryGetValue((peer, stream), out SnapshotReceiving? known))
        {
            known.Accept(now);
            return;
        }

        if (_finished.Contains((peer, stream)))
        {
            Answer(peer, stream, SnapshotMessageKind.Done);
            return;
        }

        // A sender that was started anew knows nothing of its former streams.
        foreach (SnapshotReceiving former in _receiving.Values.Where(one => one.Peer == peer && one.Stream >> 32 != stream >> 32).ToArray())
        {
            End(former, complete: false);
        }

        if (_receiving.Count >= options.MaxReceiving || Receiver is null || !SnapshotOffer.TryDecode(message, out SnapshotOffer? offer)
            || Receiver.Begin(peer, offer.Head.Span) is not { } directory)
        {
            Answer(peer, stream, SnapshotMessageKind.Failed);
            return;
        }

        SnapshotReceiving receiving = new(peer, stream, offer, directory, channel, fileSystem, options, now);
        _receiving[(peer, stream)] = receiving;
        receiving.Accept(now);
    }

    private void Continue(SnapshotReceiving receiving, SnapshotMessageKind kind, ReadOnlySpan<byte> message, TimeSpan now)
    {
        try
        {
            switch (kind)
            {
                case SnapshotMessageKind.Chunk when receiving.Take(message, now):
                    return;
                case SnapshotMessageKind.End:
                    bool? complete = receiving.Complete(message, now);
                    if (complete is { } isWhole)
                    {
                        Finish(receiving, isWhole);
                    }

                    return;
                default:
                    Finish(receiving, complete: false);
                    return;
            }
        }
        catch (StorageException)
        {
            // The disk is full, or fails: the receiver is told, and the sender, who may try again later.
            Finish(receiving, complete: false);
        }
    }

    private void Finish(SnapshotReceiving receiving, bool complete)
    {
        bool taken = End(receiving, complete) && complete;
        if (taken)
        {
            _finished.Enqueue((receiving.Peer, receiving.Stream));
            if (_finished.Count > FinishedKept)
            {
                _finished.Dequeue();
            }
        }

        Answer(receiving.Peer, receiving.Stream, taken ? SnapshotMessageKind.Done : SnapshotMessageKind.Failed);
    }

    private bool End(SnapshotReceiving receiving, bool complete)
    {
        receiving.Dispose();
        _receiving.Remove((receiving.Peer, receiving.Stream));
        return Receiver!.End(receiving.Peer, receiving.Directory, complete);
    }

    private void Answer(ulong peer, ulong stream, SnapshotMessageKind kind)
    {
        Span<byte> message = stackalloc byte[SnapshotMessage.HeaderBytes];
        _ = channel.TrySend(peer, message[..SnapshotMessage.Write(message, kind, stream)]);
    }
}
