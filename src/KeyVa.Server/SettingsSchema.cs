using System.Collections.Frozen;
using System.Globalization;
using System.Net;
using KeyVa.Cluster;
using KeyVa.Server.Identity;
using Microsoft.Extensions.Logging;

namespace KeyVa.Server;

/// <summary>
/// The one table of everything that can be configured. The file, the environment, the flags of <c>keyva serve</c> and the
/// documentation are all read from it, so they cannot disagree.
/// </summary>
public static class SettingsSchema
{
    /// <summary>How the environment variables of the server begin.</summary>
    public const string EnvironmentPrefix = "KEYVA_";

    private const long MiB = 1 << 20;
    private const long GiB = 1 << 30;
    private const long TiB = 1L << 40;

    /// <summary>All settings, in the order in which they are explained.</summary>
    public static IReadOnlyList<Setting> All { get; } =
    [
        Text("data", new ServerOptions().Data, "a path", "The data folder; created if it is missing.",
            static text => text.Length > 0 && !text.Contains('\0'),
            static (options, text) => options with { Data = text }),
        Word("engine", "The engine of the partition that a new data folder begins with.",
            [("lsm", EngineKind.Lsm), ("memory", EngineKind.Memory)],
            static (store, engine) => store with { Engine = engine }),
        Word("durability", "When a write is acknowledged: after fsync, with an fsync every sync-interval, or without one.",
            [("always", Durability.Always), ("interval", Durability.Interval), ("os", Durability.Os)],
            static (store, durability) => store with { Durability = durability }),
        Text("acknowledgement", "sync", "async, semi-sync=K with 1 to 63 replicas, sync", "When writes that do not say so themselves are answered, in all partitions of a cluster that have no setting of their own: on the leader's disk, on K replicas' disks too, or committed.",
            static text => Acknowledgement.TryParse(text, out _),
            static (options, text) => Acknowledgement.TryParse(text, out Acknowledgement asked) ? options with { Store = options.Store with { Acknowledgement = asked } } : options),
        Duration("sync-interval", new StoreOptions().SyncInterval, 1, 60_000,
            "Between two syncs of the journal under durability interval.",
            static (store, time) => store with { SyncInterval = time }),
        Address("rest-listen", "Where REST listens.", new ServerOptions().RestListen,
            static (options, address) => options with { RestListen = address }),
        Address("grpc-listen", "Where the gRPC data plane listens.", new ServerOptions().GrpcListen,
            static (options, address) => options with { GrpcListen = address }),
        Address("control-listen", "Where the gRPC control plane listens.", new ServerOptions().ControlListen,
            static (options, address) => options with { ControlListen = address }),
        Address("resp-listen", "Where Redis clients are listened for.", new ServerOptions().RespListen,
            static (options, address) => options with { RespListen = address }),
        Text("cluster", "", "a name of up to 64 characters, or nothing", "The cluster that the server is a node of; without it the server is alone.",
            static text => text.Length <= 64,
            static (options, text) => options with { Cluster = text }),
        Number("node", 0, 0, int.MaxValue, "The server's number in its cluster, from 1 on; never given to another server again.",
            static (options, number) => options with { Node = number }),
        Text("peers", "", "NUMBER=HOST:PORT of each node, with commas between them; behind a slash the node's public key; or nothing", "Where the cluster's nodes listen for each other, this one among them; at the first start, who they are.",
            static text => PeerList.TryParse(text, out _),
            static (options, text) => PeerList.TryParse(text, out Dictionary<long, ClusterPeer>? peers) ? options with { Peers = peers! } : options),
        new("cluster-join", SettingKind.Switch, "false", "true or false", "At the first start: wait to be added with 'keyva admin cluster add-node'.", (ref ServerOptions options, string text) =>
        {
            options = options with { ClusterJoin = text == "true" };
            return text is "true" or "false";
        }),
        Text("peer-listen", "", "an IP address, or * for all, or nothing", "Where to listen for peers, if it is not the address that they are told.",
            static text => text is "" or "*" || IPAddress.TryParse(text, out _),
            static (options, text) => options with { PeerListen = text }),
        Text("peer-keys", "", "the path of a file, or nothing", "The file with this node's keys, made by 'keyva keygen'; without it peers must be on loopback.",
            IsFileOrNothing, static (options, text) => options with { PeerKeys = text }),
        Duration("election-timeout", new ServerOptions().ElectionTimeout, 50, 60_000,
            "A leader that is silent for so long is replaced; the same on all nodes.",
            static (options, time) => options with { ElectionTimeout = time }),
        new("idle-silence", SettingKind.Switch, "true", "true or false", "In a cluster: partitions that nobody asks anything of send no heartbeats; the nodes tell each other that they live.", (ref ServerOptions options, string text) =>
        {
            options = options with { FallsSilent = text == "true" };
            return text is "true" or "false";
        }),
        new("lease-reads", SettingKind.Switch, "false", "true or false", "In a cluster: a leader answers linearizable reads without asking the others while its lease lasts. Safe only while clocks differ in rate by no more than max-clock-drift and none jumps.", (ref ServerOptions options, string text) =>
        {
            options = options with { LeaseReads = text == "true" };
            return text is "true" or "false";
        }),
        Number("max-clock-drift", new ServerOptions().MaxClockDrift, 1, 100,
            "Percent by which one node's clock may go faster than another's; leases are shorter than election-timeout by that.",
            static (options, percent) => options with { MaxClockDrift = percent }),
        Duration("request-timeout", new ServerOptions().RequestTimeout, 100, 3_600_000,
            "How long a write waits for a leader, or for its result.",
            static (options, time) => options with { RequestTimeout = time }),
        ServerWord("resp-reads", "In a cluster: Redis clients read what was acknowledged anywhere before, for which the leader is asked, or what the node has.",
            [("linearizable", false), ("local", true)],
            static (options, local) => options with { RespReadsLocal = local }),
        Number("resp-max-clients", new ServerOptions().RespMaxClients, 1, 1_000_000,
            "Connections of Redis clients that are open at once; the next one is told so and closed.",
            static (options, count) => options with { RespMaxClients = count }).AtRunTime(),
        Size("resp-max-request-bytes", new ServerOptions().RespMaxRequestBytes, 64 << 10, 512 * MiB,
            "The longest command of a Redis client; one value of the largest size always fits.",
            static (options, bytes) => options with { RespMaxRequestBytes = (int)bytes }),
        Duration("resp-idle-timeout", new ServerOptions().RespIdleTimeout, 0, 24L * 3600 * 1000,
            "A Redis client that sends nothing for so long is cut off, unless it is subscribed; 0s: never.",
            static (options, time) => options with { RespIdleTimeout = time }).AtRunTime(),
        Number("resp-threads", new ServerOptions().RespThreads, 0, 256,
            "Threads that serve Redis clients; 0: half as many as there are processors, at least one.",
            static (options, count) => options with { RespThreads = count }),
        ServerWord("initial-admin", "How a first administrator comes to be where there are no users: token makes the user admin and writes its token to the file ADMIN-TOKEN of the data folder.",
            [("none", InitialAdmin.None), ("token", InitialAdmin.Token)],
            static (options, how) => options with { InitialAdmin = how }),
        Text("admin-password-file", "", "the path of a file, or nothing", "A file with the password of the first administrator, who is made where there are no users.",
            IsFileOrNothing, static (options, text) => options with { AdminPasswordFile = text }),
        Number("password-iterations", new ServerOptions().PasswordIterations, PasswordHash.MinIterations, PasswordHash.MaxIterations,
            "Iterations of PBKDF2 for passwords that are set from now on: the more, the longer a guess takes, and a first login too.",
            static (options, count) => options with { PasswordIterations = count }),
        Text("tls-cert", "", "the path of a file, or nothing", "The server's certificate in PEM form, with those between it and its authority; nothing: no TLS. Read again when it changes, and on SIGHUP.",
            IsFileOrNothing, static (options, text) => options with { Tls = options.Tls with { CertificateFile = text } }),
        Text("tls-key", "", "the path of a file, or nothing", "Its private key in PEM form; nothing: in the same file.",
            IsFileOrNothing, static (options, text) => options with { Tls = options.Tls with { KeyFile = text } }),
        Text("tls-client-ca", "", "the path of a file, or nothing", "The authorities that vouch for clients, in PEM form.",
            IsFileOrNothing, static (options, text) => options with { Tls = options.Tls with { ClientAuthorityFile = text } }),
        ServerWord("tls-client-cert", "Whether clients are asked for certificates: not, if they have one, or else they are not let in.",
            [("none", ClientCertificates.None), ("optional", ClientCertificates.Optional), ("required", ClientCertificates.Required)],
            static (options, whether) => options with { Tls = options.Tls with { ClientCertificates = whether } }),
        Text("tls-listeners", string.Join(',', TlsOptions.AllListeners), "rest, grpc, control and resp, or some of them, with commas between", "The listeners that speak TLS, if there is a certificate.",
            static text => text.Split(',').All(static one => TlsOptions.AllListeners.Contains(one)),
            static (options, text) => options with { Tls = options.Tls with { Listeners = text.Split(',') } }),
        .. PlaneSettings("data", new ServerOptions().DataLimits, static options => options.DataLimits, static (options, limits) => options with { DataLimits = limits }),
        .. PlaneSettings("control", new ServerOptions().ControlLimits, static options => options.ControlLimits, static (options, limits) => options with { ControlLimits = limits }),
        Number("max-connections", new ServerOptions().MaxConnections, 1, 1_000_000,
            "Connections that one listener has open at once; the next one is closed.",
            static (options, count) => options with { MaxConnections = count }),
        Number("max-address-connections", new ServerOptions().MaxAddressConnections, 1, 1_000_000,
            "Connections that one address has open at one listener; of IPv6, a network of 64 bits is one address.",
            static (options, count) => options with { MaxAddressConnections = count }),
        Number("max-in-flight", new ServerOptions().MaxInFlight, 1, 10_000_000,
            "Requests under way at once at one listener of HTTP, streams among them; the next one is refused.",
            static (options, count) => options with { MaxInFlight = count }),
        Number("max-address-in-flight", new ServerOptions().MaxAddressInFlight, 1, 10_000_000,
            "Requests of one address under way at once at one listener of HTTP.",
            static (options, count) => options with { MaxAddressInFlight = count }),
        Size("max-value-bytes", new StoreOptions().MaxValueBytes, 1, 64 * MiB, "The longest value.",
            static (store, bytes) => store with { MaxValueBytes = (int)bytes }),
        Size("max-batch-bytes", new StoreOptions().MaxBatchBytes, 1, 64 * MiB,
            "The largest batch in bytes of keys and values; one value of the largest size always fits.",
            static (store, bytes) => store with { MaxBatchBytes = (int)bytes }),
        Size("max-transaction-bytes", new StoreOptions().MaxTransactionBytes, 64 << 10, 64 * MiB,
            "What one transaction may hold of what it has written and must find unchanged; its commit is one write of as much.",
            static (store, bytes) => store with { MaxTransactionBytes = (int)bytes }),
        Number("max-transactions", new StoreOptions().MaxTransactions, 1, 1_000_000,
            "Transactions that may be under way at once; the next one is refused as busy.",
            static (store, count) => store with { MaxTransactions = count }).AtRunTime(),
        Duration("lock-timeout", new StoreOptions().LockTimeout, 0, 24L * 3600 * 1000,
            "How long a call waits for the locks that transactions hold, a write outside of a transaction too.",
            static (store, time) => store with { LockTimeout = time }).AtRunTime(),
        Size("memory-budget", new StoreOptions().MemoryBudgetBytes, 0, TiB,
            "What all lsm partitions use together: memtables, block cache, open tables, cursors; 0B: follows from the sizes below and the memory there is.",
            static (store, bytes) => store with { MemoryBudgetBytes = bytes }),
        Size("block-cache", new StoreOptions().BlockCacheBytes, 0, TiB, "The block cache that all lsm partitions share.",
            static (store, bytes) => store with { BlockCacheBytes = bytes }),
        Word("block-cache-policy", "What stays in the block cache: S3-FIFO keeps what is read often when everything is scanned, clock is close to LRU.",
            [("s3-fifo", BlockCachePolicy.S3Fifo), ("clock", BlockCachePolicy.Clock)],
            static (store, policy) => store with { BlockCachePolicy = policy }),
        Size("memtable", new StoreOptions().MemtableBytes, MiB / 16, 4 * GiB,
            "What an lsm partition gathers in memory before it writes a table.",
            static (store, bytes) => store with { MemtableBytes = bytes }),
        Word("compression", "How the tables of lsm partitions are compressed. All but none need a library of the system: liblz4-1, libsnappy1v5, libzstd1.",
            [("none", Compression.None), ("lz4", Compression.Lz4), ("snappy", Compression.Snappy), ("zstandard", Compression.Zstandard)],
            static (store, compression) => store with { Compression = compression }),
        Word("bottommost-compression", "The compression of the deepest level, where most of the data is.",
            [("same", (Compression?)null), ("none", Compression.None), ("lz4", Compression.Lz4), ("snappy", Compression.Snappy), ("zstandard", Compression.Zstandard)],
            static (store, compression) => store with { BottommostCompression = compression }),
        Number("zstd-level", new StoreOptions().ZstdLevel, 1, 22, "How hard zstandard tries.",
            static (store, level) => store with { ZstdLevel = level }),
        Size("zstd-dictionary", new StoreOptions().ZstdDictionaryBytes, 0, MiB,
            "The dictionary that is trained for each table under zstandard: 0B for none, or at least 1KiB.",
            static (store, bytes) => store with { ZstdDictionaryBytes = (int)bytes }),
        Size("separate-values-from", new StoreOptions().SeparateValuesFrom, 0, Limits.MaxValueBytesCeiling,
            "Values from this size on stand in value files of their own, which compactions seldom copy: 0B for never, or at least 64B.",
            static (store, bytes) => store with { SeparateValuesFrom = (int)bytes }),
        Word("compaction", "How lsm partitions keep their tables together: leveled takes least space, tiered writes least.",
            [("leveled", CompactionStyle.Leveled), ("tiered", CompactionStyle.Tiered)],
            static (store, style) => store with { Compaction = style }),
        Size("compaction-rate", new StoreOptions().CompactionBytesPerSecond, 0, TiB,
            "What all compactions together may write per second; 0B: no limit.",
            static (store, bytes) => store with { CompactionBytesPerSecond = bytes }).AtRunTime(),
        Duration("retain-versions-for", new StoreOptions().RetainVersionsFor, 0, 3650L * 24 * 3600 * 1000,
            "How long a version that was overwritten, removed or has expired can still be read and rolled back to; 0ms: only what open snapshots see stays.",
            static (store, time) => store with { RetainVersionsFor = time }),
        Number("retain-versions", new StoreOptions().RetainVersions, 0, 10_000,
            "So many versions of each key, the newest ones, stay in any case, removals among them; 0: the newest alone.",
            static (store, count) => store with { RetainVersions = count }),
        Number("background-threads", new StoreOptions().BackgroundThreads, 1, 64,
            "Threads for flushes, compactions and checkpoints.",
            static (store, count) => store with { BackgroundThreads = count }),
        Number("max-queued-writes", new StoreOptions().MaxQueuedWrites, 1, 1_000_000,
            "Writes that may wait for one partition; the next one is refused as busy.",
            static (store, count) => store with { MaxQueuedWrites = count }),
        Size("journal-segment", new StoreOptions().JournalSegmentBytes, MiB, GiB, "One file of the journal.",
            static (store, bytes) => store with { JournalSegmentBytes = bytes }),
        Size("journal-budget", new StoreOptions().JournalBudgetBytes, MiB, TiB,
            "Past this much journal, partitions that hold it back are flushed.",
            static (store, bytes) => store with { JournalBudgetBytes = bytes }),
        Duration("scrub-interval", new StoreOptions().ScrubInterval, 0, 40L * 24 * 3600 * 1000,
            "How often all files are read in the background in search of damage; 0ms: never. The first time an hour after opening.",
            static (store, time) => store with { ScrubInterval = time }),
        Size("scrub-rate", new StoreOptions().ScrubBytesPerSecond, 64 << 10, TiB,
            "Bytes per second read for that, at most.",
            static (store, bytes) => store with { ScrubBytesPerSecond = bytes }).AtRunTime(),
        Word("watch-keep", "Whether the newest changes are kept in memory all the time, so that watches resume after a restart, or only from a first watch to watch-linger after the last.",
            [("always", true), ("watched", false)],
            static (store, always) => store with { WatchHistoryAlways = always }),
        Size("watch-history", new StoreOptions().WatchHistoryBytes, MiB / 16, 4 * GiB,
            "The memory for them, part of the memory budget: how far back a watch can begin, and how far behind a slow one may fall.",
            static (store, bytes) => store with { WatchHistoryBytes = bytes }),
        Duration("watch-linger", new StoreOptions().WatchLinger, 0, 24L * 3600 * 1000,
            "How long they are still kept after the last watch ended, where watch-keep is watched.",
            static (store, time) => store with { WatchLinger = time }),
        Duration("watch-progress", new StoreOptions().WatchProgressInterval, 10, 3600 * 1000,
            "How often a watch with nothing to tell says how far it is.",
            static (store, time) => store with { WatchProgressInterval = time }),
        Number("max-watchers", new StoreOptions().MaxWatchers, 1, 1_000_000, "Watches open at a time; the next one is refused as busy.",
            static (store, count) => store with { MaxWatchers = count }),
        Size("watch-queues", new StoreOptions().WatchQueueBytes, MiB / 16, 4 * GiB,
            "What waits for the readers of all watches together; past it the slow ones fall back on watch-history.",
            static (store, bytes) => store with { WatchQueueBytes = bytes }),
        Word("partitions", "Whether a new data folder begins with partitions over all keys (one, unless split-at says more), or with none.",
            [("default", true), ("none", false)],
            static (store, create) => store with { CreateDefaultPartition = create }),
        Text("split-at", "", "keys in rising order with commas between, or nothing; any byte of a key may be \\xNN, a comma is \\x2c, a backslash \\x5c", "At which keys a new data folder is split into partitions: one more than there are keys. The same on all first nodes of a cluster; a node that joins has the cluster's.",
            static text => KeyList.TryParse(text, out _),
            static (options, text) => KeyList.TryParse(text, out IReadOnlyList<ReadOnlyMemory<byte>>? keys) ? options with { Store = options.Store with { SplitAt = keys } } : options),
        Switch("volatile", "The first partition has no journal and no files: everything is lost at exit (memory engine only).",
            static (store, on) => store with { Volatile = on }),
        Level().AtRunTime(),
        .. TelemetrySettings.All,
    ];

