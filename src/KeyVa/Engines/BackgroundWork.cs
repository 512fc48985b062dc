namespace KeyVa.Engines;

/// <summary>What is urgent first: a flush frees memory that writers wait for.</summary>
internal enum JobPriority
{
    Flush = 0,
    Compaction = 1,
    Checkpoint = 2,
}

/// <summary>A piece of background work. It schedules itself again if there is more to do.</summary>
internal abstract class BackgroundJob
{
    protected BackgroundJob(JobPriority priority) => Priority = priority;

    public JobPriority Priority { get; }

    /// <summary>For the scheduler: the job is queued and not yet running.</summary>
    internal bool Queued { get; set; }

    /// <summary>
    /// Does the work. Failures of the disk are the job's own to keep (an engine's <see cref="Engine.Failure"/>, or a retry
    /// after <see cref="StorageFullException"/>); what it throws is a bug and ends the process.
    /// </summary>
    public abstract void Run();
}

/// <summary>
/// Runs jobs outside the callers' threads. Two implementations: <see cref="BackgroundThreads"/>, and one in the tests
/// that runs jobs when told, so that a seed decides their order.
/// </summary>
internal interface IBackgroundWork
{
    /// <summary>Queues a job; one that is queued already stays queued once. A running job may be queued again and then runs once more, not at the same time.</summary>
    void Schedule(BackgroundJob job);

    /// <summary>Queues a job after a delay, for retries when the disk is full.</summary>
    void ScheduleAfter(BackgroundJob job, TimeSpan delay);

    /// <summary>
    /// Waits about that long on the calling thread while jobs go on: a writer that <see cref="Engine.Admit"/> asked to
    /// wait. Where a test runs the jobs by hand, it runs one instead.
    /// </summary>
    void Pause(TimeSpan delay);

    /// <summary>Takes a job out of the queue and waits until it is not running. Afterwards it does not run unless scheduled again.</summary>
    void Cancel(BackgroundJob job);
}
