using System.Globalization;

namespace KeyVa.Bench;

/// <summary>A command line that cannot be understood; the message says what is wrong with it.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>Block compression of the engines on disk.</summary>
internal enum Compression
{
    None,
    Lz4,
}

/// <summary>What to run and how, read from the command line. Immutable.</summary>
internal sealed record BenchOptions
{
    public const string Usage = """
        usage: KeyVa.Bench SUBCOMMAND [options]

        subcommands
          all           engine, memory, front, switches, allocation, latency, memory-limit, growth and transactions, one after the other
          engine        keyva-lsm against RocksDB, through its C API and db_bench: the workloads of db_bench and YCSB, by profile
          memory        keyva-memory against ConcurrentDictionary
          front         REST and gRPC get against a bare Kestrel that answers a constant
          switches      voluntary context switches and allocations of a single caller
          allocation    bytes on the GC heap per get, put and iterator step; gen 2 collections during a long fill
          latency       put latency of a sustained fill, its longest pauses, and what the disk did in them
          memory-limit  a fill of several gigabytes in a process limited to little memory
          growth        readrandom as the records grow, opening a clean store, replaying a journal
          replay        the last part of growth alone: starting after a crash with a full journal
          bulkload      a bulk load against raw writing of as many bytes, and cold scans of it
          transactions  transfers between accounts against RocksDB's two kinds of transactions; read-only transactions against reads
          gate          what it costs per request to know who asks and to count how often
          resp          redis-benchmark against the Redis protocol and against redis-server, by durability
          resp-memory   memory per key, --records of them (10,000,000), against redis-server
          telemetry     processor time a request with telemetry as by default, and without
          cluster       replicated puts and linearizable gets of three nodes against etcd, and against a single node
          transport     frames and files between two nodes, with keys and without, beside a copy through a socket
          catch-up      a restarted follower and an empty node of a cluster, until they have all, beside a copy through a socket
          replicated-log  puts through the store's own calls on a leader, three nodes in one process
          failover      how long no writes are served after the leader was killed, and stopped
          watchers      puts beside 10,000 open watchers on distinct keys against puts that nobody watches
          index         what a secondary index adds to a put, against a get, a delete and a put
          selftest      checks of the harness itself

        options
          --profile A,B        of engine: small values4k larger-than-cache lz4, or all  (small)
          --records N          records of a data set                              (2,000,000, or as the profile says)
          --key-bytes N        bytes of a key, at least 8                         (16)
          --value-bytes N      bytes of a value                                   (100)
          --threads A,B        thread counts to measure                           (1,2)
          --rounds N           rounds; the median is reported                     (3)
          --cache-bytes N      block cache of each engine                         (512 MiB, or as the profile says)
          --memtable-bytes N   memtable of each engine                            (64 MiB)
          --targets A,B        keyva-lsm rocksdb db_bench keyva-memory dictionary rest bare-kestrel grpc bare-http2
                               keyva keyva-pessimistic rocksdb-optimistic rocksdb-pessimistic (transactions)
                               keyva-resp redis keyva-resp-interval redis-everysec
                               keyva-resp-always redis-always keyva-resp-lsm (resp)
                               keyva-cluster keyva-lease etcd keyva-alone (cluster)
          --workloads A,B      fillseq fillrandom readrandom readmissing readseq readreverse seekrandom
                               readwhilewriting overwrite deleterandom fillsync ycsb-load
                               ycsb-a ycsb-b ycsb-c ycsb-d ycsb-e ycsb-f mix95
                               put get (cluster); log snapshot join (catch-up)
          --durability D       os, interval or always, for all but fillsync       (os)
          --compression C      none or lz4                                        (none)
          --separate-values-from N  keyva-lsm: values from so many bytes on stand apart, 0: none  (0)
          --write-rate N       puts per second beside readwhilewriting, 0: as fast as it goes  (50,000)
          --sync-seconds S     length of one fillsync run                         (3)
          --front-seconds S    length of one front-end run                        (5)
          --connections N      connections (REST) or requests under way (gRPC)    (32)
          --latency-seconds S  length of the sustained fill                       (300)
          --put-rate N         its puts per second, 0: as fast as it goes         (0)
          --limit-bytes N      memory limit of memory-limit                       (512 MiB)
          --limit-fill-bytes N keys and values filled in it                       (4 GB)
          --allocation-records N  records of allocation                           (10,000,000)
          --grow-records A,B   sizes for growth                                   (1, 10 and 100 million)
          --cache-share N      growth: keys and values by block cache             (4)
          --open-bytes N       size of the clean store                            (10 GB)
          --restart-records N  records in the journal when the process is killed  (7,000,000: about 1 GB)
          --latency-every N    time every Nth operation, 0: none                  (31)
          --seed N             seed of all keys and values                        (301)
          --data DIR           where data goes; emptied by every run              (artifacts/bench)
          --markdown           print Markdown instead of the text table
          --json FILE          also write every sample as JSON
          --quick              small sizes, one round: a look at whether all works
        """;

