namespace KeyVa.Engines;

/// <summary>
/// Background work without threads: jobs run when <see cref="RunAll"/> is called, on the caller's thread. For tools that
/// read or rebuild a folder nobody has open. One thread.
/// </summary>
internal sealed class InlineWork : IBackgroundWork
{
    private readonly List<BackgroundJob> _queue = [];

    public void Schedule(BackgroundJob job)
    {
        if (!_queue.Contains(job))
        {
            _queue.Add(job);
        }
    }

    /// <summary>Left out: what is put off (retries on a full disk, memory that readers hold) is of no use to a tool.</summary>
    public void ScheduleAfter(BackgroundJob job, TimeSpan delay)
    {
    }

    public void Pause(TimeSpan delay) => RunAll();

    public void Cancel(BackgroundJob job) => _queue.Remove(job);

    /// <summary>Runs until nothing is queued, flushes before compactions.</summary>
    public void RunAll()
    {
        while (_queue.Count > 0)
        {
            BackgroundJob next = _queue.MinBy(static job => job.Priority)!;
            _queue.Remove(next);
            next.Run();
        }
    }
}
