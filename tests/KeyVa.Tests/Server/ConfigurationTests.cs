using System.Net;
using KeyVa.Server;
using Microsoft.Extensions.Logging;
using Xunit;

namespace KeyVa.Tests.Server;

public sealed class ConfigurationTests : IDisposable
{
    private readonly string _file = Path.Combine(Path.GetTempPath(), $"keyva-{Guid.NewGuid():N}.json");

    public void Dispose() => File.Delete(_file);

    [Fact]
    public void WithoutAnySourceTheDefaultsHold()
    {
        ServerOptions options = Load();
        Assert.Equal("./data", options.Data);
        Assert.Equal(new StoreOptions { WatchHistoryAlways = true }, options.Store);
        Assert.Equal("127.0.0.1:7400", options.RestListen.ToString());
        Assert.Equal("127.0.0.1:7401", options.GrpcListen.ToString());
        Assert.Equal("127.0.0.1:7402", options.ControlListen.ToString());
        Assert.Equal("127.0.0.1:7403", options.RespListen.ToString());
        Assert.Equal(LogLevel.Information, options.LogLevel);
    }

    [Fact]
    public void TheDefaultsOfTheSchemaAreAllowedAndChangeNothing()
    {
        ServerOptions options = Load(flags: SettingsSchema.All.ToDictionary(one => one.Flag, one => one.Default));
        Assert.Equal(new ServerOptions().Store, options.Store);
        Assert.Equal(new ServerOptions().RestListen, options.RestListen);
        Assert.Equal(new ServerOptions().Data, options.Data);
    }

    [Fact]
    public void FlagsWinOverTheEnvironmentAndThatOverTheFile()
    {
        File.WriteAllText(_file, """
            // comments are fine
            { "data": "/file", "memtable": "1MiB", "block-cache": 4096, "background-threads": 3, "sync-interval": "5s", }
            """);
        ServerOptions options = Load(
            new() { ["data"] = "/flag" }, new() { ["KEYVA_DATA"] = "/environment", ["KEYVA_MEMTABLE"] = "2MiB", ["PATH"] = "x" });
        Assert.Equal("/flag", options.Data);
        Assert.Equal(2 << 20, options.Store.MemtableBytes);
        Assert.Equal(4096, options.Store.BlockCacheBytes);
        Assert.Equal(3, options.Store.BackgroundThreads);
        Assert.Equal(TimeSpan.FromSeconds(5), options.Store.SyncInterval);
    }

    [Fact]
    public void EverySettingReachesTheOptions()
    {
        ServerOptions options = Load(new()
        {
            ["--engine"] = "memory",
            ["--durability"] = "interval",
            ["--volatile"] = "true",
            ["--partitions"] = "none",
            ["--rest-listen"] = "*:1",
            ["--grpc-listen"] = "[::1]:2",
            ["--control-listen"] = "localhost:0",
            ["--memory-budget"] = "2GiB",
            ["--block-cache-policy"] = "clock",
            ["--max-value-bytes"] = "64MiB",
            ["--max-batch-bytes"] = "8388608",
            ["--max-transaction-bytes"] = "128KiB",
            ["--max-transactions"] = "9",
            ["--lock-timeout"] = "3s",
            ["--max-queued-writes"] = "7",
            ["--separate-values-from"] = "4KiB",
            ["--compaction"] = "tiered",
            ["--compaction-rate"] = "32MiB",
            ["--journal-segment"] = "8MiB",
            ["--journal-budget"] = "1TiB",
            ["--log-level"] = "debug",
        });
        StoreOptions store = options.Store;
        Assert.Equal((EngineKind.Memory, Durability.Interval, true, false), (store.Engine, store.Durability, store.Volatile, store.CreateDefaultPartition));
        Assert.Equal(new IPEndPoint(IPAddress.IPv6Any, 1), options.RestListen);
        Assert.Equal(new IPEndPoint(IPAddress.IPv6Loopback, 2), options.GrpcListen);
        Assert.Equal(new IPEndPoint(IPAddress.Loopback, 0), options.ControlListen);
        Assert.Equal((2L << 30, BlockCachePolicy.Clock), (store.MemoryBudgetBytes, store.BlockCachePolicy));
        Assert.Equal((128 << 10, 9, TimeSpan.FromSeconds(3)), (store.MaxTransactionBytes, store.MaxTransactions, store.LockTimeout));
        Assert.Equal((64 << 20, 8 << 20, 7), (store.MaxValueBytes, store.MaxBatchBytes, store.MaxQueuedWrites));
        Assert.Equal((CompactionStyle.Tiered, 32L << 20, 4 << 10), (store.Compaction, store.CompactionBytesPerSecond, store.SeparateValuesFrom));
        Assert.Equal((8L << 20, 1L << 40), (store.JournalSegmentBytes, store.JournalBudgetBytes));
        Assert.Equal(LogLevel.Debug, options.LogLevel);
    }

