namespace KeyVa.Simulation.Cluster;

/// <summary>Waits for a node's answer.</summary>
internal interface INodeCaller
{
    /// <summary>The node that has the operation is gone.</summary>
    void NodeDied();
}
