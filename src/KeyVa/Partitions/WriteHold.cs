using System.Diagnostics;

namespace KeyVa.Partitions;

/// <summary>
/// Has the asynchronous writes that one thread hands to partitions wait for each other, so that all that one turn of a loop brings is one group, with one
/// sync: between <see cref="Begin"/> and <see cref="Release"/> they are queued, and nobody is asked to lead them.
/// </summary>
/// <remarks>
/// <para>Where each group is synced the plain way syncs the first write alone, while all the others queue up behind it; and a group that the journal's
/// sync thread leads costs that thread's wake-up, and one of each caller. Here the thread itself leads the group, if syncs are short.</para>
/// <para>One thread's own. Invariants.
/// 1. It holds up only what nobody was asked to lead: whoever takes the writer's role meanwhile serves what is queued here as well.
/// 2. The thread waits for none of these writes before it has called <see cref="Release"/>.
/// 3. Where nothing is synced, and where the log is replicated, nothing is held.</para>
/// </remarks>
internal sealed class WriteHold
{
    [ThreadStatic]
    private static WriteHold? _current;

    private readonly List<PartitionWriter> _writers = [];

    /// <summary>The one that this thread's writes are held by; null: they are not.</summary>
    public static WriteHold? Current => _current;

    /// <summary>Whether writes wait for <see cref="Release"/>.</summary>
    public bool HasWrites => _writers.Count > 0;

    /// <summary>When the first of them came, a timestamp of <see cref="Stopwatch"/>.</summary>
    public long Since { get; private set; }

    /// <summary>From here on this thread's writes are held.</summary>
    public void Begin()
    {
        Debug.Assert(_current is null, "a thread holds its writes once");
        _current = this;
    }

    /// <summary>A request is queued at a writer, which is to be asked to lead later.</summary>
    public void Add(PartitionWriter writer)
    {
        if (_writers.Count == 0)
        {
            Since = Stopwatch.GetTimestamp();
        }
        else if (_writers.Contains(writer))
        {
            return;
        }

        _writers.Add(writer);
    }

    /// <summary>Has all that was held written. What is short is done when this returns, on this thread.</summary>
    public void Release()
    {
        _current = null;
        foreach (PartitionWriter writer in _writers)
        {
            writer.LeadHeld();
        }

        _writers.Clear();
    }
}
