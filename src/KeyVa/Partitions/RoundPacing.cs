using System.Diagnostics;
using KeyVa.Log;

namespace KeyVa.Partitions;

/// <summary>
/// How long threads stay awake around a round of the journal: the leader, for others to join its group, and the callers
/// behind it, for their turn. Going to sleep and being woken costs about as much as a sync of a fast disk, so callers that
/// keep each other company share more rounds if they do neither.
/// </summary>
/// <remarks>
/// <para>Where nothing is synced, two things help callers that are no more than the processors, and exclude each other: to share a
/// round, so that one write to the journal serves all, or to log the next group while one is applied. Which is better follows
/// from what takes longer, logging or applying, and that is measured while there is company.</para>
/// <para>A field of its <see cref="PartitionWriter"/>, never copied: a struct, so that a lone caller pays no indirection.</para>
/// <para>Invariants.
/// 1. All fields are written by the holder of the writer's role alone; <c>_applyTicks</c> by whoever applies, one at a time.
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

    /// <summary>One round in so many is timed while there is company.</summary>
    private const int TimedEvery = 16;

    /// <summary>A sample counts so much at most: a thread that was put aside says nothing about its work.</summary>
    private static readonly long LongestSampleTicks = Stopwatch.Frequency / 50_000;

    /// <summary>The weight of a sample in its average, as a shift.</summary>
    private const int SampleShift = 3;

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
    private bool _shares = syncs;

    // Averages of one group logged and one command applied; the second is the applier's to write.
    private long _logTicks;
    private long _applyTicks;

    // The role holder's.
    private int _rounds;
    private int _mostInWindow;
    private int _windowLeft;
    private int _companyMisses;
    private int _companySkips;

    /// <summary>
    /// Whether others are expected to write at once, and are better waited for than made way for. Not where they are more than
    /// the processors: they form large groups anyway, and whoever stays awake takes the processor from another.
    /// </summary>
    public readonly bool InCompany
    {
        get
        {
            int callers = Volatile.Read(in _callers);
            return Volatile.Read(in _shares) && callers > 1 && callers <= Environment.ProcessorCount;
        }
    }

    /// <summary>Whether its partition's groups are synced before they are acknowledged.</summary>
    public readonly bool Syncs => _syncs;

    private readonly bool IsTimed => _callers > 1 && _rounds % TimedEvery == 0;

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
        _rounds++;
        _mostInWindow = Math.Max(_mostInWindow, count);
        if (--_windowLeft <= 0)
        {
            _windowLeft = CallersWindow;
            Volatile.Write(ref _callers, _mostInWindow);
            if (!_syncs)
            {
                ChooseSharing();
            }

            _mostInWindow = count;
        }
        else if (count > _callers)
        {
            Volatile.Write(ref _callers, count);
        }
    }

    /// <summary>Role held. Appends a group and notes how long that takes, if it matters to anybody.</summary>
    public AppendOutcome Append(Journal journal, JournalEntry entry)
    {
        if (!_syncs && !IsTimed)
        {
            return journal.Append(entry);
        }

        long begun = Stopwatch.GetTimestamp();
        AppendOutcome outcome = journal.Append(entry);
        long ticks = Stopwatch.GetTimestamp() - begun;
        if (_syncs)
        {
            Volatile.Write(ref _roundTicks, ticks);
        }
        else
        {
            _logTicks = Averaged(_logTicks, ticks);
        }

        return outcome;
    }

    /// <summary>Role held, behind <see cref="Append"/>: the time at which applying begins, if it is to be noted; 0 otherwise.</summary>
    public readonly long BeginApply() => !_syncs && IsTimed ? Stopwatch.GetTimestamp() : 0;

    /// <summary>By the thread that applies: a group of so many commands is applied.</summary>
    public void EndApply(long begun, int commands)
    {
        if (begun != 0)
        {
            Volatile.Write(ref _applyTicks, Averaged(_applyTicks, (Stopwatch.GetTimestamp() - begun) / Math.Max(1, commands)));
        }
    }

    private static long Averaged(long average, long sample) =>
        average + ((Math.Min(sample, LongestSampleTicks) - average) >> SampleShift);

    /// <summary>
    /// A shared round logs once and applies one after the other; making way overlaps both, and moves what the journal has in a
    /// processor's cache to another's with each round. Between the two bounds it stays as it is.
    /// </summary>
    private void ChooseSharing()
    {
        long apply = Volatile.Read(ref _applyTicks);
        if (apply * 8 < _logTicks * 5)
        {
            Volatile.Write(ref _shares, true);
        }
        else if (apply * 8 > _logTicks * 7)
        {
            Volatile.Write(ref _shares, false);
        }
    }
}
