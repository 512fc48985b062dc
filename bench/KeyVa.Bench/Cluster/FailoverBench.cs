using System.Diagnostics;
using System.Globalization;

namespace KeyVa.Bench.Cluster;

/// <summary>
/// How long writes are not served after the leader of three nodes has died (SIGKILL) or stands still (SIGSTOP): from the signal until both others have answered a put that was
/// sent after it.
/// </summary>
internal sealed class FailoverBench(BenchOptions options)
{
    private const int Deaths = 10;
    private const double AskedTimeouts = 2.0;

    private static readonly byte[] Key = "failover"u8.ToArray();

    // The default is one second.
    private static readonly TimeSpan[] ElectionTimeouts = [TimeSpan.FromSeconds(1), TimeSpan.FromMilliseconds(300)];

    /// <summary>The measured section, and whether the bound was kept.</summary>
    public (Section Section, bool Passed) Run() => RunAsync().GetAwaiter().GetResult();

    private async Task<(Section Section, bool Passed)> RunAsync()
    {
        Section section = new("Writes after the leader's death", askedRatio: 0);
        section.Conditions.Add(("failover", string.Create(CultureInfo.InvariantCulture,
            $"{Deaths} times each: the leader of three nodes gets the signal, and a put is sent to each of the others, again at once if it is refused; until both have answered. Afterwards it goes on, or is started again, and all have the same")));
        section.Note(string.Create(CultureInfo.InvariantCulture, $"asked for: writes are served again within {AskedTimeouts} election time-outs (the default is 1 s)"));
        Table table = new("Without writes", ["election time-out, ms", "signal", "times", "median, ms", "worst, ms", "median, time-outs", "worst, time-outs", "asked", "kept"]);
        bool passed = true;
        foreach (TimeSpan timeout in ElectionTimeouts)
        {
            using DataFolder folder = new(options.Data, "failover");
            using KeyVaNodes nodes = new(folder.Path, 3, "--election-timeout", string.Create(CultureInfo.InvariantCulture, $"{(int)timeout.TotalMilliseconds}ms"));
            foreach (bool kills in (bool[])[true, false])
            {
                List<double> times = [];
                for (int i = 0; i < Deaths; i++)
                {
                    times.Add(await LoseLeaderAsync(nodes, kills));
                    Console.Error.WriteLine($"{DateTime.Now:HH:mm:ss}  {(kills ? "SIGKILL" : "SIGSTOP")}, {timeout.TotalMilliseconds:0} ms: {times[^1]:0} ms");
                }

                double median = times.Order().ElementAt(Deaths / 2);
                double worst = times.Max();
                bool kept = worst <= AskedTimeouts * timeout.TotalMilliseconds;
                passed &= kept;
                table.Add(
                    (long)timeout.TotalMilliseconds, kills ? "SIGKILL" : "SIGSTOP", (long)Deaths, (long)median, (long)worst,
                    median / timeout.TotalMilliseconds, worst / timeout.TotalMilliseconds, AskedTimeouts, kept ? "yes" : "NO");
            }
        }

        section.Tables.Add(table);
        return (section, passed);
    }

    /// <summary>Milliseconds from the signal until both others have taken a write.</summary>
    private static async Task<double> LoseLeaderAsync(KeyVaNodes nodes, bool kills)
    {
        int leader = await nodes.SettleAsync();
        int[] others = [.. nodes.Running.Where(node => node != leader)];
        using UnaryLoad first = new(clients: 1);
        using UnaryLoad second = new(clients: 1);
        await Task.WhenAll(PutUntilTakenAsync(nodes, first, others[0]), PutUntilTakenAsync(nodes, second, others[1]));
        long begun = Stopwatch.GetTimestamp();
        if (kills)
        {
            nodes.Kill(leader);
        }
        else
        {
            nodes.Stop(leader);
        }

        await Task.WhenAll(PutUntilTakenAsync(nodes, first, others[0]), PutUntilTakenAsync(nodes, second, others[1]));
        double time = Stopwatch.GetElapsedTime(begun).TotalMilliseconds;
        if (kills)
        {
            nodes.Start(leader);
        }
        else
        {
            nodes.Continue(leader);
        }

        return time;
    }

    private static async Task PutUntilTakenAsync(KeyVaNodes nodes, UnaryLoad calls, int node)
    {
        Uri uri = new(nodes.DataOf(node), nodes.PutPath);
        byte[] frame = nodes.PutFrame(Key, Key);
        while ((await calls.CallAsync(uri, frame)).Message is null)
        {
        }
    }
}
