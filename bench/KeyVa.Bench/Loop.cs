using System.Diagnostics;

namespace KeyVa.Bench;

/// <summary>
/// One thread's part of a workload: what to do, and what came of it. Made before the clock starts, so that the loop
/// allocates nothing of its own. One thread.
/// </summary>
internal sealed class Loop
{
    /// <summary>From here on the time between two completed puts is a pause that is noted: 5 ms.</summary>
    public static readonly long PauseTicks = Stopwatch.Frequency / 200;

    /// <summary>The most pauses noted; a run of five minutes has room for no more.</summary>
    private const int MostPauses = 1 << 16;

    // What to do.
    public required Work Work { get; init; }

    public required byte[] Key { get; init; }

    public required byte[] MissingKey { get; init; }

    /// <summary>Shuffled record numbers; its length is the number of records.</summary>
    public required uint[] Order { get; init; }

    /// <summary>This thread's part of the records, from here...</summary>
    public required int First { get; init; }

    /// <summary>...to before here.</summary>
    public required int End { get; init; }

    public required long Operations { get; init; }

    public required ulong Seed { get; init; }

    public required byte[] ValuePool { get; init; }

    public required int ValueBytes { get; init; }

    public required int LatencyEvery { get; init; }

    /// <summary>For a loop that runs for a time: Stopwatch ticks it lasts.</summary>
    public required long DurationTicks { get; init; }

    /// <summary>For the writer beside readers: puts per second, 0 for as many as go.</summary>
    public required long WriteRate { get; init; }

    /// <summary>The first record this thread inserts beyond those that are there...</summary>
    public ulong InsertBase { get; init; }

    /// <summary>...and the distance to its next one, so that threads do not meet.</summary>
    public ulong InsertStep { get; init; } = 1;

    public Histogram Latency { get; } = new();

    /// <summary>Set by the harness when a loop without a count should end.</summary>
    public volatile bool Stop;

    // What came of it.
    public long Done;
    public long Found;
    public ulong Touched;
    public long StartedAt;
    public long EndedAt;
    public long AllocatedBytes;
    public long VoluntarySwitches;

    private Pause[] _pauses = [];
    private int _pauseCount;

    /// <summary>The times without a completed put of this thread.</summary>
    public ReadOnlySpan<Pause> Pauses => _pauses.AsSpan(0, _pauseCount);

    public void AddPause(long from, long to)
    {
        if (_pauses.Length == 0)
        {
            _pauses = new Pause[MostPauses];
        }

        _pauses[_pauseCount++] = new Pause(from, to);
    }
}
