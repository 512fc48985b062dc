using System.Diagnostics;
using KeyVa.Bench.Front;
using KeyVa.Cluster;

namespace KeyVa.Bench.Cluster;

/// <summary>
/// The replicated log without a front door: three nodes in this process over the real transport, small puts through the store's own calls on the leader, each answered when a
/// majority has it on disk and the leader has applied it.
/// </summary>
internal sealed class ReplicatedLogBench(BenchOptions options)
{
    private const int ValueBytes = 256;
    private const int Keys = 10_000;
    private const int Nodes = 3;

    /// <summary>Proposers, and the puts per second that are to be passed: what another Raft of .NET reached on such a machine.</summary>
    private static readonly (int Proposers, double Asked)[] Runs = [(1, 2_000), (64, 25_000)];

    /// <summary>The measured section, and whether the rates were kept.</summary>
    public (Section Section, bool Passed) Run() => RunAsync().GetAwaiter().GetResult();

    private async Task<(Section Section, bool Passed)> RunAsync()
    {
        Section section = new("The replicated log", askedRatio: 0);
        section.Conditions.Add(("puts", $"of {ValueBytes} bytes over {Keys:N0} keys by UpsertAsync on the leader for {options.FrontSeconds:0.#} s, each proposer one at a time; lsm engine, durability always, three nodes in one process over loopback"));
        section.Note("An entry of the log holds what was queued when it was proposed, so there are fewer entries than puts. Asked for: ahead of what dotNext's Raft reached on such a machine, flushing on commit.");
        using DataFolder folder = new(options.Data, "replicated-log");
        List<ClusterNode> nodes = Open(folder.Path);
        Table table = new("Puts through the leader's store", ["proposers", "puts/s", "least", "most", "p50, µs", "p99, µs", "puts of an entry", "asked, puts/s", "kept"]);
        bool passed = true;
        try
        {
            foreach ((int proposers, double asked) in Runs)
            {
                List<(Sample Sample, double Group)> rounds = [];
                for (int round = -1; round < options.Rounds; round++)
                {
                    // The first one warms up.
                    ClusterNode leader = await LeaderAsync(nodes);
                    (Sample Sample, double Group) one = await ProposeAsync(leader, proposers, round < 0 ? Math.Min(2, options.FrontSeconds) : options.FrontSeconds);
                    if (round >= 0)
                    {
                        rounds.Add(one);
                    }
                }

                (Sample median, double group) = rounds.OrderBy(static one => one.Sample.PerSecond).ElementAt((rounds.Count - 1) / 2);
                bool kept = median.PerSecond > asked;
                passed &= kept;
                table.Add(
                    (long)proposers, (long)median.PerSecond, (long)rounds.Min(static one => one.Sample.PerSecond), (long)rounds.Max(static one => one.Sample.PerSecond),
                    median.P50, median.P99, group, (long)asked, kept ? "yes" : "NO");
            }
        }
        finally
        {
            foreach (ClusterNode node in nodes)
            {
                await node.DisposeAsync();
            }
        }

        section.Tables.Add(table);
        return (section, passed);
    }

    private List<ClusterNode> Open(string folder)
    {
        int[] ports = [.. Enumerable.Range(0, Nodes).Select(static _ => ServerProcess.FreePort())];
        return [.. Enumerable.Range(0, Nodes).Select(i => ClusterNode.Open(
            Path.Combine(folder, $"node{i + 1}"),
            new StoreOptions { Durability = KeyVa.Durability.Always, BlockCacheBytes = options.BlockCacheBytes, MemtableBytes = options.MemtableBytes },
            new ClusterOptions
            {
                Name = "bench",
                Node = i + 1,
                Peers = ports.Select(static (port, at) => (Node: at + 1L, Peer: new ClusterPeer("127.0.0.1", port))).ToDictionary(static one => one.Node, static one => one.Peer),
            }))];
    }

    private static async Task<ClusterNode> LeaderAsync(List<ClusterNode> nodes)
    {
        while (true)
        {
            if (await nodes[0].ConfirmReadsAsync() == Status.Ok && (await nodes[0].GetStatusAsync())[0].Leader is > 0 and long leader)
            {
                return nodes[(int)leader - 1];
            }
        }
    }

    private async Task<(Sample Sample, double Group)> ProposeAsync(ClusterNode leader, int proposers, double seconds)
    {
        byte[] pool = Values.NewPool(ValueBytes, options.Seed);
        long firstEntry = (await leader.GetStatusAsync())[0].LastIndex;
        long begun = Stopwatch.GetTimestamp();
        long end = begun + (long)(seconds * Stopwatch.Frequency);
        Histogram[] latencies = await Task.WhenAll(Enumerable.Range(0, proposers).Select(i => Task.Run(() => ProposeUntilAsync(leader.Store, i, pool, end))));
        double elapsed = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        long entries = (await leader.GetStatusAsync())[0].LastIndex - firstEntry;
        Histogram latency = new();
        Array.ForEach(latencies, latency.Merge);
        return (new Sample { Operations = latency.Count, Seconds = elapsed, P50 = latency.Microseconds(0.50), P99 = latency.Microseconds(0.99) }, latency.Count / (double)entries);
    }

    private static async Task<Histogram> ProposeUntilAsync(Store store, int proposer, byte[] pool, long end)
    {
        Histogram latency = new();
        byte[] key = Bench.Keys.NewBuffer(16);
        ulong at = (ulong)proposer * 7919;
        for (long begun = Stopwatch.GetTimestamp(); begun < end;)
        {
            at += 1 + ((ulong)proposer % 31);
            Bench.Keys.Write(key, at % Keys);
            WriteResult result = await store.UpsertAsync(key, pool.AsMemory(0, ValueBytes));
            if (!result.IsOk)
            {
                throw new InvalidOperationException($"a put ended as {result.Status}");
            }

            long now = Stopwatch.GetTimestamp();
            latency.Add(now - begun);
            begun = now;
        }

        return latency;
    }
}
