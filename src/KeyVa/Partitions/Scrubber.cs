using System.Globalization;
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

    /// <summary>Slower than this, a piece would take seconds.</summary>
    public const long MinBytesPerSecond = 64 << 10;

    /// <summary>Scrubs that were asked for and are under way at once.</summary>
    public const int MaxAsked = 4;

    private const long LargestPiece = 1 << 20;
    private const long SmallestPiece = 64 << 10;
    private static readonly TimeSpan FirstAfter = TimeSpan.FromHours(1);

    // Immutable.
    private readonly PartitionRegistry _registry;
    private readonly Journal _journal;
    private readonly IBackgroundWork _background;
    private readonly TimeProvider _time;
    private readonly StoreContext _context;
    private readonly TimeSpan _interval;
    private readonly ITimer _timer;

    // The job's own.
    private ScrubWalk? _walk;

    // Guarded by the gate.
    private readonly Lock _gate = new();
    private readonly List<CorruptionException> _damages = [];
    private readonly HashSet<(string File, long Offset)> _places = [];
    private readonly List<ScrubJob> _asked = [];
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
        _context = context;
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
            _walk = new ScrubWalk(_registry, _journal, AllPartitions());
        }

        bool more = _walk!.Step(Piece(_context.Options.ScrubBytesPerSecond), Note, out long read);
        lock (_gate)
        {
            _bytes += read;
        }

        if (!more)
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

        WaitFor(TimeSpan.FromSeconds((double)read / _context.Options.ScrubBytesPerSecond));
    }

    /// <summary>Stops at once: after the piece that is being read.</summary>
    public void Dispose()
    {
        ScrubJob[] asked;
        lock (_gate)
        {
            _stopping = true;
            asked = [.. _asked];
        }

        _timer.Dispose();
        _background.Cancel(this);
        _walk?.Dispose();
        foreach (ScrubJob job in asked)
        {
            job.Stop();
        }
    }

    /// <summary>Begins to read one partition's files, or everything, at a rate of its own; see <see cref="StoreScrub"/>.</summary>
    public StoreScrub Begin(long? partition, long bytesPerSecond, CancellationToken cancellation)
    {
        IReadOnlyList<PartitionInfo> read = [.. _registry.List().Where(info => partition is null || info.Id == partition)];
        var scrub = new StoreScrub(read.Sum(static info => info.StorageBytes) + (partition is null ? _journal.Bytes : 0), cancellation);
        if (partition is not null && read.Count == 0)
        {
            scrub.Complete(Status.NotFound, string.Create(CultureInfo.InvariantCulture, $"there is no partition {partition}; 'keyva admin partition list' shows them"));
            return scrub;
        }

        lock (_gate)
        {
            if (_stopping)
            {
                scrub.Fail(new StoreException("the store is closing"));
            }
            else if (_asked.Count == MaxAsked)
            {
                scrub.Complete(Status.Busy, string.Create(CultureInfo.InvariantCulture, $"{MaxAsked} scrubs are under way"));
            }
            else
            {
                var walk = new ScrubWalk(_registry, partition is null ? _journal : null, read.Select(static info => info.Id));
                var job = new ScrubJob(scrub, walk, bytesPerSecond, _background, this, cancellation);
                _asked.Add(job);
                _background.Schedule(job);
            }
        }

        return scrub;
    }

    /// <summary>A scrub that was asked for has ended.</summary>
    public void Forget(ScrubJob job)
    {
        lock (_gate)
        {
            _asked.Remove(job);
        }
    }

    /// <summary>What is read at once, so that the disk is left alone in between.</summary>
    public static long Piece(long bytesPerSecond) => Math.Clamp(bytesPerSecond / 10, SmallestPiece, LargestPiece);

    private List<long> AllPartitions()
    {
        List<long> ids = [];
        foreach (Partition partition in _registry.Map.Partitions)
        {
            ids.Add(partition.Id);
        }

        return ids;
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

    /// <summary>Remembers a damaged place, however it was found.</summary>
    public void Note(CorruptionException damage)
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
