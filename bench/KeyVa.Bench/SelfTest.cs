using System.Diagnostics;

namespace KeyVa.Bench;

/// <summary>
/// Checks of the harness's pure parts, run by `make test`: a wrong generator or percentile would make every figure wrong
/// without anything failing.
/// </summary>
internal static class SelfTest
{
    private const int Draws = 2_000_000;
    private const ulong Seed = 301;

    public static void Run()
    {
        Hashes();
        KeysAreDistinct();
        ValuesCompressByHalf();
        ZipfianShares();
        ScrambledZeta();
        LatestGrows();
        Percentiles();
        MedianSample();
        CommonPauses();
        BetterPeer();
        RequestsSurviveJson();
        IntervalOfAMedian();
    }

    /// <summary>The interval holds the median, is narrower with more values, and does not hold what all values are above.</summary>
    private static void IntervalOfAMedian()
    {
        double[] many = [.. Enumerable.Range(0, 101).Select(static i => 1 + (i * 37 % 101 / 1000.0))];
        (double low, double high) = Front.PairedSlices.Interval(many, new Random(1));
        (double lowOfFew, double highOfFew) = Front.PairedSlices.Interval(many[..9], new Random(1));
        Equal(1.05, Front.PairedSlices.Median(many), "the median of 101 values");
        Within(1.02, 1.05, low, "the lower end of its interval");
        Within(1.05, 1.08, high, "the upper end of its interval");
        Equal(true, highOfFew - lowOfFew > high - low, "an interval of nine values is wider");
    }

    private static void Hashes()
    {
        Equal(0xA8C7F832281A39C5, Fnv.Hash(0), "FNV-1a of eight zero bytes");
        Equal(0x89CD31291D2AEFA4, Fnv.Hash(1), "FNV-1a of 1");
    }

    private static void KeysAreDistinct()
    {
        const int count = 1_000_000;
        Equal(count, Enumerable.Range(0, count).Select(number => Keys.Mixed((ulong)number)).Distinct().Count(), "distinct new keys");
        Equal(count, Enumerable.Range(0, count).Select(number => Fnv.Hash((ulong)number)).Distinct().Count(), "distinct hashed keys");
        Equal((long)count, Keys.Shuffled(count, Seed).Distinct().LongCount(), "a permutation");
    }

    private static void ValuesCompressByHalf()
    {
        byte[] pool = Values.NewPool(4096, Seed);
        using MemoryStream packed = new();
        using (System.IO.Compression.DeflateStream deflate = new(packed, System.IO.Compression.CompressionLevel.Fastest, leaveOpen: true))
        {
            deflate.Write(pool);
        }

        Within(0.35, 0.65, packed.Length / (double)pool.Length, "values after compression");
    }

    /// <summary>Rank i comes up in proportion to 1 / (i + 1)^0.99; the approximation is exact for the first two.</summary>
    private static void ZipfianShares()
    {
        const int items = 1000;
        Zipfian zipfian = new(items);
        Prng random = new(Seed);
        int[] counts = new int[items];
        for (int i = 0; i < Draws; i++)
        {
            counts[zipfian.Next(ref random)]++;
        }

        double zeta = Zipfian.Zeta(0, items, 0);
        Within(0.98, 1.02, counts[0] * zeta / Draws, "share of the first rank");
        Within(0.98, 1.02, counts[1] * zeta * Math.Pow(2, Zipfian.Theta) / Draws, "share of the second rank");
        double half = counts[..(items / 2)].Sum() / (double)Draws;
        Within(0.98, 1.02, half * zeta / Zipfian.Zeta(0, items / 2, 0), "share of the first half");
    }

    /// <summary>The constant from YCSB against the sum's first terms and the integral of the others (Euler and Maclaurin).</summary>
    private static void ScrambledZeta()
    {
        const long summed = 1_000_000;
        double sum = Zipfian.Zeta(0, summed, 0);
        double rest = (Math.Pow(Zipfian.ScrambledItems, 1 - Zipfian.Theta) - Math.Pow(summed, 1 - Zipfian.Theta)) / (1 - Zipfian.Theta);
        Within(0.9999, 1.0001, (sum + rest) / Zipfian.ScrambledZeta, "zeta of ten billion items");
        YcsbChooser chooser = new(1000, 1000, 1, latest: false);
        Prng random = new(Seed);
        for (int i = 0; i < 100_000; i++)
        {
            Within(0, 999, chooser.Next(ref random), "a scrambled record");
        }
    }