    // One wrong value for each setting; a test below sees to it that none is missing.
    public static TheoryData<string, string> WrongValues => new()
    {
        { "data", "" },
        { "engine", "rocks" },
        { "durability", "Always" },
        { "sync-interval", "100" },
        { "scrub-interval", "41d" },
        { "scrub-rate", "1KiB" },
        { "rest-listen", "7400" },
        { "grpc-listen", "127.1:7401" },
        { "control-listen", "::1:7402" },
        { "resp-listen", "7403" },
        { "resp-max-clients", "0" },
        { "resp-max-request-bytes", "1KiB" },
        { "resp-idle-timeout", "2d" },
        { "resp-threads", "many" },
        { "max-value-bytes", "65MiB" },
        { "max-batch-bytes", "0" },
        { "max-transaction-bytes", "1KiB" },
        { "max-transactions", "0" },
        { "lock-timeout", "2d" },
        { "memory-budget", "-1" },
        { "block-cache", "1.5GiB" },
        { "block-cache-policy", "lru" },
        { "memtable", "64MB" },
        { "compression", "LZ4" },
        { "bottommost-compression", "default" },
        { "zstd-level", "23" },
        { "zstd-dictionary", "2MiB" },
        { "separate-values-from", "65MiB" },
        { "retain-versions-for", "-1s" },
        { "retain-versions", "10001" },
        { "compaction", "universal" },
        { "compaction-rate", "10MB/s" },
        { "background-threads", "-1" },
        { "max-queued-writes", "many" },
        { "split-at", "m,g" },
        { "journal-segment", "1KiB" },
        { "journal-budget", "9999999999999999999999" },
        { "watch-keep", "never" },
        { "watch-history", "32KiB" },
        { "watch-linger", "25h" },
        { "watch-progress", "1ms" },
        { "max-watchers", "0" },
        { "watch-queues", "5GiB" },
        { "partitions", "two" },
        { "volatile", "yes" },
        { "log-level", "loud" },
        { "log-format", "xml" },
        { "operation-log", "on" },
        { "slow-log", "10ms,scans=1s" },
        { "slow-log-length", "10001" },
        { "otlp-endpoint", "collector:4317" },
        { "otlp-protocol", "thrift" },
        { "otlp-interval", "1ms" },
        { "trace-sample", "1.1" },
        { "cluster", new string('c', 65) },
        { "node", "-1" },
        { "peers", "1=127.0.0.1:7404,1=127.0.0.1:7405" },
        { "cluster-join", "yes" },
        { "peer-listen", "everywhere" },
        { "peer-keys", "/etc/" },
        { "acknowledgement", "semi-sync=64" },
        { "resp-reads", "stale" },
        { "election-timeout", "1ms" },
        { "idle-silence", "maybe" },
        { "lease-reads", "perhaps" },
        { "max-clock-drift", "0" },
        { "request-timeout", "99ms" },
        { "initial-admin", "password" },
        { "tls-cert", "/etc/" },
        { "tls-key", "/etc/" },
        { "tls-client-ca", "/etc/" },
        { "tls-client-cert", "sometimes" },
        { "tls-listeners", "rest,peers" },
        { "admin-password-file", "/etc/" },
        { "password-iterations", "1000" },
        { "max-connections", "0" },
        { "max-address-connections", "0" },
        { "max-in-flight", "0" },
        { "max-address-in-flight", "many" },
        { "data-user-requests", "-1" },
        { "data-user-bytes", "2TB" },
        { "data-address-requests", "-1" },
        { "data-address-bytes", "2TB" },
        { "data-total-requests", "-1" },
        { "data-total-bytes", "2TB" },
        { "control-user-requests", "-1" },
        { "control-user-bytes", "2TB" },
        { "control-address-requests", "-1" },
        { "control-address-bytes", "2TB" },
        { "control-total-requests", "-1" },
        { "control-total-bytes", "2TB" },
    };

