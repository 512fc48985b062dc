using KeyVa.Engines;

namespace KeyVa.Tests.Engines;

/// <summary>Background work that runs when the test says, in an order that the test's seed decides, on the test's own thread.</summary>
internal sealed class ManualBackgroundWork : IBackgroundWork
{
    private readonly List<BackgroundJob> _queued = [];

    public int Queued => _queued.Count;

    public void Schedule(BackgroundJob job)
    {
        if (!_queued.Contains(job))
        {
            _queued.Add(job);
        }
    }

    /// <summary>Time is the test's affair: a delayed job is queued like any other.</summary>
    public void ScheduleAfter(BackgroundJob job, TimeSpan delay) => Schedule(job);

    public void Pause(TimeSpan delay) => throw new InvalidOperationException("these tests have no writer that could wait");

    public void Cancel(BackgroundJob job) => _queued.Remove(job);

    /// <summary>Runs one queued job; false if there is none.</summary>
    public bool RunOne(Random random)
    {
        if (_queued.Count == 0)
        {
            return false;
        }

        int i = random.Next(_queued.Count);
        BackgroundJob job = _queued[i];
        _queued.RemoveAt(i);
        job.Run();
        return true;
    }

    /// <summary>Runs until nothing is queued, or so many jobs have run.</summary>
    public void RunAll(Random random, int limit = 1000)
    {
        while (limit-- > 0 && RunOne(random))
        {
        }
    }
}
