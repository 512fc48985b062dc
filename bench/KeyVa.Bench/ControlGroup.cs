using System.Globalization;

namespace KeyVa.Bench;

/// <summary>
/// A control group that limits the memory of a process from its first page on, page cache included; version 2 where the
/// kernel has it writable, else version 1. Removed when disposed. One thread.
/// </summary>
internal sealed class ControlGroup : IDisposable
{
    private const string Root = "/sys/fs/cgroup";

    private readonly string _folder;
    private readonly bool _unified;

    private ControlGroup(string folder, bool unified)
    {
        _folder = folder;
        _unified = unified;
    }

    public string Kind => _unified ? "cgroup v2, memory.max and memory.swap.max 0" : "cgroup v1, memory.limit_in_bytes";

    /// <summary>The most memory it ever took.</summary>
    public long PeakBytes => Number(_unified ? "memory.peak" : "memory.max_usage_in_bytes");

    /// <summary>How many processes the kernel killed for want of memory.</summary>
    public long Kills => File.ReadLines(Path.Combine(_folder, _unified ? "memory.events" : "memory.oom_control"))
        .Where(line => line.StartsWith("oom_kill ", StringComparison.Ordinal))
        .Select(line => long.Parse(line.AsSpan("oom_kill ".Length), CultureInfo.InvariantCulture))
        .FirstOrDefault();

    /// <summary>Null if this machine lets nobody make one; <paramref name="why"/> says so.</summary>
    public static ControlGroup? TryCreate(string name, long limitBytes, out string why)
    {
        bool unified = File.Exists(Path.Combine(Root, "cgroup.controllers"));
        string folder = Path.Combine(Root, unified ? "" : "memory", $"keyva-bench-{name}-{Environment.ProcessId}");
        try
        {
            if (unified)
            {
                File.WriteAllText(Path.Combine(Root, "cgroup.subtree_control"), "+memory");
            }

            Directory.CreateDirectory(folder);
            ControlGroup group = new(folder, unified);
            string limit = limitBytes.ToString(CultureInfo.InvariantCulture);
            File.WriteAllText(Path.Combine(folder, unified ? "memory.max" : "memory.limit_in_bytes"), limit);
            string swap = Path.Combine(folder, "memory.swap.max");
            if (unified && File.Exists(swap))
            {
                File.WriteAllText(swap, "0");
            }

            why = "";
            return group;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            why = e.Message;
            return null;
        }
    }

    /// <summary>The command, run by a shell that first puts itself into the group: nothing is charged elsewhere.</summary>
    public List<string> Prefix(IEnumerable<string> command) =>
        ["/bin/sh", "-c", "echo $$ > \"$0\" && exec \"$@\"", Path.Combine(_folder, "cgroup.procs"), .. command];

    public void Dispose() => Directory.Delete(_folder);

    private long Number(string file) => long.Parse(File.ReadAllText(Path.Combine(_folder, file)).AsSpan().Trim(), CultureInfo.InvariantCulture);
}
