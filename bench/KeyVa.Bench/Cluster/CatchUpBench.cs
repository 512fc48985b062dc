using System.Diagnostics;
using System.Globalization;
using System.Text;
using KeyVa.Partitions;

namespace KeyVa.Bench.Cluster;

/// <summary>
/// How fast a node gets what it lacks: a follower that was killed while others wrote, from its log or as a snapshot, and an empty node that joins; beside a copy of as many bytes
/// over a socket in the same run. Three nodes (and the one that joins) as processes of their own on loopback.
/// </summary>
internal sealed class CatchUpBench(BenchOptions options)
{
    private const double AskedRatio = 0.5;
    private const int BatchBytes = 64 << 10;
    private const int KeyBytes = 16;
    private const int Writers = 16;
    private const long RestartedShare = 40;
    private const long JoinedShare = 10;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(10);

    // Nothing that compression could take away.
    private readonly byte[] _pool = RandomBytes(16 << 20);

    private enum Lack
    {
        /// <summary>The leader still has in memory what is missing.</summary>
        Log,

        /// <summary>It has not.</summary>
        Snapshot,

        /// <summary>Everything is missing.</summary>
        Join,
    }

    /// <summary>The measured section, and whether the ratios were kept.</summary>
    public (Section Section, bool Passed) Run() => RunAsync().GetAwaiter().GetResult();

    private async Task<(Section Section, bool Passed)> RunAsync()
    {
        Section section = new("Catching up", askedRatio: 0);
        section.Conditions.Add(("log", "a follower is killed, the bytes are written, it is started again: from the start of its process until it has applied what the leader had committed then; memtables of 1 GiB, so the leader's log still has all"));
        section.Conditions.Add(("snapshot", "the same with memtables as by default: most of it is in the leader's files and no more in its log"));
        section.Conditions.Add(("join", "an empty node that runs is added to a cluster that holds the bytes: from add-node until it has applied what the leader had committed then"));
        section.Conditions.Add(("copy", $"as many bytes: {SocketCopy.Settings}, files of {SocketCopy.FileBytes >> 20} MiB"));
        section.Note("a case whose data came another way than its name says is not kept: more bytes are needed (--open-bytes)");
        section.Note(string.Create(CultureInfo.InvariantCulture,
            $"bytes are keys and values, which cannot be compressed; written in batches of {BatchBytes >> 10} KiB by {Writers} clients; measured once the nodes are at rest and the disk is synced. Asked for: at least {AskedRatio} of the copy"));
        Table table = new("A node that lacks data", ["case", "value, bytes", "MB", "came as", "seconds", "until it serves, s", "MB/s", "copy, MB/s", "ratio", "asked", "kept"]);
        bool passed = true;
        foreach ((Lack lack, int valueBytes) in ((Lack, int)[])[(Lack.Log, 256), (Lack.Log, 4096), (Lack.Snapshot, 256), (Lack.Snapshot, 4096), (Lack.Join, 4096)])
        {
            string name = lack.ToString().ToLowerInvariant();
            if (options.Workloads?.Contains(name) ?? true)
            {
                passed &= await MeasureAsync(table, name, lack, valueBytes);
            }
        }

        section.Tables.Add(table);
        return (section, passed);
    }

    private async Task<bool> MeasureAsync(Table table, string name, Lack lack, int valueBytes)
    {
        long bytes = options.OpenBytes / (lack == Lack.Join ? JoinedShare : RestartedShare);
        using DataFolder folder = new(options.Data, "catch-up");
        (string cameAs, double seconds, double serves) = await CatchUpAsync(folder.Path, lack, valueBytes, bytes);
        using DataFolder copied = new(options.Data, "catch-up-copy");
        Sample copy = SocketCopy.Run(SocketCopy.Make(copied.Path, Math.Max(1, bytes / SocketCopy.FileBytes)), Path.Combine(copied.Path, "arrived"));
        double rate = bytes / seconds / 1e6;
        double copyRate = copy.PerSecond * (1 << 20) / 1e6;
        bool kept = rate / copyRate >= AskedRatio && cameAs == (lack == Lack.Log ? "log" : "snapshot");
        table.Add(name, (long)valueBytes, bytes / 1_000_000, cameAs, seconds, serves, rate, copyRate, rate / copyRate, AskedRatio, kept ? "yes" : "NO");
        Console.Error.WriteLine($"{DateTime.Now:HH:mm:ss}  {name,-9} {valueBytes} bytes: {cameAs}, {seconds:0.00} s ({serves:0.00} until it serves), {rate:0} MB/s, copy {copyRate:0} MB/s, ratio {rate / copyRate:0.00}");
        return kept;
    }

