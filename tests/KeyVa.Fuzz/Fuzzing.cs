using System.Globalization;
using Xunit.Sdk;

namespace KeyVa.Fuzz;

/// <summary>
/// Feeds a target with random and mutated bytes. Every input follows from a seed; a failure names it and shows the bytes.
/// KEYVA_FUZZ_ITERATIONS sets how many inputs each target gets, KEYVA_FUZZ_SEED where to begin (a failing seed with one
/// iteration replays alone).
/// </summary>
public abstract class Fuzzing
{
    private const int MostBytesShown = 2048;

    /// <summary>Runs a target; it throws on whatever must not happen.</summary>
    /// <param name="iterations">How many inputs, unless the environment says otherwise.</param>
    /// <param name="corpus">Valid inputs to mutate.</param>
    /// <param name="target">Gets the input and a source of chance that belongs to the seed.</param>
    private protected static void Run(int iterations, IReadOnlyList<byte[]> corpus, Action<byte[], Random> target)
    {
        foreach (int seed in Seeds(iterations))
        {
            Random random = new(seed);
            byte[] input = Mutation.Next(random, corpus);
            try
            {
                target(input, random);
            }
            catch (Exception failure)
            {
                throw Failed(seed, input, failure);
            }
        }
    }

    /// <summary>As <see cref="Run"/>, for a target that waits.</summary>
    private protected static async Task RunAsync(int iterations, IReadOnlyList<byte[]> corpus, Func<byte[], Random, Task> target)
    {
        foreach (int seed in Seeds(iterations))
        {
            Random random = new(seed);
            byte[] input = Mutation.Next(random, corpus);
            try
            {
                await target(input, random);
            }
            catch (Exception failure)
            {
                throw Failed(seed, input, failure);
            }
        }
    }

    /// <summary>The seeds of a run.</summary>
    private protected static IEnumerable<int> Seeds(int iterations)
    {
        int count = Number("KEYVA_FUZZ_ITERATIONS") ?? iterations;
        int first = Number("KEYVA_FUZZ_SEED") ?? (Environment.TickCount & 0x3FFFFFFF);
        return Enumerable.Range(first, count);
    }

    private protected static XunitException Failed(int seed, ReadOnlySpan<byte> input, Exception failure)
    {
        string shown = Convert.ToHexString(input[..Math.Min(input.Length, MostBytesShown)]);
        return new XunitException(
            $"seed {seed} (KEYVA_FUZZ_SEED={seed} KEYVA_FUZZ_ITERATIONS=1), {input.Length} bytes {shown}: {failure}", failure);
    }

    private static int? Number(string variable) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : null;
}
