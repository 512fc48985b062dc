using System.Diagnostics;
using KeyVa.Log;

namespace KeyVa.Partitions;

/// <summary>
/// How long threads stay awake around a round of the journal: the leader, for others to join its group, and the callers
/// behind it, for their turn. Going to sleep and being woken costs about as much as a sync of a fast disk, so callers that
/// keep each other company share more rounds if they do neither.
/// </summary>
/// <remarks>
/// <para>A field of its <see cref="PartitionWriter"/>, never copied: a struct, so that a lone caller pays no indirection.</para>
/// <para>Invariants.
/// 1. All fields are written by the holder of the writer's role alone.
/// 2. <c>_roundTicks</c> and <c>_callers</c> are read by every caller at any time: a stale value costs a little time and
///    never a wake-up: who has waited here long enough goes to sleep or goes on.
/// 3. Every wait has a bound in ticks; where nobody comes it is tried ever more rarely.</para>
/// </remarks>
internal struct RoundPacing(bool syncs)
{
    /// <summary>The part of a round that a leader waits for others to join, and the most that it waits.</summary>
    private const int CompanyShare = 4;
    private static readonly long LongestPatienceTicks = Stopwatch.Frequency / 100_000;

    /// <summary>Waits in vain double the number of rounds in which none is tried, up to 2 to the power of this.</summary>
    private const int MostCompanyMisses = 6;

    /// <summary>Rounds over which the most callers at once are kept.</summary>
    private const int CallersWindow = 64;

    /// <summary>The most that a leader waits where nothing is synced: about what others take to come back with their next write.</summary>
    private static readonly long PlainPatienceTicks = Stopwatch.Frequency / 500_000;

    /// <summary>Looks at the queue for one at the clock.</summary>
    private const int LooksPerClock = 4;

    /// <summary>A round that is not synced is over by then; waking a caller that sleeps takes about as long.</summary>
    private static readonly long PlainSpinTicks = Environment.ProcessorCount > 1 ? Stopwatch.Frequency / 20_000 : 0;

    /// <summary>Longest round of a sync that is waited for awake: going to sleep and being woken costs about as much.</summary>
    private static readonly long LongestSpunTicks = Stopwatch.Frequency / 20_000;

    // Immutable.
    private readonly bool _syncs = syncs;

    // Shared: the role holder's to write, everyone's to read.
    private long _roundTicks;
    private int _callers;

    // The role holder's.
    private int _mostInWindow;
    private int _windowLeft;
    private int _companyMisses;
    private int _companySkips;

    /// <summary>
    /// Whether others are expected to write at once. Not where they are more than the processors: they form large groups
    /// anyway, and whoever stays awake takes the processor from another.
    /// </summary>
    public readonly bool InCompany
    {
        get
        {
            int callers = Volatile.Read(in _callers);
            return callers > 1 && callers <= Environment.ProcessorCount;
        }
    }

    /// <summary>Whether its partition's groups are synced before they are acknowledged.</summary>
    public readonly bool Syncs => _syncs;

    /// <summary>How long a caller stays awake: two rounds, its predecessor's rest and its own, where the disk is that fast.</summary>
    public readonly long SpinTicks()
    {
        if (!_syncs)
        {
            return PlainSpinTicks;
        }

        long round = Volatile.Read(in _roundTicks);
        return InCompany && round <= LongestSpunTicks ? 2 * round : 0;
    }

    /// <summary>
    /// Role held. Callers that shared the group before come back as soon as they are awake: waiting for them a small part
    /// of what a sync takes, lets them share this one too.
    /// </summary>
    public void AwaitCompany(RequestQueue queue)
    {
        if (_companySkips > 0)
        {
            _companySkips--;
            return;
        }

        long patience = _syncs ? Math.Min(_roundTicks / CompanyShare, LongestPatienceTicks) : PlainPatienceTicks;
        long begun = Stopwatch.GetTimestamp();
        for (int looks = 1; queue.Count < _callers; looks++)
        {
            if (looks % LooksPerClock == 0 && Stopwatch.GetTimestamp() - begun > patience)
            {
                _companyMisses = Math.Min(_companyMisses + 1, MostCompanyMisses);
                _companySkips = 1 << _companyMisses;
                return;
            }

            Thread.SpinWait(1);
        }

        _companyMisses = 0;
    }

    /// <summary>Role held. Callers at once: the most of a window of rounds, or of the one before it.</summary>
    public void NoteCallers(int count)
    {
        _mostInWindow = Math.Max(_mostInWindow, count);
        if (--_windowLeft <= 0)
        {
            _windowLeft = CallersWindow;
            Volatile.Write(ref _callers, _mostInWindow);
            _mostInWindow = count;
        }
        else if (count > _callers)
        {
            Volatile.Write(ref _callers, count);
        }
    }

    /// <summary>Role held. Appends a group and notes how long its round takes, if it is one that syncs.</summary>
    public AppendOutcome Append(Journal journal, JournalEntry entry)
    {
        if (!_syncs)
        {
            return journal.Append(entry);
        }

        long begun = Stopwatch.GetTimestamp();
        AppendOutcome outcome = journal.Append(entry);
        Volatile.Write(ref _roundTicks, Stopwatch.GetTimestamp() - begun);
        return outcome;
    }
}
