using System.Globalization;
using KeyVa.Engines;
using Xunit;

namespace KeyVa.Tests.Engines;

public sealed class BackgroundPriorityTests
{
    /// <summary>As many characters as the system keeps of a thread's name.</summary>
    private const string Name = "keyva-backgroun";

    [Fact]
    public void CompactionsGiveWayToCallersAndFlushesDoNot()
    {
        int own = Nice(File.ReadAllText("/proc/self/stat"));
        using BackgroundThreads threads = new(2);
        Assert.True(SpinWait.SpinUntil(() => Count(own + 5) >= 2 && Count(own) >= 1, TimeSpan.FromSeconds(60)), $"{Count(own + 5)} threads at nice {own + 5}, {Count(own)} at {own}");
    }

    // Other tests have such threads too: at least those of this one are there.
    private static int Count(int nice) => Directory.GetDirectories("/proc/self/task").Count(task => Stat(task) is { } stat
        && stat.Contains($"({Name})", StringComparison.Ordinal)
        && Nice(stat) == nice);

    private static int Nice(string stat) => int.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[16], CultureInfo.InvariantCulture);

    private static string? Stat(string task)
    {
        try
        {
            return File.ReadAllText($"{task}/stat");
        }
        catch (IOException)
        {
            // The thread has ended meanwhile.
            return null;
        }
    }
}
