using System.Globalization;
using System.Text;
using KeyVa.Client;
using Xunit;

namespace KeyVa.Tests.Cluster.Processes;

/// <summary>Three processes with two partitions, whose nodes are killed while they commit over both.</summary>
public sealed class ClusterPartitionTests
{
    private const int Batches = 60;

    private static readonly ReadOnlyMemory<byte>[] Keys = ["a"u8.ToArray(), "z"u8.ToArray()];

    [Fact]
    public async Task AKilledCoordinatorLeavesNothingInDoubt()
    {
        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync(settings: ["--split-at", "m"]);
        int number = 0;
        foreach (NodeProcess victim in cluster.Nodes)
        {
            int acknowledged = 0;
            int first = number;
            await using (RemoteStore coordinator = Connect(victim))
            {
                using WriteBatch batch = Batch(++number);
                WriteResult begun = await coordinator.WriteAsync(batch);
                Assert.True(begun.IsOk, $"node {victim.Number} does not commit over both partitions: {begun.Status}, {begun.Detail}");
                var committed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                Task killing = Task.Run(async () =>
                {
                    await committed.Task;
                    victim.Kill();
                });
                while (number < first + Batches && victim.IsRunning)
                {
                    int sent = ++number;
                    if (await WriteAsync(coordinator, sent) == Status.Ok)
                    {
                        acknowledged = sent;
                    }

                    if (sent > first + 10)
                    {
                        committed.TrySetResult();
                    }
                }

                committed.TrySetResult();
                await killing;
            }

            // Those that are left end what it has left, and both partitions take writes again.
            foreach (NodeProcess other in cluster.Nodes.Where(node => node != victim))
            {
                await using RemoteStore store = Connect(other);
                MultiReadResult read = await ReadAsync(store);
                Assert.True(read.Records.All(static record => record is not null), $"node {other.Number} has lost a key: {string.Join(", ", read.Records.Select(static record => record?.Version.ToString(CultureInfo.InvariantCulture) ?? "none"))}, {acknowledged} of {number} was acknowledged");
                int[] values = [.. read.Records.Select(static record => int.Parse(record!.Value.Value.Span, CultureInfo.InvariantCulture))];
                Assert.Equal(values[0], values[1]);
                Assert.InRange(values[0], Math.Max(acknowledged, first), number);
                Assert.Equal(read.Records[0]!.Value.Version, read.Records[1]!.Value.Version);
            }

            await using (RemoteStore store = Connect(cluster.Nodes.First(node => node != victim)))
            {
                while (await WriteAsync(store, ++number) != Status.Ok)
                {
                    Assert.True(number < (first + Batches) * 10, "the partitions take no writes any more");
                }
            }

            victim.Start();
        }
    }

    private static RemoteStore Connect(NodeProcess node) => RemoteStore.Connect(node.Data, new RemoteOptions { Credentials = NodeProcess.Credentials });

    private static WriteBatch Batch(int number)
    {
        byte[] value = Encoding.ASCII.GetBytes(number.ToString(CultureInfo.InvariantCulture));
        var batch = new WriteBatch();
        foreach (ReadOnlyMemory<byte> key in Keys)
        {
            batch.Put(key.Span, value);
        }

        return batch;
    }

    private static async Task<Status> WriteAsync(RemoteStore store, int number)
    {
        using WriteBatch batch = Batch(number);
        try
        {
            return (await store.WriteAsync(batch)).Status;
        }
        catch (ServerUnreachableException)
        {
            // The node was killed meanwhile: it may be done, or not.
            return Status.Unknown;
        }
    }

    private static async Task<MultiReadResult> ReadAsync(RemoteStore store)
    {
        while (true)
        {
            MultiReadResult read = await store.GetAsync(Keys);
            if (read.Status == Status.Ok)
            {
                return read;
            }

            // Nobody leads for a moment.
            Assert.Equal(Status.Unavailable, read.Status);
        }
    }
}
