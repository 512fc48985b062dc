using KeyVa.Engines;
using Xunit;

namespace KeyVa.Tests.Engines;

public sealed class MemoryLimitTests
{
    private const string MemInfo = "MemTotal:       16777216 kB\nMemFree:         100 kB\n";

    [Fact]
    public void WithoutAGroupItIsTheMachine() =>
        Assert.Equal(16L << 30, Read(("/proc/meminfo", MemInfo)));

    [Fact]
    public void TheSmallestGroupOfVersionTwoOnTheWayUpCounts() =>
        Assert.Equal(512L << 20, Read(
            ("/proc/meminfo", MemInfo),
            ("/proc/self/cgroup", "0::/system.slice/keyva.service\n"),
            ("/sys/fs/cgroup/system.slice/keyva.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "536870912\n")));

    [Fact]
    public void InAContainerTheMountIsTheGroup() =>
        Assert.Equal(256L << 20, Read(
            ("/proc/meminfo", MemInfo),
            ("/proc/self/cgroup", "12:cpu,cpuacct:/docker/abc\n5:memory:/docker/abc\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n")));

    [Fact]
    public void VersionOneWithoutALimitSaysAVeryLargeNumber() =>
        Assert.Equal(16L << 30, Read(
            ("/proc/meminfo", MemInfo),
            ("/proc/self/cgroup", "5:memory:/\n0::/\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")));

    [Fact]
    public void WhereNothingSaysAnythingThereIsNoLimit() => Assert.Null(Read());

    [Fact]
    public void HereThereIsOne() => Assert.InRange(MemoryLimit.Read(), 64L << 20, 1L << 50);

    [Fact]
    public void TheAutomaticBudgetIsWhatTheSizesComeToButAtMostHalf()
    {
        Assert.Equal((256L + 320 + 64) << 20, MemoryBudget.Automatic(256 << 20, 64 << 20, 5, 16L << 30));
        Assert.Equal(256L << 20, MemoryBudget.Automatic(256 << 20, 64 << 20, 5, 512 << 20));
        Assert.Equal(MemoryBudget.MinBytes, MemoryBudget.Automatic(1L << 40, 4L << 30, 5, 1 << 20));
    }

    private static long? Read(params (string Path, string Text)[] files) =>
        MemoryLimit.Read(path => files.FirstOrDefault(file => file.Path == path).Text);
}
