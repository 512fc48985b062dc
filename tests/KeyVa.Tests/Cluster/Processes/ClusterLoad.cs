using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using KeyVa.Client;
using KeyVa.Histories;
using Xunit;

namespace KeyVa.Tests.Cluster.Processes;

/// <summary>
/// Clients of all nodes while faults happen: workers on a few registers, whose history is checked for linearizability, and one for each node that writes a new key again and
/// again. These tell how long nobody was served, whichever nodes stand still, and which keys must be there at the end.
/// </summary>
internal sealed class ClusterLoad : IAsyncDisposable
{
    private const int Workers = 5;
    private const int Registers = 6;
    private const int OperationsInRound = 40;

    private readonly ClusterOfProcesses _cluster;
    private readonly RegisterRecorder _recorder = new(Workers);
    private readonly RegisterWorkload[] _workloads;
    private readonly ConcurrentQueue<string> _acknowledged = new();
    private readonly ConcurrentQueue<(long Begun, long Ended)> _served = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly MachinePulse _machine = new();
    private readonly Task _registers;
    private readonly string[] _answers = ["none", "none", "none"];
    private readonly Task _probes;

    public ClusterLoad(ClusterOfProcesses cluster, int seed)
    {
        _cluster = cluster;
        _workloads = RegisterRun.Workloads(seed, Workers, Registers);
        _registers = Task.Factory.StartNew(WorkOnRegisters, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        _probes = Task.WhenAll(Enumerable.Range(0, cluster.Nodes.Length).Select(ProbeAsync));
    }

    /// <summary>Writes of the probes that were acknowledged.</summary>
    public int Acknowledged => _served.Count;

    /// <summary>How long it takes from now until a write that begins from now on is acknowledged, without the time for which the machine itself stood still.</summary>
    public async Task<TimeSpan> ServedAgainAsync()
    {
        long from = Stopwatch.GetTimestamp();
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(60));
        while (true)
        {
            foreach ((long begun, long ended) in _served)
            {
                if (begun >= from)
                {
                    return Stopwatch.GetElapsedTime(from, ended) - _machine.Lost(from, ended);
                }
            }

            if (limit.IsCancellationRequested)
            {
                Assert.Fail($"no write was served for {Stopwatch.GetElapsedTime(from).TotalSeconds:N0} s; the last answers were: {string.Join("; ", _answers)}\n{await _cluster.DescribeAsync()}");
            }

            await Pause.ForAsync(TimeSpan.FromMilliseconds(5));
        }
    }

    /// <summary>Ends the load and checks what clients were told: a linearizable history, and every acknowledged key on every node.</summary>
    public async Task CheckAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_registers, _probes);
        // One more read of everything: what was acknowledged is to be seen there.
        await ReadAllAsync();
        LinearizabilityResult result = LinearizabilityChecker.Check(_recorder.ToHistory());
        Assert.True(result.Verdict == Verdict.Holds, $"{result.Verdict}: {result.Explanation}");
        foreach (NodeProcess node in _cluster.Nodes.Where(static node => node.IsRunning))
        {
            await using RemoteStore store = RemoteStore.Connect(node.Data, new RemoteOptions { Credentials = NodeProcess.Credentials });
            foreach (string key in _acknowledged)
            {
                ReadResult read = await store.GetAsync(Encoding.ASCII.GetBytes(key));
                Assert.True(read.Status == Status.Ok, $"node {node.Number} answers {read.Status} for '{key}', which was acknowledged");
            }
        }

        int done = _recorder.ToHistory().Operations.Count(static one => one.Outcome == Outcome.Ok);
        Assert.True(done > 100, $"hardly anything was done: {done} operations");
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_registers, _probes);
        _machine.Dispose();
        _stop.Dispose();
    }

    private void WorkOnRegisters()
    {
        ClusterRegisterClient[] clients = [.. Enumerable.Range(0, Workers).Select(i => new ClusterRegisterClient(_cluster.Nodes, i))];
        while (!_stop.IsCancellationRequested)
        {
            RegisterRun.Threads(clients, _workloads, _recorder, OperationsInRound);
        }

        Array.ForEach(clients, static client => client.Dispose());
    }

    private async Task ReadAllAsync()
    {
        for (int i = 0; i < Workers; i++)
        {
            using ClusterRegisterClient client = new(_cluster.Nodes, i);
            for (int key = 0; key < Registers; key++)
            {
                _recorder[i].BeginRead(key);
                _recorder[i].End(await client.ReadAsync(key));
            }
        }
    }

    private async Task ProbeAsync(int node)
    {
        // Behind the first await: the test goes on.
        await Task.Yield();
        // Who asks a node that stands still waits with it; the others see what the rest of the cluster does, however slow the machine is.
        ClusterRegisterClient client = new([_cluster.Nodes[node]], 0, TimeSpan.FromSeconds(10));
        for (int i = 0; !_stop.IsCancellationRequested; i++)
        {
            string key = string.Create(CultureInfo.InvariantCulture, $"probe{node + 1}-{i:D6}");
            long begun = Stopwatch.GetTimestamp();
            bool taken = await client.PutAsync(Encoding.ASCII.GetBytes(key), "there"u8.ToArray());
            _answers[node] = client.Last;
            if (taken)
            {
                _acknowledged.Enqueue(key);
                _served.Enqueue((begun, Stopwatch.GetTimestamp()));
            }

            await Pause.ForAsync(TimeSpan.FromMilliseconds(20));
        }

        client.Dispose();
    }
}