    public string Subcommand { get; init; } = "";

    /// <summary>Names of profiles, or "all".</summary>
    public IReadOnlyList<string> Profiles { get; init; } = ["small"];

    public long Records { get; init; } = 2_000_000;

    /// <summary>What the command line said; null: nothing, and a profile may choose.</summary>
    public long? RecordsGiven { get; init; }

    public long? CacheBytesGiven { get; init; }

    public long? MemtableBytesGiven { get; init; }

    public int KeyBytes { get; init; } = 16;

    public int ValueBytes { get; init; } = 100;

    public IReadOnlyList<int> Threads { get; init; } = [1, 2];

    public int Rounds { get; init; } = 3;

    /// <summary>Null: what the subcommand compares by default.</summary>
    public IReadOnlyList<string>? Targets { get; init; }

    /// <summary>Null: all that the subcommand has.</summary>
    public IReadOnlyList<string>? Workloads { get; init; }

    public Durability Durability { get; init; } = Durability.Os;

    public Compression Compression { get; init; }

    public int SeparateValuesFrom { get; init; }

    public long WriteRate { get; init; } = 50_000;

    public double SyncSeconds { get; init; } = 3;

    public double FrontSeconds { get; init; } = 5;

    public int Connections { get; init; } = 32;

    public IReadOnlyList<long> GrowRecords { get; init; } = [1_000_000, 10_000_000, 100_000_000];

    public int CacheShare { get; init; } = 4;

    public long OpenBytes { get; init; } = 10_000_000_000;

    public long RestartRecords { get; init; } = 7_000_000;

    public double LatencySeconds { get; init; } = 300;

    public long PutRate { get; init; }

    public long LimitBytes { get; init; } = 512L << 20;

    public long LimitFillBytes { get; init; } = 4_000_000_000;

    public long AllocationRecords { get; init; } = 10_000_000;

    public int LatencyEvery { get; init; } = 31;

    public ulong Seed { get; init; } = 301;

    public string Data { get; init; } = Path.Combine("artifacts", "bench");

    public bool Markdown { get; init; }

    public string? JsonFile { get; init; }

    /// <summary>Bytes of memory an lsm target fills before a flush; replay and memory-limit have their own.</summary>
    public long MemtableBytes { get; init; } = 64L << 20;

    /// <summary>Bytes of block cache of an lsm target.</summary>
    public long BlockCacheBytes { get; init; } = 512L << 20;

    public static BenchOptions Parse(ReadOnlySpan<string> args)
    {
        if (args.IsEmpty || args[0].StartsWith('-'))
        {
            throw new UsageException("a subcommand is missing");
        }

        BenchOptions options = new() { Subcommand = args[0] };
        if (args.Contains("--quick"))
        {
            options = options.Quick();
        }

        for (int i = 1; i < args.Length; i++)
        {
            string name = args[i];
            switch (name)
            {
                case "--quick":
                    break;
                case "--markdown":
                    options = options with { Markdown = true };
                    break;
                default:
                    if (++i == args.Length)
                    {
                        throw new UsageException($"{name} needs a value, or is unknown");
                    }

                    options = options.With(name, args[i]);
                    break;
            }
        }

        return options;
    }

