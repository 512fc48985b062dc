using System.Diagnostics;
using System.Globalization;
using System.Text;
using KeyVa.Client;
using Xunit;

namespace KeyVa.Tests.Cluster.Processes;

/// <summary>Three processes with two partitions, whose nodes are killed while they commit over both.</summary>
public sealed class ClusterPartitionTests
{
    private const int Batches = 60;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private static readonly ReadOnlyMemory<byte>[] Keys = ["a"u8.ToArray(), "z"u8.ToArray()];

    [Fact]
    public async Task AKilledCoordinatorLeavesNothingInDoubt()
    {
        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync(settings: ["--split-at", "m"]);
        int number = 0;
        foreach (NodeProcess victim in cluster.Nodes)
        {
            int acknowledged, first;
            await using (RemoteStore coordinator = Connect(victim))
            {
                first = acknowledged = number = await UntilWrittenAsync(coordinator, number);
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
                Assert.InRange(values[0], acknowledged, number);
                Assert.Equal(read.Records[0]!.Value.Version, read.Records[1]!.Value.Version);
            }

            await using (RemoteStore store = Connect(cluster.Nodes.First(node => node != victim)))
            {
                number = await UntilWrittenAsync(store, number);
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

    /// <summary>Writes one number after the other until one is taken, which is returned: for a moment nobody may lead.</summary>
    private static async Task<int> UntilWrittenAsync(RemoteStore store, int number)
    {
        long begun = Stopwatch.GetTimestamp();
        Status status;
        while ((status = await WriteAsync(store, ++number)) != Status.Ok)
        {
            Assert.True(Stopwatch.GetElapsedTime(begun) < Patience, $"both partitions have taken no write for {Patience.TotalSeconds:N0} s, the last one was {status}");
        }

        return number;
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
