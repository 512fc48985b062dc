using System.Diagnostics;
using System.Text;
using KeyVa.Client;
using Xunit;

namespace KeyVa.Tests.Cli;

/// <summary>
/// <c>keyva serve</c> as a process of its own, on free ports. One thread starts and disposes it; <see cref="Kill"/> may
/// come from any.
/// </summary>
internal sealed class ServedProcess : IDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _errors = new();

    private ServedProcess(Process process)
    {
        _process = process;
        process.ErrorDataReceived += (_, line) =>
        {
            lock (_errors)
            {
                _errors.AppendLine(line.Data);
            }
        };
        process.BeginErrorReadLine();
    }

    public string DataAddress { get; private set; } = "";

    public string ControlAddress { get; private set; } = "";

    /// <summary>The most memory it ever had resident.</summary>
    public long PeakResidentBytes => _process.PeakWorkingSet64;

    /// <summary>What the server has logged.</summary>
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

    /// <summary>Starts a server and returns once it listens.</summary>
    /// <param name="data">The data folder.</param>
    /// <param name="launcher">A program with arguments that runs the server's command line; empty: none.</param>
    /// <param name="settings">Further flags of <c>keyva serve</c>.</param>
    public static ServedProcess Start(string data, string[] launcher, params string[] settings)
    {
        string dotnet = Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? Environment.ProcessPath!;
        string[] command =
        [
            .. launcher, dotnet, Path.Combine(AppContext.BaseDirectory, "KeyVa.Cli.dll"), "serve", "--data", data,
            "--rest-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0", "--resp-listen", "127.0.0.1:0",
            "--log-level", "warning", .. settings,
        ];
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

        ServedProcess server = new(Process.Start(start)!);
        server.ReadBanner();
        return server;
    }

    /// <summary>
    /// A server small enough to flush, compact and checkpoint all the time, with <c>data</c> in a folder, and no partition to begin with.
    /// </summary>
    public static ServedProcess StartSmall(string folder, string durability) => Start(
        Path.Combine(folder, "data"), [], "--durability", durability, "--partitions", "none", "--memtable", "64KiB",
        "--journal-segment", "1MiB", "--journal-budget", "2MiB", "--background-threads", "1");

    /// <summary>Adds two partitions: an lsm one below a key, a memory one from it on.</summary>
    public async Task AddPairAsync(string border = "m")
    {
        await using RemoteControl control = RemoteControl.Connect(ControlAddress);
        byte[] middle = Encoding.ASCII.GetBytes(border);
        Assert.Equal(Status.Ok, (await control.AddPartitionAsync(new KeyRange(default, middle), EngineKind.Lsm)).Status);
        Assert.Equal(Status.Ok, (await control.AddPartitionAsync(new KeyRange(middle, default), EngineKind.Memory)).Status);
    }

    public RemoteStore Connect() =>
        RemoteStore.Connect(DataAddress, new RemoteOptions { ConnectRetries = 0, ReadRetries = 0 });

    /// <summary>SIGKILL: no chance to tidy up. Does not wait for the end.</summary>
    public void Kill() => _process.Kill();

    public void WaitForExit() => _process.WaitForExit();

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        _process.WaitForExit();
        _process.Dispose();
    }

    private void ReadBanner()
    {
        StringBuilder seen = new();
        while (_process.StandardOutput.ReadLine() is { } line)
        {
            seen.AppendLine(line);
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words is ["gRPC", "data", var data])
            {
                DataAddress = data;
            }
            else if (words is ["gRPC", "control", var control])
            {
                ControlAddress = control;
                return;
            }
        }

        _process.WaitForExit();
        string errors = Errors;
        int code = _process.ExitCode;
        Dispose();
        throw new InvalidOperationException($"the server did not come up (exit code {code}): {seen}{errors}");
    }
}