    [Fact]
    public void EverySettingHasAWrongValueBelow() =>
        Assert.Equal(SettingsSchema.All.Select(one => one.Name).Order(), WrongValues.Select(row => (string)row[0]).Order());

    [Theory]
    [MemberData(nameof(WrongValues))]
    public void AWrongValueNamesTheKeyTheSourceAndWhatIsAllowed(string name, string value)
    {
        Setting setting = SettingsSchema.All.Single(one => one.Name == name);
        string flag = Refused(flags: new() { [name] = value });
        Assert.Contains($"'{setting.Flag}'", flag);
        Assert.Contains("command line", flag);
        Assert.Contains(setting.Allowed, flag);
        string environment = Refused(environment: new() { [setting.EnvironmentVariable] = value });
        Assert.Contains($"'{setting.EnvironmentVariable}'", environment);
        Assert.Contains("the environment", environment);
        Assert.Contains(setting.Allowed, environment);
        File.WriteAllText(_file, $$"""{"{{name}}": "{{value}}"}""");
        string file = Refused();
        Assert.Contains($"'{name}'", file);
        Assert.Contains(_file, file);
        Assert.Contains(setting.Allowed, file);
    }

    [Fact]
    public void AnUnknownKeyOfAnySourceIsRefused()
    {
        Assert.Contains("'--dta'", Refused(flags: new() { ["--dta"] = "x" }));
        Assert.Contains("'KEYVA_DTA'", Refused(environment: new() { ["KEYVA_DTA"] = "x" }));
        File.WriteAllText(_file, """{"Data": "x"}""");
        string file = Refused();
        Assert.Contains("'Data'", file);
        Assert.Contains("rest-listen", file);
    }

    [Fact]
    public void AWrongValueIsRefusedAlsoWhereAStrongerSourceOverridesIt()
    {
        File.WriteAllText(_file, """{"engine": "rocks"}""");
        Assert.Contains("'engine'", Refused(flags: new() { ["engine"] = "lsm" }));
    }

    [Theory]
    [InlineData("[]", "one JSON object")]
    [InlineData("{\"data\": ", "not valid JSON")]
    [InlineData("{\"data\": \"a\", \"data\": \"b\"}", "'data' stands twice")]
    [InlineData("{\"data\": null}", "'data'")]
    [InlineData("{\"\\ud800\": 1}", "not valid JSON")]
    [InlineData("{\"data\": \"\\ud800\"}", "not valid JSON")]
    [InlineData("{\"data\": [\"a\"]}", "'data'")]
    public void ABrokenFileIsRefused(string text, string expected)
    {
        File.WriteAllText(_file, text);
        string message = Refused();
        Assert.Contains(expected, message);
        Assert.Contains(_file, message);
    }

    [Fact]
    public void AFileThatIsNamedMustExist() => Assert.Contains(_file, Refused());

