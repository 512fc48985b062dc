using System.Globalization;
using System.Text;

namespace KeyVa.Bench.Cluster;

/// <summary>
/// Replicated puts and linearizable gets: three nodes of KeyVa beside three of etcd on the same loopback and disk, through each one's gRPC, the same harness for both; and KeyVa's single node beside
/// its cluster. Clients ask the leader. Targets take turns in every round. A cluster that reads by lease can be asked for beside the others (keyva-lease); etcd's gets are by read index, as are those of keyva-cluster.
/// </summary>
internal sealed class ClusterBench(BenchOptions options)
{
    private const string Cluster = "keyva-cluster";
    private const string Lease = "keyva-lease";
    private const string Etcd = "etcd";
    private const string Alone = "keyva-alone";
    private const int Keys = 10_000;
    private const int ValueBytes = 256;
    private const int Warmup = -1;

    private static readonly int[] Clients = [1, 16, 64, 256];

    public Section Run()
    {
        Section section = new("Cluster", askedRatio: 2.0);
        string[] names = options.Targets is null ? [Cluster, Etcd, Alone] : [.. options.Targets];
        foreach (string name in names)
        {
            section.Targets.Add((name, name switch
            {
                Cluster => "three nodes of KeyVa, lsm engine, durability always",
                Lease => "three nodes of KeyVa as before with lease-reads on: gets do not ask the followers",
                Etcd => "three nodes of etcd, its defaults",
                Alone => "one node of KeyVa without a cluster, lsm engine, durability always",
                _ => throw new UsageException($"no replicated store is called '{name}'"),
            }));
        }

        section.Conditions.Add(("put, get", $"unary gRPC to the leader for {options.FrontSeconds:0.#} s, c1 to c256: so many clients with one request under way each, 64 on a connection; {Keys:N0} keys, values of {ValueBytes} bytes; gets are linearizable"));
        section.Note("Servers and load generator share the machine's processors and disk. One unmeasured round comes before the first. Asked for: puts 2.0 of etcd's (1.2 with one client), gets 2.0, p99 at most etcd's.");
        using DataFolder folder = new(options.Data, "cluster");
        List<(string Name, ReplicatedTarget Target)> targets = [];
        try
        {
            foreach (string name in names)
            {
                string place = Path.Combine(folder.Path, name);
                Directory.CreateDirectory(place);
                targets.Add((name, name == Etcd ? new EtcdNodes(place) : new KeyVaNodes(place, name == Alone ? 1 : 3, name == Lease ? ["--lease-reads", "true"] : [])));
            }

            MeasureAsync(section, targets).GetAwaiter().GetResult();
        }
        finally
        {
            targets.ForEach(static one => one.Target.Dispose());
        }

        AddComparison(section);
        return section;
    }

    private async Task MeasureAsync(Section section, List<(string Name, ReplicatedTarget Target)> targets)
    {
        byte[][] keys = [.. Enumerable.Range(0, Keys).Select(static i => Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"k{i:D15}")))];
        byte[] pool = Values.NewPool(ValueBytes, seed: 301);
        byte[] value = pool[..ValueBytes];
        IReadOnlyList<string> workloads = options.Workloads ?? ["put", "get"];
        for (int round = Warmup; round < options.Rounds; round++)
        {
            foreach (int clients in Clients)
            {
                foreach (string workload in workloads)
                {
                    foreach ((string name, ReplicatedTarget target) in targets)
                    {
                        await target.FindLeaderAsync();
                        bool isPut = workload == "put";
                        byte[][] frames = [.. keys.Select(key => isPut ? target.PutFrame(key, value) : target.GetFrame(key))];
                        using UnaryLoad load = new(clients);
                        if (round == Warmup && clients == Clients[0])
                        {
                            await FillAsync(target, keys, value);
                        }

                        double seconds = round == Warmup ? Math.Min(2, options.FrontSeconds) : options.FrontSeconds;
                        Sample sample = await load.RunAsync(new Uri(target.Leader, isPut ? target.PutPath : target.GetPath), frames, isPut ? 1 : ValueBytes, seconds);
                        if (load.Failures.Count > 0)
                        {
                            section.Note($"{name}, {workload} c{clients}: {load.Failures.Count} requests were refused, the last with gRPC status {load.Failures.Last}; they are not counted.");
                        }

                        if (round != Warmup)
                        {
                            section.Add($"{workload} c{clients}", threads: 1, name, sample);
                        }
                    }
                }
            }
        }
    }

    /// <summary>Every key once, so that each get finds a value.</summary>
    private static async Task FillAsync(ReplicatedTarget target, byte[][] keys, byte[] value)
    {
        using UnaryLoad load = new(64);
        Uri uri = new(target.Leader, target.PutPath);
        await Parallel.ForEachAsync(keys, new ParallelOptions { MaxDegreeOfParallelism = 64 }, async (key, _) =>
        {
            (byte[]? answer, string status) = await load.CallAsync(uri, target.PutFrame(key, value));
            if (answer is null)
            {
                throw new InvalidOperationException($"a put of the fill ended with gRPC status {status}");
            }
        });
    }

    private static void AddComparison(Section section)
    {
        Table table = new("Beside etcd, and beside one node", ["workload", "puts or gets per second by etcd's", "p99 by etcd's", "by one node's"]);
        foreach (Cell cell in section.Cells.Where(static cell => cell.Target == Cluster))
        {
            Cell? etcd = section.Find(cell.Workload, cell.Threads, Etcd);
            Cell? alone = section.Find(cell.Workload, cell.Threads, Alone);
            table.Add(
                cell.Workload,
                etcd is null ? null : cell.Median.PerSecond / etcd.Median.PerSecond,
                etcd is null ? null : cell.Median.P99 / etcd.Median.P99,
                alone is null ? null : cell.Median.PerSecond / alone.Median.PerSecond);
        }

        section.Tables.Add(table);
    }
}
