using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace KeyVa.Bench.Front;

/// <summary>redis-benchmark as load generator: 50 clients, values of 100 bytes, random keys. Stateless.</summary>
internal static partial class RedisBenchmark
{
    public const int Keys = 1_000_000;
    public const int Clients = 50;

    /// <summary>Runs one test with so many requests in a pipeline.</summary>
    public static Sample Run(int port, string test, int depth, int requests)
    {
        string output = Execute(
            ["-p", Text(port), "-c", Text(Clients), "-n", Text(requests), "-P", Text(depth), "-d", "100", "-r", Text(Keys), "-t", test, "--csv"]);
        Match line = Line().Match(output);
        if (!line.Success)
        {
            throw new InvalidOperationException("redis-benchmark printed no figures:\n" + output);
        }

        double rate = Number(line, "rate");
        return new Sample { Operations = requests, Seconds = requests / rate, P50 = Number(line, "p50") * 1000, P99 = Number(line, "p99") * 1000 };
    }

    private static string Execute(string[] arguments)
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo("redis-benchmark", arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            _ = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return output;
        }
        catch (Win32Exception e)
        {
            throw new InvalidOperationException("redis-benchmark is not installed; run bench/install.sh", e);
        }
    }

    private static double Number(Match match, string group) => double.Parse(match.Groups[group].ValueSpan, CultureInfo.InvariantCulture);

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
    [GeneratedRegex("""^"(SET|GET)","(?<rate>[0-9.]+)","[0-9.]+","[0-9.]+","(?<p50>[0-9.]+)","[0-9.]+","(?<p99>[0-9.]+)",""", RegexOptions.Multiline)]
    private static partial Regex Line();
}