    internal static FrozenDictionary<string, Setting> ByName { get; } = All.ToFrozenDictionary(setting => setting.Name);

    internal static FrozenDictionary<string, Setting> ByVariable { get; } =
        All.ToFrozenDictionary(setting => setting.EnvironmentVariable);

    /// <summary>A text that is taken as it is, once checked.</summary>
    internal static Setting Text(
        string name, string defaultText, string allowed, string description,
        Func<string, bool> check, Func<ServerOptions, string, ServerOptions> apply) =>
        Text(name, defaultText, allowed, description, (options, text) => check(text) ? apply(options, text) : null);

    /// <summary>A text; what it makes of the options, or null if it is not allowed.</summary>
    internal static Setting Text(
        string name, string defaultText, string allowed, string description, Func<ServerOptions, string, ServerOptions?> apply) =>
        new(name, SettingKind.Text, defaultText, allowed, description, (ref ServerOptions options, string text) =>
        {
            if (apply(options, text) is not { } changed)
            {
                return false;
            }

            options = changed;
            return true;
        });

    private static Setting Word<T>(
        string name, string description, (string Word, T Value)[] words, Func<StoreOptions, T, StoreOptions> apply) =>
        Word(name, description, words, (ServerOptions options, T value) => options with { Store = apply(options.Store, value) });

