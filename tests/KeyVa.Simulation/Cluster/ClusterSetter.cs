using KeyVa.Partitions;
using KeyVa.Simulation.Raft;

namespace KeyVa.Simulation.Cluster;

/// <summary>
/// Who changes the partitions' own settings, at any node, whatever happens: no two changes of a partition ask for the same, so that it can be said of what is set in the end who asked
/// for it. A change that was answered counts on the node that answers, at once, and is never undone but by another.
/// </summary>
internal sealed class ClusterSetter(ClusterSimulation world, Random random) : INodeCaller
{
    private const int MostPause = 500;

    // By partition: how many were asked for, and what may be set: what was acknowledged last, and all that nobody knows of, which may be done yet.
    private readonly Dictionary<long, int> _asked = [];
    private readonly Dictionary<long, string> _acknowledged = [];
    private readonly Dictionary<long, HashSet<string>> _uncertain = [];

    private SimulatedNode? _node;
    private long _operation;
    private long _partition;
    private string _value = "";

    public bool IsStopped { get; set; }

    /// <summary>Changes that were acknowledged.</summary>
    public int Changed { get; private set; }

    public void Begin() => world.Events.After(1 + random.Next(MostPause), Next);

    public void NodeDied()
    {
        _node = null;
        End(Status.Unknown);
    }

    /// <summary>What a partition has in the end, on a node, somebody asked for, and nobody else behind it with success.</summary>
    public void Check(SimulatedNode node, long partition)
    {
        string found = node.PartitionOf(partition).Engine.Settings.Current.ToString();
        string expected = _acknowledged.GetValueOrDefault(partition, "");
        if (found != expected && !_uncertain.GetValueOrDefault(partition, []).Contains(found))
        {
            throw new SafetyViolationException($"settings: partition {partition} of node {node.Id} has '{found}', and '{expected}' was acknowledged last");
        }
    }

    private void Next()
    {
        if (IsStopped)
        {
            return;
        }

        if (world.AnyNode() is not { IsUp: true, IsDoomed: false } node || (!world.IsHealed && world.Plan.IsLull(world.Events.Now)))
        {
            Begin();
            return;
        }

        _partition = 1 + random.Next(world.Checkers.Count);
        int number = _asked[_partition] = _asked.GetValueOrDefault(_partition) + 1;

        // More replicas than any group has: what is not asked for here is nobody's.
        _value = $"semi-sync={number}";
        if (number > Acknowledgement.MaxReplicas)
        {
            IsStopped = true;
            return;
        }

        _node = node;
        node.Await(this);
        long operation = ++_operation;
        node.Run(() => node.Submit(new SettingChange(PartitionSettings.AcknowledgementName, _value, result => Answer(node, operation, result)), _partition));
    }

    private void Answer(SimulatedNode node, long operation, WriteResult result)
    {
        if (_operation != operation || _node != node || node.IsDoomed)
        {
            return;
        }

        if (result.IsOk && node.PartitionOf(_partition).Engine.Settings.Current.Acknowledgement.ToString() != _value)
        {
            throw new SafetyViolationException($"settings: node {node.Id} has answered that partition {_partition} has {_value} now, and it has '{node.PartitionOf(_partition).Engine.Settings.Current}'");
        }

        End(result.Status);
    }

    private void End(Status status)
    {
        string set = $"{PartitionSettings.AcknowledgementName}={_value}";
        if (status == Status.Ok)
        {
            Changed++;
            _acknowledged[_partition] = set;
        }
        else if (status == Status.Unknown)
        {
            (_uncertain.TryGetValue(_partition, out HashSet<string>? some) ? some : _uncertain[_partition] = []).Add(set);
        }

        _operation++;
        _node?.Leave(this);
        _node = null;
        Begin();
    }
}
