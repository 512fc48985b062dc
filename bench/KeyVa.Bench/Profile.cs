using System.Globalization;

namespace KeyVa.Bench;

/// <summary>
/// One set of sizes that the engines are compared with. Options given on the command line win over what a profile says.
/// <see cref="Minutes"/> is what one round with one thread count takes, all three targets, on two processors: for orientation.
/// </summary>
internal sealed record Profile(string Name, string Data, double Minutes, Func<BenchOptions, BenchOptions> Apply)
{
    public const string All = "all";

    private const long SmallCache = 64L << 20;

    public static IReadOnlyList<Profile> Known { get; } =
    [
        new("small", "2 million records of 100 bytes, in the cache", 3, static options => options),
        new("values4k", "values of 4 KiB, four times the cache", 4, static options => options with
        {
            ValueBytes = 4096,
            Records = options.RecordsGiven ?? TimesCache(options, 4096, options.BlockCacheBytes),
        }),
        new("larger-than-cache", "records of 100 bytes, four times a cache of 64 MiB", 3.5, static options => options with
        {
            BlockCacheBytes = options.CacheBytesGiven ?? SmallCache,
            Records = options.RecordsGiven ?? TimesCache(options, options.ValueBytes, options.CacheBytesGiven ?? SmallCache),
        }),
        new("lz4", "as small, blocks compressed with LZ4", 3, static options => options with { Compression = Compression.Lz4 }),
    ];

    public static IReadOnlyList<Profile> Select(IReadOnlyList<string> names) => names is [All]
        ? Known
        : [.. names.Select(name => Known.FirstOrDefault(profile => profile.Name == name) ?? throw new UsageException($"there is no profile '{name}'"))];

    /// <summary>What the reader must know of the records.</summary>
    public static string Records(BenchOptions options) => string.Create(
        CultureInfo.InvariantCulture,
        $"{options.Records:N0} records, keys of {options.KeyBytes} bytes, values of {options.ValueBytes} bytes (compressible by half)");

    /// <summary>The same beside a block cache.</summary>
    public static string Sizes(BenchOptions options) => string.Create(
        CultureInfo.InvariantCulture,
        $"{Records(options)}: {options.Records * (options.KeyBytes + options.ValueBytes) / (double)options.BlockCacheBytes:0.00} times the block cache of {options.BlockCacheBytes >> 20} MiB");

    private static long TimesCache(BenchOptions options, int valueBytes, long cache) => 4 * cache / (options.KeyBytes + valueBytes);
}
