using KeyVa.Raft;
using KeyVa.Simulation.Raft;

namespace KeyVa.Simulation.Cluster;

/// <summary>What must always hold, looked at with every step of every node.</summary>
internal sealed class ClusterChecker
{
    private readonly Dictionary<long, long> _leaders = [];
    private readonly Dictionary<(long Partition, long Index), (long Term, EntryKind Kind, ulong Hash)> _applied = [];

    public int Elections => _leaders.Count;

    public long Applications { get; private set; }

    public int Entries => _applied.Count;

    /// <summary>Election safety: a term has one leader.</summary>
    public void Leads(long node, long term)
    {
        if (_leaders.TryAdd(term, node))
        {
            return;
        }

        if (_leaders[term] != node)
        {
            throw new SafetyViolationException($"election safety: nodes {_leaders[term]} and {node} both lead in term {term}");
        }
    }

    /// <summary>State machine safety: what one node applies at an index, every node does, each life of it anew.</summary>
    public void Applies(long node, long partition, in Entry entry)
    {
        Applications++;
        (long, EntryKind, ulong) what = (entry.Term, entry.Kind, Partitions.XxHash64.Compute(entry.Data.Span));
        if (!_applied.TryAdd((partition, entry.Index), what) && _applied[(partition, entry.Index)] != what)
        {
            throw new SafetyViolationException($"state machine safety: node {node} applies another entry of term {entry.Term} at index {entry.Index} than was applied there in term {_applied[(partition, entry.Index)].Term}");
        }
    }
}
