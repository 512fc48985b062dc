using KeyVa.Engines;
using KeyVa.Log;

namespace KeyVa.Partitions;

/// <summary>
/// Looks for damage before anyone needs the bytes: from time to time, and slowly, it reads the journal and all files of all
/// partitions from the disk. No thread of its own: a timer queues it, and each run reads one small piece.
/// </summary>
/// <remarks>
/// Thread-safe. Runs do not overlap (a background job never does). The gate guards what others read. A pass begins an
/// interval after the last one began, the first of them an hour after opening if the interval is longer.
/// </remarks>
internal sealed class Scrubber : BackgroundJob, IDisposable
{
    /// <summary>Damaged places that are remembered; more are only counted.</summary>
    public const int MaxDamages = 100;

    private const long LargestPiece = 1 << 20;
    private const long SmallestPiece = 64 << 10;
    private static readonly TimeSpan FirstAfter = TimeSpan.FromHours(1);

    // Immutable.
    private readonly PartitionRegistry _registry;
    private readonly Journal _journal;
    private readonly IBackgroundWork _background;
    private readonly TimeProvider _time;
    private readonly TimeSpan _interval;
    private readonly long _bytesPerSecond;
    private readonly ITimer _timer;

    // The job's own.
    private readonly Queue<long> _partitions = new();
    private ScrubPass? _pass;
    private Partition? _partition;

    // Guarded by the gate.
    private readonly Lock _gate = new();
    private readonly List<CorruptionException> _damages = [];
    private readonly HashSet<(string File, long Offset)> _places = [];
    private bool _running;
    private bool _stopping;
    private long _bytes;
    private long _passes;

    public Scrubber(PartitionRegistry registry, Journal journal, StoreContext context)
        : base(JobPriority.Checkpoint)
    {
        _registry = registry;
        _journal = journal;
        _background = context.Background;
        _time = context.Time;
        _interval = context.Options.ScrubInterval;
        _bytesPerSecond = context.Options.ScrubBytesPerSecond;
        _timer = _time.CreateTimer(static scrubber => ((Scrubber)scrubber!).Queue(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        if (_interval > TimeSpan.Zero)
        {
            WaitFor(_interval < FirstAfter ? _interval : FirstAfter);
        }
    }

    /// <summary>The damaged places found since the store was opened, each once.</summary>
    public IReadOnlyList<CorruptionException> Damages
    {
        get
        {
            lock (_gate)
            {
                return [.. _damages];
            }
        }
    }

    /// <summary>Bytes read, passes completed, places found damaged; whether a pass is under way.</summary>
    public (long Bytes, long Passes, long Damages, bool IsRunning) Figures
    {
        get
        {
            lock (_gate)
            {
                return (_bytes, _passes, _places.Count, _running);
            }
        }
    }

    /// <summary>Begins a pass now, unless one is under way.</summary>
    public void Begin() => WaitFor(TimeSpan.Zero);

    public override void Run()
    {
        if (Begins())
        {
            _partitions.Clear();
            foreach (Partition partition in _registry.Map.Partitions)
            {
                _partitions.Enqueue(partition.Id);
            }

            _pass = _journal.BeginScrub();
        }

        long piece = Math.Clamp(_bytesPerSecond / 10, SmallestPiece, LargestPiece);
        if (!Step(piece, out long read) && !TryNextPass())
        {
            lock (_gate)
            {
                _running = false;
                _passes++;
            }

            if (_interval > TimeSpan.Zero)
            {
                WaitFor(_interval);
            }

            return;
        }

        WaitFor(TimeSpan.FromSeconds((double)read / _bytesPerSecond));
    }

    /// <summary>Stops at once: after the piece that is being read.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _stopping = true;
        }

        _timer.Dispose();
        _background.Cancel(this);
        EndPass();
    }

    // Whether this run is the first of a pass.
    private bool Begins()
    {
        lock (_gate)
        {
            bool begins = !_running;
            _running = true;
            return begins;
        }
    }

    private bool Step(long piece, out long read)
    {
        read = 0;
        bool more = false;

        // Pinned for the piece alone: a removal does not wait for a whole pass.
        if (_partition is null || _partition.TryPin())
        {
            more = _pass is not null && _pass.Step(piece, Note, out read);
            _partition?.Unpin();
        }

        lock (_gate)
        {
            _bytes += read;
        }

        if (!more)
        {
            EndPass();
        }

        return more;
    }

    private bool TryNextPass()
    {
        while (_partitions.TryDequeue(out long id))
        {
            if (_registry.Map.TryFind(id, out Partition? partition) && partition.TryPin())
            {
                _partition = partition;
                _pass = new Indexes.IndexScrub(partition.Engine.BeginScrub(), partition.Indexes);
                partition.Unpin();
                return true;
            }
        }

        return false;
    }

    private void EndPass()
    {
        _pass?.Dispose();
        _pass = null;
        _partition = null;
    }

    private void Note(CorruptionException damage)
    {
        lock (_gate)
        {
            if (_places.Count < MaxDamages && _places.Add((damage.File, damage.Offset)))
            {
                _damages.Add(damage);
            }
        }
    }

    private void WaitFor(TimeSpan delay)
    {
        lock (_gate)
        {
            if (!_stopping)
            {
                _timer.Change(delay, Timeout.InfiniteTimeSpan);
            }
        }
    }

    private void Queue()
    {
        lock (_gate)
        {
            if (!_stopping)
            {
                _background.Schedule(this);
            }
        }
    }
}
