using System.Globalization;

namespace KeyVa.Tests.Cli;

/// <summary>
/// A control group with a memory limit, where this machine lets us make one (cgroup v1 or v2, as root). A process that
/// exceeds it is killed by the kernel.
/// </summary>
internal sealed class MemoryGroup : IDisposable
{
    private readonly string? _directory;

    public MemoryGroup(long bytes)
    {
        string name = $"keyva-{Guid.NewGuid():N}";
        string text = bytes.ToString(CultureInfo.InvariantCulture);
        _directory = TryMake(Path.Combine("/sys/fs/cgroup", name), "memory.max", text)
            ?? TryMake(Path.Combine("/sys/fs/cgroup/memory", name), "memory.limit_in_bytes", text);
        if (_directory is not null)
        {
            string processes = Path.Combine(_directory, "cgroup.procs");
            Launcher = ["/bin/sh", "-c", $"echo $$ > {processes} && exec \"$@\"", "sh"];
        }
    }

    /// <summary>Whether the kernel enforces the limit.</summary>
    public bool IsEnforced => _directory is not null;

    /// <summary>Runs a command line inside the group; empty without one.</summary>
    public string[] Launcher { get; } = [];

    public void Dispose()
    {
        // The last process has just gone; the kernel may take a moment to notice.
        if (_directory is not null)
        {
            SpinWait.SpinUntil(TryRemove, TimeSpan.FromSeconds(10));
        }
    }

    private static string? TryMake(string directory, string file, string text)
    {
        try
        {
            Directory.CreateDirectory(directory);
            if (File.Exists(Path.Combine(directory, file)))
            {
                File.WriteAllText(Path.Combine(directory, file), text);
                return directory;
            }

            Directory.Delete(directory);
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            return null;
        }

        return null;
    }

    private bool TryRemove()
    {
        try
        {
            Directory.Delete(_directory!);
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }
}
