using KeyVa.Cluster.Driver;

namespace KeyVa.Cluster;

/// <summary>A caller that waits until its reads may begin.</summary>
internal sealed class ReadConfirmation : TaskCompletionSource<Status>, IReadWaiter
{
    public ReadConfirmation()
        : base(TaskCreationOptions.RunContinuationsAsynchronously)
    {
    }

    public void Complete(Status status) => TrySetResult(status);
}
