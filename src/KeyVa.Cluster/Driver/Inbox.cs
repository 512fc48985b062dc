using System.Collections.Concurrent;
using KeyVa.Engines;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// What comes to a driver from other threads, until its loop looks at it. Bounded where others decide how much comes: frames beyond
/// <c>maxFrameBytes</c> are dropped, as a network may. Thread-safe; <see cref="TryTake"/> is the loop's.
/// </summary>
internal sealed class Inbox(long maxFrameBytes, Action signal)
{
    /// <summary>Frames of so many bytes are worth a call that has all their pages ready.</summary>
    private const int PopulatedBytes = 256 << 10;

    private readonly ConcurrentQueue<Input> _inputs = new();
    private long _frameBytes;
    private int _isSignalled;

    /// <summary>Frames that were dropped.</summary>
    public long Dropped { get; private set; }

    /// <summary>Bytes of frames that nobody has taken yet.</summary>
    public long FrameBytes => Volatile.Read(ref _frameBytes);

    /// <summary>Adds a frame; whoever does so has the loop look, or signals, once it has added all that came.</summary>
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
        _inputs.Enqueue(new Input { Peer = peer, Frame = Copy(frame) });
    }

    public void AddRecord(ReplicaRecord record, Replica? owner) => Add(new Input { Record = record, Replica = owner });

    public void AddAction(Action action) => Add(new Input { Action = action });

    /// <summary>Adds something to do; whoever does so has the loop look, or signals.</summary>
    public void AddQuietly(Action action) => _inputs.Enqueue(new Input { Action = action });

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

    /// <summary>Entries stay where their frame is for as long as the log has them, so a large frame is new memory as a rule.</summary>
    private static byte[] Copy(ReadOnlySpan<byte> frame)
    {
        byte[] copy = GC.AllocateUninitializedArray<byte>(frame.Length);
        if (copy.Length >= PopulatedBytes)
        {
            _ = NativePages.Populate(copy);
        }

        frame.CopyTo(copy);
        return copy;
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