    internal static Setting Word<T>(
        string name, string description, (string Word, T Value)[] words, Func<ServerOptions, T, ServerOptions> apply) =>
        new(name, SettingKind.Text, words[0].Word, string.Join(", ", words.Select(word => word.Word)), description,
            (ref ServerOptions options, string text) =>
            {
                foreach ((string word, T value) in words)
                {
                    if (word == text)
                    {
                        options = apply(options, value);
                        return true;
                    }
                }

                return false;
            });

    private static bool IsFileOrNothing(string text) => !text.Contains('\0') && !text.EndsWith('/');

    private static Setting ServerWord<T>(
        string name, string description, (string Word, T Value)[] words, Func<ServerOptions, T, ServerOptions> apply) =>
        new(name, SettingKind.Text, words[0].Word, string.Join(", ", words.Select(word => word.Word)), description,
            (ref ServerOptions options, string text) =>
            {
                foreach ((string word, T value) in words)
                {
                    if (word == text)
                    {
                        options = apply(options, value);
                        return true;
                    }
                }

                return false;
            });

    private static IEnumerable<Setting> PlaneSettings(
        string plane, PlaneLimits defaults, Func<ServerOptions, PlaneLimits> get, Func<ServerOptions, PlaneLimits, ServerOptions> set)
    {
        string about = plane == "data" ? "for keys" : "for the control plane";
        yield return Requests($"{plane}-user-requests", defaults.UserRequests, $"Requests {about} a second of one user; 0: no limit.", static (limits, count) => limits with { UserRequests = count });
        yield return Requests($"{plane}-address-requests", defaults.AddressRequests, $"Requests {about} a second from one address; 0: no limit.", static (limits, count) => limits with { AddressRequests = count });
        yield return Requests($"{plane}-total-requests", defaults.TotalRequests, $"Requests {about} a second of all; 0: no limit.", static (limits, count) => limits with { TotalRequests = count });
        yield return Bytes($"{plane}-user-bytes", defaults.UserBytes, $"Bytes {about} a second of one user, received and sent; 0B: no limit.", static (limits, bytes) => limits with { UserBytes = bytes });
        yield return Bytes($"{plane}-address-bytes", defaults.AddressBytes, $"Bytes {about} a second from and to one address; 0B: no limit.", static (limits, bytes) => limits with { AddressBytes = bytes });
        yield return Bytes($"{plane}-total-bytes", defaults.TotalBytes, $"Bytes {about} a second of all; 0B: no limit.", static (limits, bytes) => limits with { TotalBytes = bytes });

        Setting Requests(string name, long value, string description, Func<PlaneLimits, long, PlaneLimits> apply) => Number(
            name, (int)value, 0, 100_000_000, description, (ServerOptions options, int count) => set(options, apply(get(options), count)));

        Setting Bytes(string name, long value, string description, Func<PlaneLimits, long, PlaneLimits> apply) => Size(
            name, value, 0, TiB, description, (ServerOptions options, long bytes) => set(options, apply(get(options), bytes)));
    }