    private static void LatestGrows()
    {
        const int loaded = 1000, step = 2;
        const ulong insertBase = 5000;
        YcsbChooser chooser = new(loaded, insertBase, step, latest: true);
        Prng random = new(Seed);
        for (int i = 0; i < 100; i++)
        {
            Equal(insertBase + (ulong)(i * step), chooser.NextInsert(), "the next insert");
            chooser.Inserted();
        }

        int fresh = 0;
        for (int i = 0; i < 100_000; i++)
        {
            ulong record = chooser.Next(ref random);
            bool isFresh = record >= insertBase && record <= chooser.NextInsert() - step && (record - insertBase) % step == 0;
            Equal(true, isFresh || record < loaded, "a record that is there");
            fresh += isFresh ? 1 : 0;
        }

        double expected = Zipfian.Zeta(0, 100, 0) / Zipfian.Zeta(0, loaded + 100, 0);
        Within(0.95, 1.05, fresh / 100_000.0 / expected, "share of the latest");
    }

    private static void Percentiles()
    {
        Histogram low = new(), high = new();
        for (int i = 1; i <= 1000; i++)
        {
            (i <= 500 ? low : high).Add(i * 1000);
        }

        low.Merge(high);
        double microsecond = Stopwatch.Frequency / 1e6;
        Equal(1000L, low.Count, "merged count");
        Equal(1_000_000L, low.Longest, "the longest");
        Within(500, 535, low.Microseconds(0.5) * microsecond / 1000, "p50");
        Within(990, 1060, low.Microseconds(0.99) * microsecond / 1000, "p99");
        Equal(0.0, new Histogram().Microseconds(0.5), "p50 of nothing");
    }

    private static void MedianSample()
    {
        Cell cell = new("w", 1, "t");
        cell.Samples.AddRange(new long[] { 30, 10, 20 }.Select(rate => new Sample { Operations = rate, Seconds = 1 }));
        Equal(20.0, cell.Median.PerSecond, "median of three");
        cell.Samples.Add(new Sample { Operations = 40, Seconds = 1 });
        Equal(20.0, cell.Median.PerSecond, "the slower of two in the middle");
    }

    private static void CommonPauses()
    {
        Pause[] one = [new(0, 10), new(20, 50), new(60, 61)];
        Pause[] other = [new(5, 25), new(30, 45), new(70, 80)];
        Equal("(30,45) (5,10) (20,25)", string.Join(' ', Pause.OfAll([one, other]).Select(pause => $"({pause.From},{pause.To})")), "pauses of two threads");
        Equal(3, Pause.OfAll([one]).Length, "pauses of one thread");
    }

    private static void BetterPeer()
    {
        Section section = new("test", askedRatio: 0);
        section.Silent = true;
        section.Add("w", 1, "keyva-lsm", new Sample { Operations = 60, Seconds = 1 });
        Equal(null, section.Ratio(section.Cells[0]), "a ratio to nobody");
        section.Add("w", 1, "rocksdb", new Sample { Operations = 30, Seconds = 1 });
        section.Add("w", 1, "db_bench", new Sample { Operations = 40, Seconds = 1 });
        Equal(1.5, section.Ratio(section.Cells[0]), "the ratio to the better");
        Equal("db_bench", section.PeerOf(section.Cells[0]), "the better");
    }

    private static void RequestsSurviveJson()
    {
        BenchOptions options = BenchOptions.Parse(["engine", "--records", "5000", "--threads", "1,2", "--compression", "lz4", "--workloads", "fillseq"]);
        RunRequest request = ChildRun.RoundTrip(new RunRequest { Options = options, Target = "rocksdb", Phase = "fillseq", Threads = 2 });
        Equal(5000L, request.Options.Records, "records in a request");
        Equal("1,2", string.Join(',', request.Options.Threads), "threads in a request");
        Equal(Compression.Lz4, request.Options.Compression, "compression in a request");
        Equal("fillseq", request.Options.Workloads?.Single(), "workloads in a request");
    }

    private static void Equal<T>(T expected, T actual, string what)
    {
        if (!EqualityComparer<T>.Default.Equals(expected, actual))
        {
            throw new InvalidOperationException($"{what}: expected {expected}, not {actual}");
        }
    }

    private static void Within(double least, double most, double actual, string what)
    {
        if (!(actual >= least && actual <= most))
        {
            throw new InvalidOperationException($"{what}: expected {least} to {most}, not {actual}");
        }
    }
}
