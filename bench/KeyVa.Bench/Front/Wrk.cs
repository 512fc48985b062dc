using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;

namespace KeyVa.Bench.Front;

/// <summary>Runs wrk against a REST endpoint and reads what it prints. Any failed request fails the run.</summary>
internal static partial class Wrk
{
    /// <summary>Asks for each key of the set in turn; the requests are made before the clock starts.</summary>
    private static readonly string Script = string.Create(CultureInfo.InvariantCulture, $$"""
        local requests, next = {}, 0
        init = function()
          for i = 0, {{FrontRecords.Asked - 1}} do
            requests[i] = wrk.format("GET", string.format("/kv/k%015d", i * {{FrontRecords.Count / FrontRecords.Asked}}))
          end
        end
        request = function()
          next = (next + 1) % {{FrontRecords.Asked}}
          return requests[next]
        end
        """);

    public static Sample Run(string folder, int port, int connections, double seconds)
    {
        string script = Path.Combine(folder, "get.lua");
        File.WriteAllText(script, Script);
        ProcessStartInfo start = new("wrk") { RedirectStandardOutput = true };
        string[] arguments =
        [
            "-t1", $"-c{connections}", $"-d{Math.Max(1, (int)Math.Round(seconds))}s", "--latency", "-s", script,
            $"http://127.0.0.1:{port}/",
        ];
        Array.ForEach(arguments, start.ArgumentList.Add);
        string output;
        try
        {
            using Process process = Process.Start(start)!;
            output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
        }
        catch (Win32Exception e)
        {
            throw new InvalidOperationException("wrk is not installed; run bench/install.sh", e);
        }

        Match total = Total().Match(output);
        return total.Success && !output.Contains("Non-2xx", StringComparison.Ordinal) && !output.Contains("Socket errors", StringComparison.Ordinal)
            ? new Sample
            {
                Operations = long.Parse(total.Groups["requests"].ValueSpan, CultureInfo.InvariantCulture),
                Seconds = double.Parse(total.Groups["seconds"].ValueSpan, CultureInfo.InvariantCulture),
                P50 = Microseconds(output, "50%"),
                P99 = Microseconds(output, "99%"),
            }
            : throw new InvalidOperationException("wrk reports failed requests:\n" + output);
    }

    private static double Microseconds(string output, string percentile)
    {
        Match match = Latency().Matches(output).Single(match => match.Groups["percentile"].Value == percentile);
        double scale = match.Groups["unit"].Value switch
        {
            "us" => 1,
            "ms" => 1e3,
            _ => 1e6,
        };
        return scale * double.Parse(match.Groups["time"].ValueSpan, CultureInfo.InvariantCulture);
    }

    // 123456 requests in 5.00s, 20.00MB read
    [GeneratedRegex(@"(?<requests>\d+) requests in (?<seconds>[0-9.]+)s")]
    private static partial Regex Total();

    //      99%    1.23ms
    [GeneratedRegex(@"^\s+(?<percentile>\d+%)\s+(?<time>[0-9.]+)(?<unit>us|ms|s)\s*$", RegexOptions.Multiline)]
    private static partial Regex Latency();
}
