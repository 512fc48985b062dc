using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Simulation;

public sealed class CrashSimulationTests(ITestOutputHelper output)
{
    /// <summary>2,000 seeds, or as many as KEYVA_TORTURE_SEEDS asks for; KEYVA_SEED replays one.</summary>
    [Fact]
    public void NoSeedLosesWhatWasAcknowledged()
    {
        (int first, int count) = Range();
        var failures = new System.Collections.Concurrent.ConcurrentQueue<string>();
        int done = 0;
        Parallel.For(first, first + count, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, (seed, loop) =>
        {
            var simulation = new CrashSimulation(seed);
            try
            {
                simulation.Run();
                Interlocked.Increment(ref done);
            }
            catch (Exception failure)
            {
                failures.Enqueue($"{simulation}: {failure}");
                loop.Stop();
            }
        });
        output.WriteLine($"{done} seeds from {first}");
        Assert.True(failures.IsEmpty, string.Join("\n\n", failures.Take(3)));
        Assert.Equal(count, done);
    }

    private static (int First, int Count) Range()
    {
        if (Environment.GetEnvironmentVariable("KEYVA_SEED") is { Length: > 0 } one)
        {
            return (int.Parse(one, CultureInfo.InvariantCulture), 1);
        }

        string? seeds = Environment.GetEnvironmentVariable("KEYVA_TORTURE_SEEDS");
        return (0, string.IsNullOrEmpty(seeds) ? 2000 : int.Parse(seeds, CultureInfo.InvariantCulture));
    }
}
