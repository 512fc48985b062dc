using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace KeyVa.Simulation;

/// <summary>
/// The same operations under <see cref="Sets"/> option sets give the same answers, which are the model's. A difference is
/// told with seed, option set, and the few operations that still show it.
/// </summary>
public sealed class MetamorphicTests(ITestOutputHelper output)
{
    /// <summary>Option sets for each seed.</summary>
    private const int Sets = 20;

    private const int DefaultSeeds = 60;

    /// <summary>At most so many runs, and about so long, to make a failure small.</summary>
    private const int MostRuns = 400;
    private static readonly TimeSpan LongestReduction = TimeSpan.FromSeconds(20);

    /// <summary>60 seeds, or as many as KEYVA_METAMORPHIC_SEEDS asks for; KEYVA_SEED begins at another seed, by itself with that one alone.</summary>
    [Fact]
    public void EveryOptionSetGivesTheModelsAnswers()
    {
        (int first, int count) = Range();
        ConcurrentQueue<string> failures = new();
        ConcurrentDictionary<string, int> options = new();
        int done = 0;
        Parallel.For(first, first + count, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, (seed, loop) =>
        {
            List<MetamorphicOperation> operations = OperationGenerator.Make(seed);
            for (int number = 0; number < Sets && !loop.IsStopped; number++)
            {
                if (TryFail(seed, number, operations, null, options) is { } failure)
                {
                    loop.Stop();
                    failures.Enqueue(Reduce(seed, number, operations, failure));
                    return;
                }
            }

            Interlocked.Increment(ref done);
        });
        output.WriteLine($"{done} seeds from {first}, {Sets} option sets each; openings with a value of its own for each option: {string.Join(", ", options.OrderBy(static one => one.Key).Select(static one => $"{one.Key} {one.Value}"))}");
        Assert.True(failures.IsEmpty, string.Join("\n\n", failures));
        Assert.Equal(count, done);
    }

    /// <summary>Null if the store answers as the model does.</summary>
    private static string? TryFail(int seed, int number, List<MetamorphicOperation> operations, Func<OptionSet, OptionSet>? reduce, ConcurrentDictionary<string, int>? options = null)
    {
        MetamorphicModel model = new(new SimulatedTime().UnixMilliseconds);
        using MetamorphicRun run = new(seed, number, reduce);
        MetamorphicOperation? at = null;
        try
        {
            run.Begin();
            foreach (MetamorphicOperation operation in operations)
            {
                at = operation;
                string expected = model.Apply(operation);
                string answer = run.Apply(operation);
                if (answer != expected)
                {
                    return $"operation {operation}\n  answered {answer}\n  expected {expected}\n{run}";
                }
            }

            at = null;
            run.End();
        }
        catch (Exception failure)
        {
            return $"{(at is null ? "the end" : $"operation {at}")}: {failure}\n{run}";
        }

        foreach (string name in options is null ? [] : run.OptionNames)
        {
            options!.AddOrUpdate(name, 1, static (_, n) => n + 1);
        }

        return null;
    }

    /// <summary>Leaves operations out by halves, then options one by one, as long as anything fails.</summary>
    private static string Reduce(int seed, int number, List<MetamorphicOperation> operations, string failure)
    {
        long begun = Stopwatch.GetTimestamp();
        int runs = 0;
        string smallest = failure;
        HashSet<string> without = [];
        bool Fails(List<MetamorphicOperation> kept, HashSet<string> left)
        {
            string? found = ++runs <= MostRuns && Stopwatch.GetElapsedTime(begun) < LongestReduction
                ? TryFail(seed, number, kept, set => new OptionSet([.. set.Drawn.Where(one => !left.Contains(one.Name))]))
                : null;
            smallest = found ?? smallest;
            return found is not null;
        }

        List<MetamorphicOperation> few = operations;
        for (int size = few.Count / 2; size > 0; size /= 2)
        {
            for (int at = few.Count - size; at >= 0; at -= size)
            {
                List<MetamorphicOperation> fewer = [.. few[..at], .. few[(at + size)..]];
                few = Fails(fewer, without) ? fewer : few;
                at = Math.Min(at, few.Count);
            }
        }

        foreach (string name in OptionSet.Names)
        {
            without = Fails(few, [.. without, name]) ? [.. without, name] : without;
        }

        return $"""
            seed {seed}, option set {number} (KEYVA_SEED={seed} replays it): {failure}

            {few.Count} of {operations.Count} operations, without {without.Count} options, still fail (after {runs} runs): {smallest}
            {string.Join('\n', few)}
            """;
    }

    private static (int First, int Count) Range()
    {
        string? first = Environment.GetEnvironmentVariable("KEYVA_SEED");
        string? count = Environment.GetEnvironmentVariable("KEYVA_METAMORPHIC_SEEDS");
        int seeds = string.IsNullOrEmpty(count) ? string.IsNullOrEmpty(first) ? DefaultSeeds : 1 : int.Parse(count, CultureInfo.InvariantCulture);
        return (string.IsNullOrEmpty(first) ? 0 : int.Parse(first, CultureInfo.InvariantCulture), seeds);
    }
}
