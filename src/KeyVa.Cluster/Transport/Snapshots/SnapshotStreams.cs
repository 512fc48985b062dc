using System.Buffers;
using KeyVa.Io;

namespace KeyVa.Cluster.Transport;

/// <summary>
/// The <see cref="SnapshotExchange"/> of a node on a thread of its own, since it reads, writes and syncs files: frames and heartbeats never wait for that.
/// What others hand in is queued, bounded in bytes; what finds no room is dropped, and asked for again. Thread-safe.
/// </summary>
internal sealed class SnapshotStreams : ISnapshotStreams, IBulkReceiver, IDisposable
{
    // Every window that was granted, twice: a stream that is taken up again may send one anew while the former is still queued.
    private readonly long _mostQueuedBytes;
    private readonly SnapshotExchange _exchange;
    private readonly TimeProvider _time;
    private readonly long _begin;

    // Guarded by the gate.
    private readonly object _gate = new();
    private readonly Queue<Event> _events = new();
    private long _queuedBytes;
    private bool _isStopping;
    private Thread? _thread;

    private enum EventKind
    {
        Message,
        Up,
        Send,
    }

    private readonly record struct Event(EventKind Kind, ulong Peer, byte[]? Bytes, int Length, Action<TimeSpan>? Begin);

    public SnapshotStreams(IBulkChannel channel, IFileSystem fileSystem, SnapshotStreamOptions options, TimeProvider time)
    {
        _mostQueuedBytes = (2 * options.WindowBytes * options.MaxReceiving) + SnapshotMessage.MaxBytes;
        _time = time;
        _begin = time.GetTimestamp();
        _exchange = new SnapshotExchange(channel, fileSystem, options, BitConverter.ToUInt32(System.Security.Cryptography.RandomNumberGenerator.GetBytes(4)));
    }

    private TimeSpan Now => _time.GetElapsedTime(_begin);

    public void SetReceiver(ISnapshotReceiver receiver) => _exchange.Receiver = receiver;

    public void Send(ulong peer, ReadOnlyMemory<byte> head, IReadOnlyList<SnapshotFile> files, Action<bool> done)
    {
        ReadOnlyMemory<byte> kept = head.ToArray();
        if (!TryAdd(new Event(EventKind.Send, peer, null, 0, now => _exchange.Send(peer, kept, files, done, now))))
        {
            done(false);
        }
    }

    public void Start()
    {
        _thread = new Thread(Run) { Name = "keyva-snapshots", IsBackground = true };
        _thread.Start();
    }

    public void Received(ulong peer, ReadOnlySpan<byte> message)
    {
        byte[] copy = ArrayPool<byte>.Shared.Rent(message.Length);
        message.CopyTo(copy);
        if (!TryAdd(new Event(EventKind.Message, peer, copy, message.Length, null)))
        {
            ArrayPool<byte>.Shared.Return(copy);
        }
    }

    /// <summary>There is a connection to a peer (again).</summary>
    public void PeerUp(ulong peer) => TryAdd(new Event(EventKind.Up, peer, null, 0, null));

    /// <summary>Ends all streams as failed, and the thread.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _isStopping = true;
            Monitor.Pulse(_gate);
        }

        if (_thread is null)
        {
            AbandonRest();
        }
        else
        {
            _thread.Join();
        }
    }

    private bool TryAdd(Event one)
    {
        lock (_gate)
        {
            if (_isStopping || (one.Kind == EventKind.Message && _queuedBytes + one.Length > _mostQueuedBytes))
            {
                return false;
            }

            _queuedBytes += one.Length;
            _events.Enqueue(one);
            Monitor.Pulse(_gate);
            return true;
        }
    }

    private void Run()
    {
        TimeSpan due = TimeSpan.MaxValue;
        while (TryTake(due, out Event one))
        {
            TimeSpan now = Now;
            switch (one.Kind)
            {
                case EventKind.Message when one.Bytes is not null:
                    _exchange.Receive(one.Peer, one.Bytes.AsSpan(0, one.Length), now);
                    ArrayPool<byte>.Shared.Return(one.Bytes);
                    break;
                case EventKind.Up:
                    _exchange.PeerUp(one.Peer, now);
                    break;
                case EventKind.Send:
                    one.Begin?.Invoke(now);
                    break;
            }

            TimeSpan again = _exchange.Pump(now);
            due = _exchange.IsActive ? again : TimeSpan.MaxValue;
        }

        _exchange.Close();
        AbandonRest();
    }

    /// <summary>The next event, or none if the time has come; false when it is time to stop.</summary>
    private bool TryTake(TimeSpan due, out Event one)
    {
        lock (_gate)
        {
            while (true)
            {
                one = new Event(EventKind.Message, 0, null, 0, null);
                if (_isStopping)
                {
                    return false;
                }

                if (_events.TryDequeue(out Event next))
                {
                    _queuedBytes -= next.Length;
                    one = next;
                    return true;
                }

                TimeSpan wait = due == TimeSpan.MaxValue ? Timeout.InfiniteTimeSpan : due - Now;
                if (due != TimeSpan.MaxValue && wait <= TimeSpan.Zero)
                {
                    return true;
                }

                Monitor.Wait(_gate, wait);
            }
        }
    }

    /// <summary>Streams that were to be sent and had not begun: everybody who waits is told.</summary>
    private void AbandonRest()
    {
        Event[] rest;
        lock (_gate)
        {
            rest = [.. _events];
            _events.Clear();
        }

        foreach (Event one in rest)
        {
            if (one.Kind == EventKind.Send)
            {
                one.Begin?.Invoke(Now);
            }
        }

        _exchange.Close();
    }
}
