namespace KeyVa.Simulation.Cluster;

/// <summary>A fingerprint of everything that happens in a run, in its order: two runs with the same one were the same.</summary>
internal sealed class EventTrace
{
    // FNV-1a (Fowler, Noll, Vo), a number at a time.
    private const ulong Prime = 0x100000001b3;

    /// <summary>The fingerprint of all so far.</summary>
    public ulong Hash { get; private set; } = 0xcbf29ce484222325;

    /// <summary>What was noted so far.</summary>
    public long Length { get; private set; }

    /// <summary>All of it, if asked for before the run: to see where two runs part.</summary>
    public List<(TracedEvent What, long Node, long First, long Second)>? Kept { get; set; }

    public void Note(TracedEvent what, long node, long first = 0, long second = 0)
    {
        Length++;
        Kept?.Add((what, node, first, second));
        Mix((ulong)what);
        Mix((ulong)node);
        Mix((ulong)first);
        Mix((ulong)second);
    }

    private void Mix(ulong value) => Hash = (Hash ^ value) * Prime;
}

/// <summary>What is noted.</summary>
internal enum TracedEvent
{
    Time,
    Start,
    Stop,
    Fault,
    Message,
    Record,
    Apply,
    Ask,
    Answer,
}