    private BenchOptions Quick() => this with
    {
        Records = 100_000,
        RecordsGiven = 100_000,
        Rounds = 1,
        SyncSeconds = 0.5,
        FrontSeconds = 2,
        GrowRecords = [100_000, 400_000],
        RestartRecords = 200_000,
        LatencySeconds = 5,
        LimitFillBytes = 200_000_000,
        AllocationRecords = 1_000_000,
        OpenBytes = 200_000_000,
    };

    private BenchOptions With(string name, string value) => name switch
    {
        "--profile" => this with { Profiles = Items(value) },
        "--records" => this with { Records = Number(name, value, 1000, uint.MaxValue), RecordsGiven = Number(name, value, 1000, uint.MaxValue) },
        "--cache-bytes" => this with { BlockCacheBytes = Number(name, value, 1 << 20, 1L << 40), CacheBytesGiven = Number(name, value, 1 << 20, 1L << 40) },
        "--latency-seconds" => this with { LatencySeconds = Seconds(name, value) },
        "--put-rate" => this with { PutRate = Number(name, value, 0, 100_000_000) },
        "--limit-bytes" => this with { LimitBytes = Number(name, value, 1 << 26, 1L << 40) },
        "--limit-fill-bytes" => this with { LimitFillBytes = Number(name, value, 1 << 20, 1L << 40) },
        "--allocation-records" => this with { AllocationRecords = Number(name, value, 1000, int.MaxValue) },
        "--cache-share" => this with { CacheShare = (int)Number(name, value, 1, 1000) },
        "--open-bytes" => this with { OpenBytes = Number(name, value, 1 << 20, 1L << 40) },
        "--key-bytes" => this with { KeyBytes = (int)Number(name, value, 9, 8192) },
        "--value-bytes" => this with { ValueBytes = (int)Number(name, value, 1, 1 << 20) },
        "--threads" => this with { Threads = [.. Items(value).Select(item => (int)Number(name, item, 1, 64))] },
        "--rounds" => this with { Rounds = (int)Number(name, value, 1, 101) },
        "--targets" => this with { Targets = Items(value) },
        "--workloads" => this with { Workloads = Items(value) },
        "--durability" => this with { Durability = Enumerated<Durability>(name, value) },
        "--compression" => this with { Compression = Enumerated<Compression>(name, value) },
        "--separate-values-from" => this with { SeparateValuesFrom = (int)Number(name, value, 0, 64 << 20) },
        "--write-rate" => this with { WriteRate = Number(name, value, 0, 100_000_000) },
        "--sync-seconds" => this with { SyncSeconds = Seconds(name, value) },
        "--front-seconds" => this with { FrontSeconds = Seconds(name, value) },
        "--connections" => this with { Connections = (int)Number(name, value, 1, 10_000) },
        "--grow-records" => this with { GrowRecords = [.. Items(value).Select(item => Number(name, item, 1000, uint.MaxValue))] },
        "--restart-records" => this with { RestartRecords = Number(name, value, 1000, uint.MaxValue) },
        "--latency-every" => this with { LatencyEvery = (int)Number(name, value, 0, 1_000_000) },
        "--memtable-bytes" => this with { MemtableBytes = Number(name, value, 1 << 20, 1L << 40), MemtableBytesGiven = Number(name, value, 1 << 20, 1L << 40) },
        "--seed" => this with { Seed = (ulong)Number(name, value, 0, long.MaxValue) },
        "--data" => this with { Data = value },
        "--json" => this with { JsonFile = value },
        _ => throw new UsageException($"unknown option {name}"),
    };

    private static string[] Items(string value) =>
        value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    private static long Number(string name, string value, long least, long most) =>
        long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out long number) && number >= least && number <= most
            ? number
            : throw new UsageException($"{name} takes numbers from {least} to {most}, not '{value}'");

    private static double Seconds(string name, string value) =>
        double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds) && seconds is > 0 and <= 3600
            ? seconds
            : throw new UsageException($"{name} takes seconds, not '{value}'");

    private static T Enumerated<T>(string name, string value)
        where T : struct, Enum =>
        !char.IsAsciiDigit(value.FirstOrDefault('0')) && Enum.TryParse(value, ignoreCase: true, out T result)
            ? result
            : throw new UsageException($"{name} takes {string.Join(", ", Enum.GetNames<T>()).ToLowerInvariant()}, not '{value}'");
}