    [Fact]
    public void TheEnvironmentMayNameTheFile()
    {
        File.WriteAllText(_file, """{"data": "/elsewhere"}""");
        ServerOptions options = ServerConfiguration.Load(
            new Dictionary<string, string>(), null, [new("KEYVA_CONFIG", _file), new("KEYVA_SERVER", "10.0.0.1:7401")]);
        Assert.Equal("/elsewhere", options.Data);
    }

    [Fact]
    public void EverySettingSaysWhereItComesFrom()
    {
        File.WriteAllText(_file, """{ "memtable": "1MiB", "data": "/file" }""");
        ServerOptions options = Load(new() { ["--data"] = "/flag" }, new() { ["KEYVA_LOG_LEVEL"] = "debug", ["KEYVA_DATA"] = "/environment" });
        Dictionary<string, (string Value, string Source)> settings =
            EffectiveSetting.All(options).ToDictionary(static one => one.Setting.Name, static one => (one.Value, one.Source));
        Assert.Equal(SettingsSchema.All.Count, settings.Count);
        Assert.Equal(("/flag", "--data"), settings["data"]);
        Assert.Equal(("debug", "KEYVA_LOG_LEVEL"), settings["log-level"]);
        Assert.Equal(("1MiB", $"the file '{_file}'"), settings["memtable"]);
        Assert.Equal(("lsm", "default"), settings["engine"]);

        // A program that makes its own options is not said to have the defaults.
        ServerOptions made = new() { RespThreads = 3 };
        Assert.Equal("program", EffectiveSetting.All(made).Single(static one => one.Setting.Name == "resp-threads").Source);
        Assert.Equal("default", EffectiveSetting.All(made).Single(static one => one.Setting.Name == "data").Source);
    }

    [Theory]
    [InlineData("off", "get", long.MaxValue)]
    [InlineData("0", "scan", 0)]
    [InlineData("10ms", "commit", 10_000)]
    [InlineData("250us,get=off", "put", 250)]
    [InlineData("250us,get=off", "get", long.MaxValue)]
    [InlineData("1s, scan=1.5s , bulk=off", "scan", 1_500_000)]
    public void SlowThresholdsAreReadByOperation(string text, string operation, long microseconds)
    {
        Assert.True(SlowThresholds.TryParse(text, out SlowThresholds? thresholds));
        string[] words = ["get", "put", "remove", "write", "scan", "bulk", "commit", "other"];
        long ticks = thresholds.TicksOf((Operation)Array.IndexOf(words, operation));
        Assert.Equal(microseconds, ticks == long.MaxValue ? ticks : (long)System.Diagnostics.Stopwatch.GetElapsedTime(0, ticks).TotalMicroseconds);
    }

    [Theory]
    [InlineData("")]
    [InlineData("10")]
    [InlineData("-1ms")]
    [InlineData("10ms,")]
    [InlineData("10ms,get")]
    [InlineData("10ms,get=")]
    [InlineData("get=10ms")]
    [InlineData("25h")]
    [InlineData("1e3ms")]
    [InlineData("NaNms")]
    public void OtherSlowThresholdsAreRefused(string text) => Assert.False(SlowThresholds.TryParse(text, out _));

    [Fact]
    public void SettingsThatContradictEachOtherAreRefused()
    {
        Assert.Contains("'volatile'", Refused(flags: new() { ["volatile"] = "true" }));
        Assert.Contains("'journal-budget'", Refused(flags: new() { ["journal-budget"] = "1MiB" }));
    }

    private ServerOptions Load(Dictionary<string, string>? flags = null, Dictionary<string, string>? environment = null) =>
        ServerConfiguration.Load(flags ?? [], File.Exists(_file) ? _file : null, environment ?? []);

    private string Refused(Dictionary<string, string>? flags = null, Dictionary<string, string>? environment = null)
    {
        bool named = flags is null && environment is null;
        return Assert.Throws<ConfigurationException>(() => ServerConfiguration.Load(
            flags ?? [], named || File.Exists(_file) ? _file : null, environment ?? [])).Message;
    }
}