    private async Task<(string CameAs, double Seconds, double Serves)> CatchUpAsync(string folder, Lack lack, int valueBytes, long bytes)
    {
        using KeyVaNodes nodes = new(folder, 3, lack == Lack.Log ? ["--memtable", "1GiB", "--journal-budget", "8GiB"] : []);
        int leader = await nodes.SettleAsync();
        int late = lack == Lack.Join ? -1 : nodes.Running.First(node => node != leader);
        if (lack != Lack.Join)
        {
            nodes.Kill(late);
        }

        long records = bytes / (KeyBytes + valueBytes);
        await WriteAsync(nodes, records, valueBytes);
        leader = await nodes.SettleAsync();
        await RestAsync(nodes);
        using UnaryLoad calls = new(clients: 1);
        if (lack == Lack.Join)
        {
            late = nodes.StartEmpty();
        }

        long wanted = (await nodes.ProgressOfAsync(calls, leader))!.Value.Commit;
        string incoming = PartitionFolders.Incoming(nodes.FolderOf(late), 1);
        using CancellationTokenSource isDone = new();
        Task<bool> snapshotSeen = WatchAsync(incoming, isDone.Token);
        long begun = Stopwatch.GetTimestamp();
        Task added = Task.CompletedTask;
        double serves = 0;
        if (lack == Lack.Join)
        {
            added = nodes.AddMemberAsync(calls, leader, late);
        }
        else
        {
            nodes.Start(late);
            serves = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        }

        while (await nodes.ProgressOfAsync(calls, late) is not { } one || one.Applied < wanted)
        {
            if (added.IsFaulted)
            {
                await added;
            }

            if (Stopwatch.GetElapsedTime(begun) > Patience)
            {
                throw new InvalidOperationException($"the node had not caught up after {Patience.TotalMinutes} minutes: index {(await nodes.ProgressOfAsync(calls, late))?.Applied} of {wanted}");
            }

            await Task.Delay(Poll);
        }

        double seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        await isDone.CancelAsync();
        await added;
        (byte[]? last, string status) = await calls.CallAsync(new Uri(nodes.DataOf(late), nodes.GetPath), nodes.GetFrame(KeyOf(records - 1)));
        return last?.Length >= valueBytes ? (await snapshotSeen ? "snapshot" : "log", seconds, serves) : throw new InvalidOperationException($"the last record is not there: gRPC status {status}");
    }

    /// <summary>Whether a snapshot's folder was seen meanwhile.</summary>
    private static async Task<bool> WatchAsync(string folder, CancellationToken until)
    {
        bool seen = false;
        while (!seen && !until.IsCancellationRequested)
        {
            seen = Directory.Exists(folder);
            await Task.Delay(Poll, CancellationToken.None);
        }

        return seen;
    }

    /// <summary>Waits until nothing is compacted any more, and all is on disk.</summary>
    private static async Task RestAsync(KeyVaNodes nodes)
    {
        TimeSpan look = TimeSpan.FromSeconds(1);
        const double restingShare = 0.1;
        TimeSpan before;
        do
        {
            before = nodes.ProcessorTime;
            await Task.Delay(look);
        }
        while (nodes.ProcessorTime - before > look * restingShare);
        Native.SyncDisks();
    }

    private static byte[] RandomBytes(int count)
    {
        byte[] bytes = new byte[count];
        new Random(1).NextBytes(bytes);
        return bytes;
    }

    private static byte[] KeyOf(long record) => Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"k{record:D15}"));

    private async Task WriteAsync(KeyVaNodes nodes, long records, int valueBytes)
    {
        long batch = Math.Max(1, BatchBytes / (KeyBytes + valueBytes));
        long next = 0;
        await Task.WhenAll(Enumerable.Range(0, Writers).Select(_ => Task.Run(async () =>
        {
            using UnaryLoad calls = new(clients: 1);
            Uri uri = new(nodes.Leader, nodes.PutPath);
            while (Interlocked.Add(ref next, batch) - batch is var first && first < records)
            {
                (byte[]? answer, string status) = await calls.CallAsync(uri, Batch(first, Math.Min(records, first + batch), valueBytes));
                if (answer is null)
                {
                    throw new InvalidOperationException($"a batch of the fill ended with gRPC status {status}");
                }
            }
        })));
    }

    private byte[] Batch(long first, long end, int valueBytes)
    {
        List<byte> puts = [];
        for (long record = first; record < end; record++)
        {
            int at = (int)((ulong)record * 0x9e3779b97f4a7c15 % (ulong)(_pool.Length - valueBytes));
            puts.AddRange(KeyVaNodes.Put(KeyOf(record), _pool.AsSpan(at, valueBytes)));
        }

        return UnaryLoad.Frame([.. puts]);
    }
}
