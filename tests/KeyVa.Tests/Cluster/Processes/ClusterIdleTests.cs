using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Cluster.Processes;

/// <summary>Three nodes that nobody asks anything use next to no processor time.</summary>
public sealed class ClusterIdleTests(ITestOutputHelper output)
{
    /// <summary>Of a processor, each node: a server that is alone and idle is not far below.</summary>
    private const double MostShare = 0.03;

    private static readonly TimeSpan Window = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task AnIdleClusterUsesNextToNoProcessorTime()
    {
        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync();
        long begun = TimeProvider.System.GetTimestamp();
        double share;
        do
        {
            Assert.True(TimeProvider.System.GetElapsedTime(begun) < Patience, "the nodes do not come to rest");
            TimeSpan[] before = [.. cluster.Nodes.Select(static node => node.ProcessorTime)];
            long from = TimeProvider.System.GetTimestamp();
            await Pause.ForAsync(Window);
            TimeSpan window = TimeProvider.System.GetElapsedTime(from);
            share = cluster.Nodes.Select((node, i) => (node.ProcessorTime - before[i]) / window).Max();
            output.WriteLine($"the busiest node used {share:P2} of a processor");
        }
        while (share > MostShare);
    }
}
