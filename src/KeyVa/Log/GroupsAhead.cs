using System.Diagnostics.CodeAnalysis;
using System.Runtime.ExceptionServices;
using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// Reads the groups of segments with two threads: one reads the files, checks every checksum and the chain, and hands whole groups over in
/// batches of bounded size; the caller's takes the records from them. What is handed over is what <see cref="SegmentReading"/> would
/// have read, in the same order; damage is thrown to the caller when it has read what stands before it.
/// </summary>
internal sealed class GroupsAhead : IDisposable
{
    /// <summary>Bytes after which a batch is handed over; a longer group is one of its own.</summary>
    private const int BatchBytes = 512 << 10;

    private const int Batches = 4;

    // Immutable.
    private readonly IReadOnlyList<JournalSegment> _segments;
    private readonly long _committed;
    private readonly Action _beside;
    private readonly Thread _thread;
    private readonly object _gate = new();

    // Guarded by the gate.
    private readonly Queue<Batch> _full = new();
    private readonly Stack<Batch> _empty = new();
    private ExceptionDispatchInfo? _failure;
    private bool _atEnd;
    private bool _stopped;

    /// <param name="segments">Pinned, in their order.</param>
    /// <param name="committed">Where to stop.</param>
    /// <param name="beside">Called on the thread that reads, once for each batch.</param>
    public GroupsAhead(IReadOnlyList<JournalSegment> segments, long committed, Action beside)
    {
        _segments = segments;
        _committed = committed;
        _beside = beside;
        for (int i = 0; i < Batches; i++)
        {
            _empty.Push(new Batch());
        }

        _thread = new Thread(Run) { IsBackground = true, Name = "KeyVa replay" };
        _thread.Start();
    }

    /// <summary>Hands all records to a visitor; once.</summary>
    public void Read<TVisitor>(ref TVisitor visitor)
        where TVisitor : IRecordVisitor, allows ref struct
    {
        var records = new RecordReader();
        while (TryTake(out Batch? batch))
        {
            ReadOnlySpan<byte> groups = batch.Bytes.Written;
            while (!groups.IsEmpty)
            {
                int length = GroupScanner.LengthOf(groups, batch.Version);
                records.ReadGroup(groups[..length], batch.Version, ref visitor);
                groups = groups[length..];
            }

            GiveBack(batch);
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _stopped = true;
            Monitor.PulseAll(_gate);
        }

        _thread.Join();
        foreach (Batch batch in _full.Concat(_empty))
        {
            batch.Bytes.Dispose();
        }
    }

    private bool TryTake([NotNullWhen(true)] out Batch? batch)
    {
        lock (_gate)
        {
            while (_full.Count == 0 && !_atEnd)
            {
                Monitor.Wait(_gate);
            }

            if (_full.TryDequeue(out batch))
            {
                return true;
            }

            _failure?.Throw();
            return false;
        }
    }

    private void GiveBack(Batch batch)
    {
        batch.Bytes.Clear(BatchBytes);
        lock (_gate)
        {
            _empty.Push(batch);
            Monitor.PulseAll(_gate);
        }
    }

    private void Run()
    {
        ExceptionDispatchInfo? failure = null;
        try
        {
            ReadAll();
        }
        catch (Exception error)
        {
            // Thrown to the caller, when it comes to this place.
            failure = ExceptionDispatchInfo.Capture(error);
        }

        lock (_gate)
        {
            _failure = failure;
            _atEnd = true;
            Monitor.PulseAll(_gate);
        }
    }

    private void ReadAll()
    {
        using var scanner = new GroupScanner();
        foreach (JournalSegment segment in _segments)
        {
            long end = SegmentReading.Begin(segment, _committed, scanner);
            Batch? batch = null;
            while (scanner.TryNext())
            {
                if (scanner.Group.Records == 0)
                {
                    continue;
                }

                if (batch is not null && batch.Bytes.Length + scanner.Group.Length > BatchBytes)
                {
                    Give(batch);
                    batch = null;
                }

                if (batch is null && !TryTakeEmpty(segment.Header.Version, out batch))
                {
                    return;
                }

                batch.Bytes.Append(scanner.GroupBytes);
            }

            if (batch is not null)
            {
                Give(batch);
            }

            SegmentReading.CheckEnd(segment, end, scanner);
        }
    }

    private bool TryTakeEmpty(uint version, [NotNullWhen(true)] out Batch? batch)
    {
        _beside();
        lock (_gate)
        {
            while (_empty.Count == 0 && !_stopped)
            {
                Monitor.Wait(_gate);
            }

            batch = _stopped ? null : _empty.Pop();
            if (batch is not null)
            {
                batch.Version = version;
            }

            return batch is not null;
        }
    }

    private void Give(Batch batch)
    {
        lock (_gate)
        {
            _full.Enqueue(batch);
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Whole groups of one format version, one behind the other.</summary>
    private sealed class Batch
    {
        public NativeBuffer Bytes { get; } = new(BatchBytes);

        public uint Version { get; set; }
    }
}
