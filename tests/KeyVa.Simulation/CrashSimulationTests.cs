using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Simulation;

public sealed class CrashSimulationTests(ITestOutputHelper output)
{
    /// <summary>2,000 seeds, or as many as KEYVA_TORTURE_SEEDS asks for; KEYVA_SEED begins at another seed, by itself with that one alone.</summary>
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
        string? first = Environment.GetEnvironmentVariable("KEYVA_SEED");
        string? count = Environment.GetEnvironmentVariable("KEYVA_TORTURE_SEEDS");
        int seeds = string.IsNullOrEmpty(count) ? string.IsNullOrEmpty(first) ? 2000 : 1 : int.Parse(count, CultureInfo.InvariantCulture);
        return (string.IsNullOrEmpty(first) ? 0 : int.Parse(first, CultureInfo.InvariantCulture), seeds);
    }
}
