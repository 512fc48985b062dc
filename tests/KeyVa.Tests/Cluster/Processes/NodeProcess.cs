using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using KeyVa.Client;

namespace KeyVa.Tests.Cluster.Processes;

/// <summary>A node of a cluster as a process of its own: it can be killed, stopped, let go on and started again on its folder and its addresses.</summary>
internal sealed partial class NodeProcess : IDisposable
{
    private const string AdminPassword = "of this test alone";
    private const int SignalStop = 19;
    private const int SignalContinue = 18;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly string[] _launcher;
    private readonly string[] _arguments;
    private readonly StringBuilder _errors = new();
    private Process? _process;

    public NodeProcess(int number, string host, int[] ports, string data, string peers, string[] launcher, params string[] settings)
    {
        Number = number;
        Data = $"{host}:{ports[1]}";
        Control = $"{host}:{ports[2]}";
        Rest = $"{host}:{ports[0]}";
        Redis = $"{host}:{ports[3]}";
        Peer = $"{host}:{ports[4]}";
        Folder = data;
        _launcher = launcher;
        _arguments =
        [
            "serve", "--cluster", "test", "--node", number.ToString(CultureInfo.InvariantCulture), "--peers", peers, "--data", data,
            "--rest-listen", $"{host}:{ports[0]}", "--grpc-listen", Data, "--control-listen", Control, "--resp-listen", $"{host}:{ports[3]}",
            "--log-level", "warning", .. settings,
        ];
    }

    /// <summary>Who is who to the nodes: beyond loopback they do not start without users. Null: there are none.</summary>
    public static RemoteCredentials? Credentials { get; } = ClusterOfProcesses.Namespaces is null ? null : RemoteCredentials.Password("admin", AdminPassword);

    public int Number { get; }

    /// <summary>The data folder, as the node sees it.</summary>
    public string Folder { get; }

    /// <summary>Where it serves data.</summary>
    public string Data { get; }

    /// <summary>Where it serves REST.</summary>
    public string Rest { get; }

    /// <summary>Where it serves Redis clients.</summary>
    public string Redis { get; }

    /// <summary>Where it is controlled.</summary>
    public string Control { get; }

    /// <summary>Where it listens for peers.</summary>
    public string Peer { get; }

    /// <summary>Processor time that it has used since it was started.</summary>
    public TimeSpan ProcessorTime
    {
        get
        {
            _process!.Refresh();
            return _process.TotalProcessorTime;
        }
    }

    /// <summary>Whether it runs; a node that is stopped does.</summary>
    public bool IsRunning => _process is { HasExited: false };

    /// <summary>What it has logged.</summary>
    public string Errors
    {
        get
        {
            lock (_errors)
            {
                return _errors.ToString();
            }
        }
    }

    /// <summary>Starts it and returns once it listens for clients.</summary>
    public void Start()
    {
        string dotnet = Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? Environment.ProcessPath!;
        string[] command = [.. _launcher, dotnet, Path.Combine(AppContext.BaseDirectory, "KeyVa.Cli.dll"), .. _arguments];
        ProcessStartInfo start = new(command[0], command[1..])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = Path.GetTempPath(),
        };
        foreach (string name in start.Environment.Keys.Where(static name => name.StartsWith("KEYVA_", StringComparison.Ordinal)).ToArray())
        {
            start.Environment.Remove(name);
        }

        if (Credentials is not null)
        {
            start.Environment["KEYVA_ADMIN_PASSWORD"] = AdminPassword;
        }

        _process = Process.Start(start)!;
        _process.ErrorDataReceived += (_, line) =>
        {
            lock (_errors)
            {
                _errors.AppendLine(line.Data);
            }
        };
        _process.BeginErrorReadLine();
        while (_process.StandardOutput.ReadLine() is { } line)
        {
            if (line.Contains("gRPC control", StringComparison.Ordinal))
            {
                return;
            }
        }

        _process.WaitForExit();
        throw new InvalidOperationException($"node {Number} did not come up (exit code {_process.ExitCode}): {Errors}");
    }

    /// <summary>SIGKILL.</summary>
    public void Kill()
    {
        if (IsRunning)
        {
            _process!.Kill();
        }

        _process?.WaitForExit();
    }

    /// <summary>SIGSTOP: it stands still at whatever line it is at.</summary>
    public void Stop() => Signal(SignalStop);

    /// <summary>SIGCONT.</summary>
    public void Continue() => Signal(SignalContinue);

    public void Dispose()
    {
        if (IsRunning)
        {
            _process!.Kill();
        }

        _process?.WaitForExit();
        _process?.Dispose();
    }

    // nsenter and ip netns become the program, so that the process is the node's own.
    private void Signal(int signal)
    {
        if (SendSignal(_process!.Id, signal) != 0)
        {
            throw new InvalidOperationException($"signal {signal} to node {Number} failed: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int SendSignal(int process, int signal);

    /// <summary>What the node says of the cluster, once it answers and says what is waited for.</summary>
    public async Task<ClusterView> ViewAsync(Func<ClusterView, bool> isRight)
    {
        long begun = Stopwatch.GetTimestamp();
        ClusterView? last = null;
        while (Stopwatch.GetElapsedTime(begun) < Patience)
        {
            last = await ViewAsync();
            if (last is not null && isRight(last))
            {
                return last;
            }

            await Pause.ForAsync(TimeSpan.FromMilliseconds(20));
        }

        throw new TimeoutException($"node {Number} says {(last is null ? "nothing" : string.Join("; ", last.Replicas))} after {Patience.TotalSeconds:N0} s");
    }

    /// <summary>What the node says of the cluster; null if it does not answer at once.</summary>
    public async Task<ClusterView?> ViewAsync()
    {
        try
        {
            await using RemoteControl control = RemoteControl.Connect(Control, new RemoteOptions { Deadline = TimeSpan.FromSeconds(1), ConnectRetries = 0, ReadRetries = 0, Credentials = Credentials });
            return await control.ClusterStatusAsync();
        }
        catch (StoreException)
        {
            return null;
        }
    }
}
