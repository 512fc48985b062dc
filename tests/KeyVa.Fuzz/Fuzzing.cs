using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using Xunit.Sdk;

namespace KeyVa.Fuzz;

/// <summary>
/// Feeds a target with random and mutated bytes, and before those with the inputs of Corpus/TARGET that once failed. Every
/// input follows from a seed; a failure names it and shows the bytes. An input may take so long and so much memory.
/// <code>
/// KEYVA_FUZZ_SECONDS     how long each target gets inputs
/// KEYVA_FUZZ_ITERATIONS  or how many
/// KEYVA_FUZZ_SEED        where to begin: a failing seed with one iteration replays alone
/// </code>
/// </summary>
public abstract class Fuzzing
{
    private const int MostBytesShown = 2048;

    /// <summary>What the target may take of the heap for one input, whatever lengths it names.</summary>
    private const long MostAllocatedBytes = 64L << 20;

    /// <summary>How far the address space may grow over what it was at a target's beginning: native memory, freed or not.</summary>
    private const long MostNativeBytes = 1L << 30;

    /// <summary>Inputs between two looks at the address space.</summary>
    private const int NativeCheckEvery = 256;

    /// <summary>Of one input, on a machine that is busy with others.</summary>
    private static readonly TimeSpan LongestInput = TimeSpan.FromSeconds(20);

    /// <summary>Runs a target; it throws on whatever must not happen.</summary>
    /// <param name="iterations">How many inputs, unless the environment says otherwise.</param>
    /// <param name="corpus">Valid inputs to mutate.</param>
    /// <param name="target">Gets the input and a source of chance that belongs to the seed.</param>
    /// <param name="next">How an input is made out of valid ones; null: without knowledge of its structure.</param>
    /// <param name="name">The target's.</param>
    private protected static void Run(int iterations, IReadOnlyList<byte[]> corpus, Action<byte[], Random> target, Func<Random, IReadOnlyList<byte[]>, byte[]>? next = null, [CallerMemberName] string name = "")
    {
        next ??= Mutation.Next;
        foreach (byte[] kept in Kept(name))
        {
            for (int seed = 0; seed < 8; seed++)
            {
                RunOne(seed, new Random(seed), kept, target);
            }
        }

        long most = PeakAddressSpace() + MostNativeBytes;
        foreach (int seed in Seeds(iterations, name))
        {
            Random random = new(seed);
            RunOne(seed, random, next(random, corpus), target);
            if (seed % NativeCheckEvery == 0 && PeakAddressSpace() > most)
            {
                throw new XunitException($"one of the {NativeCheckEvery} inputs up to seed {seed} made the address space grow by more than {MostNativeBytes} bytes");
            }
        }
    }

    /// <summary>As <see cref="Run"/>, for a target that waits.</summary>
    private protected static async Task RunAsync(int iterations, IReadOnlyList<byte[]> corpus, Func<byte[], Random, Task> target, [CallerMemberName] string name = "")
    {
        foreach (int seed in Seeds(iterations, name))
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

    /// <summary>The seeds of a run. While one is worked at it stands in a file, for what ends the process.</summary>
    private protected static IEnumerable<int> Seeds(int iterations, [CallerMemberName] string name = "")
    {
        int? seconds = Number("KEYVA_FUZZ_SECONDS");
        int count = Number("KEYVA_FUZZ_ITERATIONS") ?? (seconds is null ? iterations : int.MaxValue);
        int first = Number("KEYVA_FUZZ_SEED") ?? (Environment.TickCount & 0x3FFFFFFF);
        long begun = Stopwatch.GetTimestamp();
        int done = 0;
        using InputWatch watch = new(name);
        while (done < count && (seconds is null || Stopwatch.GetElapsedTime(begun).TotalSeconds < seconds))
        {
            int seed = unchecked(first + done) & int.MaxValue;
            watch.Begin(seed);
            yield return seed;
            done++;
        }

        Console.WriteLine($"{name}: {done} inputs from seed {first} in {Stopwatch.GetElapsedTime(begun).TotalSeconds:F0} s");
    }

    private protected static XunitException Failed(int seed, ReadOnlySpan<byte> input, Exception failure)
    {
        string shown = Convert.ToHexString(input[..Math.Min(input.Length, MostBytesShown)]);
        string file = Path.Combine(Path.GetTempPath(), $"keyva-fuzz-failed-{seed}");
        File.WriteAllBytes(file, input);
        return new XunitException(
            $"seed {seed} (KEYVA_FUZZ_SEED={seed} KEYVA_FUZZ_ITERATIONS=1), {input.Length} bytes, also in {file}, {shown}: {failure}", failure);
    }

    private static void RunOne(int seed, Random random, byte[] input, Action<byte[], Random> target)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        long begun = Stopwatch.GetTimestamp();
        try
        {
            target(input, random);
        }
        catch (Exception failure)
        {
            throw Failed(seed, input, failure);
        }

        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        TimeSpan taken = Stopwatch.GetElapsedTime(begun);
        if (allocated > MostAllocatedBytes || taken > LongestInput)
        {
            throw Failed(seed, input, new InvalidOperationException($"the input took {allocated} bytes of the heap and {taken}"));
        }
    }

    private static IEnumerable<byte[]> Kept(string name)
    {
        string folder = Path.Combine(AppContext.BaseDirectory, "Corpus", name);
        return Directory.Exists(folder) ? Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal).Select(File.ReadAllBytes) : [];
    }

    /// <summary>The most that the process ever had mapped, in bytes; 0 where the system does not tell.</summary>
    private static long PeakAddressSpace()
    {
        const string Path = "/proc/self/status";
        string? line = File.Exists(Path) ? File.ReadLines(Path).FirstOrDefault(static line => line.StartsWith("VmPeak:", StringComparison.Ordinal)) : null;
        return line is null ? 0 : long.Parse(line.AsSpan(7).Trim().TrimEnd(" kB"), NumberStyles.None, CultureInfo.InvariantCulture) << 10;
    }

    private static int? Number(string variable) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : null;
}
