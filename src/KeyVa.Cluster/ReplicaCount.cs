using KeyVa.Cluster.Driver;

namespace KeyVa.Cluster;

/// <summary>A caller that waits until so many replicas have its write.</summary>
internal sealed class ReplicaCount : TaskCompletionSource<int>, ICountWaiter
{
    public ReplicaCount()
        : base(TaskCreationOptions.RunContinuationsAsynchronously)
    {
    }

    public void Complete(byte others) => TrySetResult(others);
}