    private static Setting Size(
        string name, long defaultBytes, long min, long max, string description,
        Func<StoreOptions, long, StoreOptions> apply) =>
        Size(name, defaultBytes, min, max, description,
            (ServerOptions options, long bytes) => options with { Store = apply(options.Store, bytes) });

    private static Setting Size(
        string name, long defaultBytes, long min, long max, string description,
        Func<ServerOptions, long, ServerOptions> apply) =>
        new(name, SettingKind.Size, Units.FormatSize(defaultBytes),
            $"{Units.FormatSize(min)} to {Units.FormatSize(max)}: {Units.SizeForms}", description,
            (ref ServerOptions options, string text) =>
            {
                if (!Units.TryParseSize(text, out long bytes) || bytes < min || bytes > max)
                {
                    return false;
                }

                options = apply(options, bytes);
                return true;
            });

    private static Setting Duration(
        string name, TimeSpan defaultTime, long minMilliseconds, long maxMilliseconds, string description,
        Func<StoreOptions, TimeSpan, StoreOptions> apply) =>
        Duration(name, defaultTime, minMilliseconds, maxMilliseconds, description,
            (ServerOptions options, TimeSpan time) => options with { Store = apply(options.Store, time) });

    internal static Setting Duration(
        string name, TimeSpan defaultTime, long minMilliseconds, long maxMilliseconds, string description,
        Func<ServerOptions, TimeSpan, ServerOptions> apply) =>
        new(name, SettingKind.Duration, Units.FormatDuration(defaultTime),
            $"{minMilliseconds}ms to {maxMilliseconds}ms: {Units.DurationForms}", description,
            (ref ServerOptions options, string text) =>
            {
                // Where nothing is allowed, it is: elsewhere a duration of zero is a mistake.
                long milliseconds = 0;
                bool isZero = minMilliseconds == 0 && text is ("0ms" or "0s" or "0m" or "0h" or "0d");
                if (!isZero && (!Units.TryParseDuration(text, "", out milliseconds)
                    || milliseconds < minMilliseconds || milliseconds > maxMilliseconds))
                {
                    return false;
                }

                options = apply(options, TimeSpan.FromMilliseconds(milliseconds));
                return true;
            });

