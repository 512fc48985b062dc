using KeyVa.Engines;

namespace KeyVa.Simulation;

/// <summary>Background jobs that run when the simulation says so, on its own thread; a seed decides which.</summary>
internal sealed class DeterministicWork(Random random) : IBackgroundWork
{
    private readonly Lock _lock = new();
    private readonly List<BackgroundJob> _queue = [];
    private readonly HashSet<BackgroundJob> _running = [];

    public void Schedule(BackgroundJob job)
    {
        lock (_lock)
        {
            if (!job.Queued)
            {
                job.Queued = true;
                _queue.Add(job);
            }
        }
    }

    public void ScheduleAfter(BackgroundJob job, TimeSpan delay) => Schedule(job);

    /// <summary>The caller may hold a writer's role: jobs that ask for it are not for now.</summary>
    public void Pause(TimeSpan delay) => RunOne(JobPriority.Compaction);

    public void Cancel(BackgroundJob job)
    {
        lock (_lock)
        {
            job.Queued = false;
            _queue.Remove(job);
        }
    }

    /// <summary>Runs one job: the most urgent kind first, by chance among its like; false if there is none.</summary>
    public bool RunOne(JobPriority lowest = JobPriority.Checkpoint)
    {
        BackgroundJob job;
        lock (_lock)
        {
            BackgroundJob[] ready = [.. _queue.Where(j => j.Priority <= lowest && !_running.Contains(j))];
            if (ready.Length == 0)
            {
                return false;
            }

            JobPriority first = ready.Min(j => j.Priority);
            BackgroundJob[] equal = [.. ready.Where(j => j.Priority == first)];
            job = equal[random.Next(equal.Length)];
            _queue.Remove(job);
            job.Queued = false;
            _running.Add(job);
        }

        try
        {
            job.Run();
        }
        finally
        {
            lock (_lock)
            {
                _running.Remove(job);
            }
        }

        return true;
    }
}
