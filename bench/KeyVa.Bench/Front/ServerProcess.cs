using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace KeyVa.Bench.Front;

/// <summary>
/// A child process of this program in another role. It says "ready" on its output when it can be used, and ends when its
/// input is closed, so none outlives the harness.
/// </summary>
internal sealed class ServerProcess : IDisposable
{
    public const string Ready = "ready";

    private readonly Process _process;

    private ServerProcess(Process process) => _process = process;

    /// <summary>The process's number.</summary>
    public int Id => _process.Id;

    public static ServerProcess Start(params ReadOnlySpan<string> arguments)
    {
        string host = Environment.ProcessPath ?? throw new InvalidOperationException("the program's own path is unknown");
        ProcessStartInfo start = new(host) { RedirectStandardInput = true, RedirectStandardOutput = true };
        if (Path.GetFileNameWithoutExtension(host) == "dotnet")
        {
            start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "KeyVa.Bench.dll"));
        }

        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        Process process = Process.Start(start) ?? throw new InvalidOperationException("the child did not start");
        ServerProcess server = new(process);
        string? line = server.ReadLine();
        if (line != Ready)
        {
            server.Dispose();
            throw new InvalidOperationException($"the child '{string.Join(' ', start.ArgumentList)}' did not come up: {line}");
        }

        return server;
    }

    public static int FreePort()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>In the child: reports readiness, does what it is told line by line, and waits for the end of its input.</summary>
    public static async Task ServeUntilInputEndsAsync(Action<string>? told = null)
    {
        Console.Out.WriteLine(Ready);
        while (await Console.In.ReadLineAsync() is { } line)
        {
            told?.Invoke(line);
            Console.Out.WriteLine(line);
        }
    }

    /// <summary>Tells the child something, and returns when it is done.</summary>
    public void Tell(string line)
    {
        _process.StandardInput.WriteLine(line);
        if (ReadLine() != line)
        {
            throw new InvalidOperationException($"the child did not do what it was told: '{line}'");
        }
    }

    /// <summary>Processor time that it has used so far.</summary>
    public TimeSpan ProcessorTime
    {
        get
        {
            _process.Refresh();
            return _process.TotalProcessorTime;
        }
    }

    /// <summary>Memory that it has resident now.</summary>
    public long ResidentBytes
    {
        get
        {
            _process.Refresh();
            return _process.WorkingSet64;
        }
    }

    public string? ReadLine() => _process.StandardOutput.ReadLine();

    /// <summary>SIGKILL, with no chance to tidy up.</summary>
    public void Kill()
    {
        _process.Kill();
        _process.WaitForExit();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.StandardInput.Close();
            if (!_process.WaitForExit(TimeSpan.FromSeconds(30)))
            {
                Kill();
            }
        }

        _process.Dispose();
    }
}
