using System.Text;
using KeyVa.Client;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Cluster.Processes;

/// <summary>A node that lacks nearly everything gets it in bounded time: one that comes back behind the log's beginning, and one that joins.</summary>
public sealed class ClusterJoinTests(ITestOutputHelper output)
{
    private const int Large = 1 << 20;
    private const int Small = 100;
    private const int LargeRecords = 120;
    private const int SmallRecords = 300_000;
    private const int SmallInBatch = 5_000;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    private readonly byte[] _pool = new byte[Large + LargeRecords];

    [Fact]
    public async Task WhoIsFarBehindAndWhoIsNewHaveAllBeforeLong()
    {
        new Random(1).NextBytes(_pool);
        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync(settings: ["--memtable", "8MiB", "--journal-segment", "8MiB", "--journal-budget", "64MiB"]);
        NodeProcess leader = await cluster.LeaderAsync();
        NodeProcess behind = cluster.Nodes.First(node => node != leader);
        behind.Kill();
        await FillAsync(leader);

        long begun = TimeProvider.System.GetTimestamp();
        behind.Start();
        await cluster.CaughtUpAsync(Patience);
        output.WriteLine($"the node that was behind has all after {TimeProvider.System.GetElapsedTime(begun).TotalSeconds:F1} s");
        await CheckAsync(behind);

        begun = TimeProvider.System.GetTimestamp();
        NodeProcess joined = cluster.StartAnother();
        leader = await cluster.LeaderAsync();
        await using (RemoteControl control = RemoteControl.Connect(leader.Control, new RemoteOptions { Deadline = Patience, Credentials = NodeProcess.Credentials }))
        {
            ClusterChangeView added = await control.AddNodeAsync(joined.Number, joined.Peer);
            Assert.True(added.IsDone, added.Detail);
        }

        await cluster.CaughtUpAsync(Patience);
        output.WriteLine($"the node that joined has all and votes after {TimeProvider.System.GetElapsedTime(begun).TotalSeconds:F1} s");
        Assert.All(await Task.WhenAll(cluster.Nodes.Select(static node => node.ViewAsync(static _ => true))), static view => Assert.Equal([1, 2, 3, 4], view.Replicas[0].Voters));
        await CheckAsync(joined);
    }

    private static byte[] Key(string kind, int number) => Encoding.ASCII.GetBytes($"{kind}{number:D9}");

    private ReadOnlyMemory<byte> Value(int number, int length) => _pool.AsMemory(number % LargeRecords, length);

    private async Task FillAsync(NodeProcess node)
    {
        await using RemoteStore store = RemoteStore.Connect(node.Data, new RemoteOptions { Deadline = Patience, Credentials = NodeProcess.Credentials });
        for (int i = 0; i < LargeRecords; i++)
        {
            await WriteAsync(() => store.UpsertAsync(Key("large", i), Value(i, Large)));
        }

        for (int i = 0; i < SmallRecords; i += SmallInBatch)
        {
            using WriteBatch batch = new();
            for (int j = i; j < i + SmallInBatch; j++)
            {
                batch.Put(Key("small", j), Value(j, Small).Span);
            }

            await WriteAsync(() => store.WriteAsync(batch));
        }
    }

    /// <summary>Again where another one leads meanwhile: it may be done twice, and comes to the same.</summary>
    private static async Task WriteAsync(Func<ValueTask<WriteResult>> write)
    {
        long begun = TimeProvider.System.GetTimestamp();
        WriteResult written;
        do
        {
            written = await write();
            Assert.True(written.Status is Status.Ok or Status.Unknown or Status.Unavailable && TimeProvider.System.GetElapsedTime(begun) < Patience, $"{written.Status}: {written.Detail}");
        }
        while (!written.IsOk);
    }

    /// <summary>What the node itself holds, whoever leads.</summary>
    private async Task CheckAsync(NodeProcess node)
    {
        await using RemoteStore store = RemoteStore.Connect(node.Data, new RemoteOptions { Deadline = Patience, Credentials = NodeProcess.Credentials });
        for (int i = 0; i < LargeRecords; i++)
        {
            ReadResult read = await store.GetAsync(Key("large", i));
            Assert.True(read.Status == Status.Ok && read.Record.Value.Span.SequenceEqual(Value(i, Large).Span), $"large value {i} is not what was written: {read.Status}");
        }

        for (int i = 0; i < SmallRecords; i += 997)
        {
            ReadResult read = await store.GetAsync(Key("small", i));
            Assert.True(read.Status == Status.Ok && read.Record.Value.Span.SequenceEqual(Value(i, Small).Span), $"small value {i} is not what was written: {read.Status}");
        }
    }
}
