using System.Collections.Concurrent;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// What comes to a driver from other threads, until its loop looks at it. Bounded where others decide how much comes: frames beyond
/// <c>maxFrameBytes</c> are dropped, as a network may. Thread-safe; <see cref="TryTake"/> is the loop's.
/// </summary>
internal sealed class Inbox(long maxFrameBytes, Action signal)
{
    private readonly ConcurrentQueue<Input> _inputs = new();
    private long _frameBytes;
    private int _isSignalled;

    /// <summary>Frames that were dropped.</summary>
    public long Dropped { get; private set; }

    public void AddFrame(long peer, ReadOnlySpan<byte> frame)
    {
        // One alone always passes.
        long held = Volatile.Read(ref _frameBytes);
        if (held > 0 && held + frame.Length > maxFrameBytes)
        {
            Dropped++;
            return;
        }

        Interlocked.Add(ref _frameBytes, frame.Length);
        Add(new Input { Peer = peer, Frame = frame.ToArray() });
    }

    public void AddRecord(ReplicaRecord record, Replica? owner) => Add(new Input { Record = record, Replica = owner });

    public void AddAction(Action action) => Add(new Input { Action = action });

    /// <summary>Wakes the loop without giving it anything here.</summary>
    public void Signal()
    {
        if (Interlocked.Exchange(ref _isSignalled, 1) == 0)
        {
            signal();
        }
    }

    /// <summary>The loop is about to look at everything: whatever comes from here on signals again.</summary>
    public void Open() => Interlocked.Exchange(ref _isSignalled, 0);

    public bool TryTake(out Input input)
    {
        if (!_inputs.TryDequeue(out input))
        {
            return false;
        }

        if (input.Frame is not null)
        {
            Interlocked.Add(ref _frameBytes, -input.Frame.Length);
        }

        return true;
    }

    private void Add(in Input input)
    {
        _inputs.Enqueue(input);
        Signal();
    }

    /// <summary>One thing that came: a frame, a record that is done, or something to do.</summary>
    public struct Input
    {
        public long Peer;
        public byte[]? Frame;
        public ReplicaRecord? Record;
        public Replica? Replica;
        public Action? Action;
    }
}
