using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace KeyVa.Bench.Front;

/// <summary>A redis-server to compare with. Ends when it is disposed.</summary>
internal sealed class RedisProcess : IDisposable
{
    private readonly Process _process;

    /// <param name="port">Where it listens.</param>
    /// <param name="folder">Where its files go.</param>
    /// <param name="appendFsync">everysec or always; null: no persistence.</param>
    public RedisProcess(int port, string folder, string? appendFsync)
    {
        ProcessStartInfo start = new("redis-server",
            [
                "--port", port.ToString(CultureInfo.InvariantCulture), "--bind", "127.0.0.1", "--dir", folder, "--save", "",
                "--appendonly", appendFsync is null ? "no" : "yes", "--appendfsync", appendFsync ?? "everysec",
            ])
        {
            RedirectStandardOutput = true,
        };
        try
        {
            _process = Process.Start(start)!;
        }
        catch (Win32Exception e)
        {
            throw new InvalidOperationException("redis-server is not installed; run bench/install.sh", e);
        }

        for (string? line = ""; line is not null && !line.Contains("Ready to accept connections", StringComparison.Ordinal);)
        {
            line = _process.StandardOutput.ReadLine();
        }

        _ = _process.StandardOutput.ReadToEndAsync();
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

    public void Dispose()
    {
        _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }
}
