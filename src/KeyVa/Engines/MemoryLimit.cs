using System.Globalization;

namespace KeyVa.Engines;

/// <summary>
/// How much memory this process may use: that of the machine, or less where a control group (cgroup v1 or v2, such as a
/// container's or a systemd unit's) says so.
/// </summary>
internal static class MemoryLimit
{
    private const string Mount = "/sys/fs/cgroup";

    /// <summary>In bytes; read anew on each call.</summary>
    public static long Read() => Read(ReadFile) ?? GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;

    /// <summary>The smallest limit that the files name; null if there is none. <paramref name="read"/> returns null for a file that is not there.</summary>
    public static long? Read(Func<string, string?> read)
    {
        long? limit = null;
        foreach (string line in Lines(read("/proc/meminfo")))
        {
            if (line.StartsWith("MemTotal:", StringComparison.Ordinal)
                && long.TryParse(line["MemTotal:".Length..].Replace("kB", "", StringComparison.Ordinal).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long kilobytes))
            {
                limit = kilobytes << 10;
            }
        }

        foreach (string line in Lines(read("/proc/self/cgroup")))
        {
            // "0::/path" is version 2; "N:memory:/path", with other controllers beside it perhaps, is version 1.
            string[] parts = line.Split(':', 3);
            if (parts.Length < 3)
            {
                continue;
            }

            if (parts[1].Length == 0)
            {
                limit = Smallest(limit, read, Mount, parts[2], "memory.max");
                limit = Smallest(limit, read, Mount + "/unified", parts[2], "memory.max");
            }
            else if (parts[1].Split(',').Contains("memory"))
            {
                limit = Smallest(limit, read, Mount + "/memory", parts[2], "memory.limit_in_bytes");
            }
        }

        return limit;
    }

    /// <summary>
    /// Every group above counts as well. In a container the path is often that of the host, and what is mounted is the
    /// container's own group: so the path is shortened until the mount itself.
    /// </summary>
    private static long? Smallest(long? limit, Func<string, string?> read, string mount, string path, string file)
    {
        for (string group = path.TrimEnd('/'); ; group = group[..group.LastIndexOf('/')])
        {
            string? text = read($"{mount}{group}/{file}")?.Trim();
            if (long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long bytes) && bytes > 0 && !(limit <= bytes))
            {
                limit = bytes;
            }

            if (!group.Contains('/'))
            {
                return limit;
            }
        }
    }

    private static string[] Lines(string? text) => text?.Split('\n', StringSplitOptions.RemoveEmptyEntries) ?? [];

    private static string? ReadFile(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception none) when (none is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
