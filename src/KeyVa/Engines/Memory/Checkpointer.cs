using KeyVa.Partitions;

namespace KeyVa.Engines.Memory;

/// <summary>A state of the engine that is to be written: everything up to an index, pinned until disposed.</summary>
internal sealed class CheckpointCapture(long index, long version, long stamp, HistoryMark? history, byte[] sessions, Snapshot pin) : IDisposable
{
    public long Index => index;

    public long Version => version;

    public long Stamp => stamp;

    /// <summary>If versions are retained: which of them it has, tombstones too. Else it has the newest of each key.</summary>
    public HistoryMark? History => history;

    /// <summary>The sessions of that index.</summary>
    public byte[] Sessions => sessions;

    public void Dispose() => pin.Dispose();
}

/// <summary>
/// Writes the memory engine's checkpoints in the background, the newest one asked for, one at a time.
/// </summary>
/// <remarks>
/// Thread-safe. The lock guards what is wanted; <see cref="BackgroundJob.Run"/> is never entered twice at once. A capture
/// stays pinned while the disk is full: its versions cost memory, but then puts are refused too.
/// </remarks>
internal sealed class Checkpointer : BackgroundJob, IDisposable
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    private readonly MemoryEngine _engine;
    private readonly EngineContext _context;
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();

    /// <summary>Held while a file is looked up and opened, and while old ones are removed.</summary>
    private readonly Lock _names = new();

    // Guarded by the gate.
    private CheckpointCapture? _wanted;
    private bool _writing;
    private Horizon _durableAt;

    // Written by the job, read by anyone.
    private long _durableIndex;
    private long _fileBytes;
    private long _bytesWritten;
    private volatile StoreException? _failure;

    public Checkpointer(MemoryEngine engine, long durableIndex, Horizon durableAt, long fileBytes)
        : base(JobPriority.Checkpoint)
    {
        _engine = engine;
        _context = engine.Context;
        _durableIndex = durableIndex;
        _durableAt = durableAt;
        _fileBytes = fileBytes;
    }

    public long DurableIndex => Volatile.Read(ref _durableIndex);

    /// <summary>Version and stamp of the last checkpoint.</summary>
    public Horizon DurableAt
    {
        get
        {
            lock (_gate)
            {
                return _durableAt;
            }
        }
    }

    public long FileBytes => Volatile.Read(ref _fileBytes);

    public long BytesWritten => Volatile.Read(ref _bytesWritten);

    public StoreException? Failure => _failure;

    /// <summary>Whether a checkpoint is wanted or being written.</summary>
    public bool IsBusy
    {
        get
        {
            lock (_gate)
            {
                return _wanted is not null || _writing;
            }
        }
    }

    /// <summary>Has a capture written, in place of one that still waits.</summary>
    public void Request(CheckpointCapture capture)
    {
        if (capture.Index <= DurableIndex || _failure is not null)
        {
            capture.Dispose();
            return;
        }

        lock (_gate)
        {
            _wanted?.Dispose();
            _wanted = capture;
        }

        _context.Background.Schedule(this);
    }

    public override void Run()
    {
        CheckpointCapture? capture = Take();
        if (capture is null)
        {
            return;
        }

        if (capture.Index <= DurableIndex)
        {
            // Asked for while the same state was being written: the tables of what is in force by now must not be written over.
            Finish(capture);
            return;
        }

        bool advanced = false;
        try
        {
            advanced = TryWrite(capture);
        }
        catch (StoreException failure)
        {
            _failure = failure;
        }
        catch (OperationCanceledException)
        {
            // The engine is being closed; the log has what the file would have had.
        }
        finally
        {
            Finish(capture);
        }

        if (advanced)
        {
            _context.DurableAdvanced?.Invoke();
        }
    }

    /// <summary>Reads the present checkpoint to its end; it may be replaced meanwhile, an open file stays readable.</summary>
    public IReadOnlyList<CorruptionException> Verify(CancellationToken cancellation) =>
        CheckpointFolder.Verify(OpenPresent, cancellation);

    /// <summary>Begins to read the present checkpoint.</summary>
    public ScrubPass BeginScrub() => new CheckpointScrub(OpenPresent);

    /// <summary>Ends background work; a checkpoint that is being written is given up.</summary>
    public void Dispose()
    {
        _stop.Cancel();
        _context.Background.Cancel(this);
        Take()?.Dispose();
        _stop.Dispose();
    }

    private CheckpointReader? OpenPresent()
    {
        lock (_names)
        {
            return CheckpointFolder.OpenNewest(_context.FileSystem, _context.Directory);
        }
    }

    private CheckpointCapture? Take()
    {
        lock (_gate)
        {
            CheckpointCapture? capture = _wanted;
            _wanted = null;
            _writing = capture is not null;
            return capture;
        }
    }

    /// <summary>False: the disk was full, and the capture is wanted again.</summary>
    private bool TryWrite(CheckpointCapture capture)
    {
        try
        {
            _context.BeforeDurable?.Invoke(capture.Index);
            long bytes = CheckpointFolder.Write(
                _context.FileSystem, _context.Directory, capture, _engine, progress: null, _stop.Token);
            lock (_gate)
            {
                _durableAt = new Horizon(capture.Version, capture.Stamp);
            }

            Volatile.Write(ref _durableIndex, capture.Index);
            Volatile.Write(ref _fileBytes, bytes);
            Volatile.Write(ref _bytesWritten, _bytesWritten + bytes);
        }
        catch (StorageFullException)
        {
            lock (_gate)
            {
                _wanted ??= capture;
            }

            _context.Background.ScheduleAfter(this, RetryAfter);
            return false;
        }

        lock (_names)
        {
            CheckpointFolder.RemoveAllBut(_context.FileSystem, _context.Directory, capture.Index);
        }

        return true;
    }

    private void Finish(CheckpointCapture capture)
    {
        lock (_gate)
        {
            _writing = false;
            if (_wanted == capture)
            {
                return;
            }
        }

        capture.Dispose();
    }
}
