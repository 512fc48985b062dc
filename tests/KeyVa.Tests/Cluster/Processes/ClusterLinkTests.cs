using System.Diagnostics;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Tests.Cluster.Processes;

/// <summary>
/// As <see cref="ClusterFaultTests"/>, with each node in a network namespace of its own, so that links between nodes can be cut, also one way, while clients reach all of them; with keys, since this is no
/// loopback. The script makes the namespaces (it needs root, or the right to use them), runs this test again inside, and takes them away.
/// </summary>
public sealed class ClusterLinkTests(ITestOutputHelper output)
{
    private static readonly TimeSpan SoonEnough = 5 * ClusterOfProcesses.ElectionTimeout;

    [Fact]
    public async Task CutLinksLoseNothing()
    {
        if (ClusterOfProcesses.Namespaces is null)
        {
            RunInNamespaces();
            return;
        }

        await using ClusterOfProcesses cluster = await ClusterOfProcesses.StartAsync();
        await using ClusterLoad load = new(cluster, seed: 3);
        await load.ServedAgainAsync();

        NodeProcess leader = await cluster.LeaderAsync();
        NodeProcess[] others = [.. cluster.Nodes.Where(node => node != leader)];
        await During("leader cut off", load, () => Array.ForEach(others, other => Cut(leader, other, bothWays: true)));

        leader = await cluster.LeaderAsync();
        others = [.. cluster.Nodes.Where(node => node != leader)];
        // It hears nobody, and is heard: it must give up by itself.
        await During("leader deaf", load, () => Array.ForEach(others, other => Cut(leader, other, bothWays: false)));

        leader = await cluster.LeaderAsync();
        others = [.. cluster.Nodes.Where(node => node != leader)];
        await During("leader dumb", load, () => Array.ForEach(others, other => Cut(other, leader, bothWays: false)));

        leader = await cluster.LeaderAsync();
        others = [.. cluster.Nodes.Where(node => node != leader)];
        await During("followers cut from each other", load, () => Cut(others[0], others[1], bothWays: true));
        await During("one follower cut from the leader", load, () => Cut(others[0], leader, bothWays: true));

        for (int i = 0; i < 5; i++)
        {
            Cut(others[0], leader, bothWays: true);
            await Pause.ForAsync(TimeSpan.FromMilliseconds(300));
            Heal();
            await Pause.ForAsync(TimeSpan.FromMilliseconds(300));
        }

        Report("a link that flaps", await load.ServedAgainAsync());
        await cluster.CaughtUpAsync();
        await load.CheckAsync();
        output.WriteLine($"{load.Acknowledged} keys acknowledged");
    }

    private async Task During(string fault, ClusterLoad load, Action cut)
    {
        cut();
        Report(fault, await load.ServedAgainAsync());
        // Longer than elections and heartbeats take.
        await Pause.ForAsync(3 * ClusterOfProcesses.ElectionTimeout);
        Heal();
        Report($"{fault}, healed", await load.ServedAgainAsync());
    }

    private void Report(string fault, TimeSpan served)
    {
        output.WriteLine($"{fault}: served again after {served.TotalMilliseconds:N0} ms");
        Console.WriteLine($"{fault}: served again after {served.TotalMilliseconds:N0} ms");
        Assert.True(served < SoonEnough, $"{fault}: served again after {served.TotalMilliseconds:N0} ms only");
    }

    /// <summary>What comes from a node no longer reaches another.</summary>
    private static void Cut(NodeProcess at, NodeProcess from, bool bothWays)
    {
        Run("ip", "netns", "exec", $"{ClusterOfProcesses.Namespaces}{at.Number}", "iptables", "-A", "INPUT", "-s", $"10.199.0.{from.Number}", "-j", "DROP");
        if (bothWays)
        {
            Cut(from, at, bothWays: false);
        }
    }

    private static void Heal()
    {
        for (int node = 1; node <= 3; node++)
        {
            Run("ip", "netns", "exec", $"{ClusterOfProcesses.Namespaces}{node}", "iptables", "-F", "INPUT");
        }
    }

    private static void Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string text = process.StandardOutput.ReadToEnd() + error.GetAwaiter().GetResult();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}: {text}");
    }

    private static void RunInNamespaces()
    {
        string script = Path.Combine(House.Repository.Root, "tests", "cluster", "namespaces.sh");
        string dotnet = Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? Environment.ProcessPath!;
        Run(script, dotnet, "vstest", typeof(ClusterLinkTests).Assembly.Location, $"--TestCaseFilter:FullyQualifiedName~{nameof(ClusterLinkTests)}");
    }
}
