namespace KeyVa.Log;

/// <summary>
/// Where a thread waits for its append; one per thread, used again and again. The thread itself calls
/// <see cref="Begin"/> and <see cref="Wait"/>, exactly one other thread calls <see cref="Signal"/> per wait.
/// Invariant: a signal is never lost; a late wake-up of the wait before is harmless, since the state decides.
/// </summary>
internal sealed class JournalWaiter
{
    public const int Pending = 0;
    public const int Parked = 1;

    /// <summary>The entry's outcome is set.</summary>
    public const int Done = 2;

    /// <summary>The thread is the flusher now.</summary>
    public const int Lead = 3;

    // About ten microseconds: a round that only writes is over by then, one that syncs takes longer than parking costs.
    private const int Spins = 480;
    private const int SpinIterations = 1;

    private static readonly bool OneProcessor = Environment.ProcessorCount == 1;

    [ThreadStatic]
    private static JournalWaiter? _current;

    private readonly object _parking = new();
    private int _state;

    public static JournalWaiter Current => _current ??= new JournalWaiter();

    public void Begin() => Volatile.Write(ref _state, Pending);

    /// <summary>Returns <see cref="Done"/> or <see cref="Lead"/>.</summary>
    public int Wait(bool spin)
    {
        for (int i = 0; spin && !OneProcessor && i < Spins; i++)
        {
            int seen = Volatile.Read(ref _state);
            if (seen != Pending)
            {
                return seen;
            }

            Thread.SpinWait(SpinIterations);
        }

        if (Interlocked.CompareExchange(ref _state, Parked, Pending) == Pending)
        {
            lock (_parking)
            {
                while (Volatile.Read(ref _state) == Parked)
                {
                    Monitor.Wait(_parking);
                }
            }
        }

        return Volatile.Read(ref _state);
    }

    public void Signal(int state)
    {
        if (Interlocked.Exchange(ref _state, state) == Parked)
        {
            lock (_parking)
            {
                Monitor.Pulse(_parking);
            }
        }
    }
}
