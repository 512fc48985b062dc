namespace KeyVa.Simulation.Raft;

/// <summary>Virtual time: what happens next, happens next; at the same time, in the order in which it was planned.</summary>
internal sealed class EventQueue
{
    private readonly PriorityQueue<Action, (long Time, long Order)> _events = new();
    private long _planned;

    public long Now { get; private set; }

    /// <summary>Events that have happened. A finer clock than time: no two share it.</summary>
    public long Steps { get; private set; }

    public void After(long delay, Action action) => _events.Enqueue(action, (Now + delay, _planned++));

    /// <summary>Lets everything happen that is planned up to a time, and what that plans.</summary>
    public void RunUntil(long time)
    {
        while (_events.TryPeek(out Action? action, out (long Time, long Order) at) && at.Time <= time)
        {
            _events.Dequeue();
            Now = at.Time;
            Steps++;
            action();
        }

        Now = time;
    }
}