    private static Setting Number(
        string name, int defaultNumber, int min, int max, string description, Func<StoreOptions, int, StoreOptions> apply) =>
        Number(name, defaultNumber, min, max, description,
            (ServerOptions options, int number) => options with { Store = apply(options.Store, number) });

    internal static Setting Number(
        string name, int defaultNumber, int min, int max, string description, Func<ServerOptions, int, ServerOptions> apply) =>
        new(name, SettingKind.Number, defaultNumber.ToString(CultureInfo.InvariantCulture),
            $"a whole number from {min} to {max}", description,
            (ref ServerOptions options, string text) =>
            {
                if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number)
                    || number < min || number > max)
                {
                    return false;
                }

                options = apply(options, number);
                return true;
            });

    private static Setting Switch(string name, string description, Func<StoreOptions, bool, StoreOptions> apply) =>
        new(name, SettingKind.Switch, "false", "true or false", description, (ref ServerOptions options, string text) =>
        {
            if (text is not ("true" or "false"))
            {
                return false;
            }

            options = options with { Store = apply(options.Store, text == "true") };
            return true;
        });

    private static Setting Address(
        string name, string description, IPEndPoint defaultAddress, Func<ServerOptions, IPEndPoint, ServerOptions> apply) =>
        new(name, SettingKind.Text, defaultAddress.ToString(),
            "an IP address (or localhost, or * for all) and a port, such as 127.0.0.1:7400 or [::1]:7400", description,
            (ref ServerOptions options, string text) =>
            {
                if (!ListenAddress.TryParse(text, out IPEndPoint? address))
                {
                    return false;
                }

                options = apply(options, address);
                return true;
            });

    private static Setting Level()
    {
        (string Word, LogLevel Level)[] levels =
        [
            ("information", LogLevel.Information), ("trace", LogLevel.Trace), ("debug", LogLevel.Debug),
            ("warning", LogLevel.Warning), ("error", LogLevel.Error), ("none", LogLevel.None),
        ];
        return new Setting("log-level", SettingKind.Text, "information", "trace, debug, information, warning, error, none",
            "The least important messages that are still logged.", (ref ServerOptions options, string text) =>
            {
                foreach ((string word, LogLevel level) in levels)
                {
                    if (word == text)
                    {
                        options = options with { LogLevel = level };
                        return true;
                    }
                }

                return false;
            });
    }
}
