using KeyVa.Io;

namespace KeyVa.Engines;

/// <summary>
/// Runs background jobs on a fixed number of own threads, flushes before compactions. The first thread takes flushes
/// alone, so that a long compaction never holds up a flush that writers wait for. The others have a lower priority than the callers of
/// the store: where all processors are wanted, a put would wait a whole time slice for one in the midst of a compaction.
/// </summary>
/// <remarks>Thread-safe. One lock guards the queues; jobs run outside it.</remarks>
internal sealed class BackgroundThreads : IBackgroundWork, IDisposable
{
    /// <summary>Above the nice value of the process, for a third of the weight that callers have: compactions still get their part of a busy machine, so that debt does not pile up.</summary>
    private const int CompactionNice = 5;

    private readonly object _gate = new();
    private readonly Queue<BackgroundJob>[] _queues = [new(), new(), new()];
    private readonly HashSet<BackgroundJob> _running = [];
    private readonly Dictionary<BackgroundJob, Timer> _delayed = [];
    private readonly Thread[] _threads;
    private bool _stopping;

    public BackgroundThreads(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        _threads = new Thread[threads + 1];
        for (int i = 0; i < _threads.Length; i++)
        {
            bool flushes = i == 0;
            _threads[i] = new Thread(() => Run(flushes)) { IsBackground = true, Name = $"keyva-background-{i}" };
            _threads[i].Start();
        }
    }

    public void Schedule(BackgroundJob job)
    {
        lock (_gate)
        {
            Enqueue(job);
        }
    }

    public void ScheduleAfter(BackgroundJob job, TimeSpan delay)
    {
        lock (_gate)
        {
            if (_stopping || job.Queued || _delayed.ContainsKey(job))
            {
                return;
            }

            _delayed[job] = new Timer(_ => DelayOver(job), null, delay, Timeout.InfiniteTimeSpan);
        }
    }

    // The runtime's own sleep knows whole milliseconds alone.
    public unsafe void Pause(TimeSpan delay)
    {
        var wanted = new Posix.TimeSpecification
        {
            Seconds = (long)delay.TotalSeconds,
            Nanoseconds = delay.Ticks % TimeSpan.TicksPerSecond * TimeSpan.NanosecondsPerTick,
        };
        _ = Posix.Sleep(&wanted, null);
    }

    public void Cancel(BackgroundJob job)
    {
        lock (_gate)
        {
            RemoveQueued(job);
            while (_running.Contains(job))
            {
                Monitor.Wait(_gate);
                RemoveQueued(job);
            }
        }
    }

    /// <summary>Drops what is queued and waits for what is running.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _stopping = true;
            foreach (Timer timer in _delayed.Values)
            {
                timer.Dispose();
            }

            _delayed.Clear();
            Monitor.PulseAll(_gate);
        }

        foreach (Thread thread in _threads)
        {
            thread.Join();
        }
    }

    private void Run(bool flushes)
    {
        if (!flushes)
        {
            // Asking for less is never refused; and if it were, nothing but time would be lost.
            _ = Posix.Nice(CompactionNice);
        }

        RunJobs(flushes ? (int)JobPriority.Flush : (int)JobPriority.Checkpoint);
    }

    private void DelayOver(BackgroundJob job)
    {
        lock (_gate)
        {
            if (_delayed.Remove(job, out Timer? timer))
            {
                timer.Dispose();
                Enqueue(job);
            }
        }
    }

    private void Enqueue(BackgroundJob job)
    {
        if (_stopping || job.Queued)
        {
            return;
        }

        job.Queued = true;
        _queues[(int)job.Priority].Enqueue(job);
        Monitor.PulseAll(_gate);
    }

    private void RemoveQueued(BackgroundJob job)
    {
        if (_delayed.Remove(job, out Timer? timer))
        {
            timer.Dispose();
        }

        if (job.Queued)
        {
            job.Queued = false;
            Queue<BackgroundJob> queue = _queues[(int)job.Priority];
            for (int i = queue.Count; i > 0; i--)
            {
                BackgroundJob other = queue.Dequeue();
                if (other != job)
                {
                    queue.Enqueue(other);
                }
            }
        }
    }

    private void RunJobs(int lowest)
    {
        while (true)
        {
            BackgroundJob? job;
            lock (_gate)
            {
                while ((job = TakeNext(lowest)) is null)
                {
                    if (_stopping)
                    {
                        return;
                    }

                    Monitor.Wait(_gate);
                }
            }

            try
            {
                job.Run();
            }
            finally
            {
                lock (_gate)
                {
                    _running.Remove(job);
                    Monitor.PulseAll(_gate);
                }
            }
        }
    }

    /// <summary>The most urgent job that is not already running; it is marked as running.</summary>
    private BackgroundJob? TakeNext(int lowest)
    {
        if (_stopping)
        {
            return null;
        }

        for (int priority = 0; priority <= lowest; priority++)
        {
            Queue<BackgroundJob> queue = _queues[priority];
            for (int i = queue.Count; i > 0; i--)
            {
                BackgroundJob job = queue.Dequeue();
                if (_running.Contains(job))
                {
                    queue.Enqueue(job);
                    continue;
                }

                job.Queued = false;
                _running.Add(job);
                return job;
            }
        }

        return null;
    }
}
