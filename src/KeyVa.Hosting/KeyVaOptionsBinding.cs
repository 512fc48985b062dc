using System.Globalization;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Options;

namespace KeyVa.Hosting;

/// <summary>
/// Reads <see cref="KeyVaOptions"/> from a section, by hand: nothing is reflected upon, so hosts may be trimmed, and a slip of the pen in a
/// name is an error instead of a default.
/// </summary>
internal sealed class KeyVaOptionsBinding(IConfiguration section) : IConfigureOptions<KeyVaOptions>
{
    private static readonly Dictionary<string, Action<KeyVaOptions, string>> Settings = new(StringComparer.OrdinalIgnoreCase)
    {
        [nameof(KeyVaOptions.Data)] = static (options, text) => options.Data = text,
        [nameof(KeyVaOptions.Server)] = static (options, text) => options.Server = text,
        [nameof(KeyVaOptions.Control)] = static (options, text) => options.Control = text,
        [nameof(KeyVaOptions.Durability)] = static (options, text) => options.Durability = Word<Durability>(text),
        [nameof(KeyVaOptions.Engine)] = static (options, text) => options.Engine = Word<EngineKind>(text),
        [nameof(KeyVaOptions.Volatile)] = static (options, text) => options.Volatile = bool.Parse(text),
        [nameof(KeyVaOptions.SyncInterval)] = static (options, text) => options.SyncInterval = Time(text),
        [nameof(KeyVaOptions.BlockCacheBytes)] = static (options, text) => options.BlockCacheBytes = Number(text),
        [nameof(KeyVaOptions.MemtableBytes)] = static (options, text) => options.MemtableBytes = Number(text),
        [nameof(KeyVaOptions.MaxValueBytes)] = static (options, text) => options.MaxValueBytes = checked((int)Number(text)),
        [nameof(KeyVaOptions.Deadline)] = static (options, text) => options.Deadline = Time(text),
        [nameof(KeyVaOptions.ConnectTimeout)] = static (options, text) => options.ConnectTimeout = Time(text),
    };

    /// <inheritdoc/>
    public void Configure(KeyVaOptions options)
    {
        foreach (IConfigurationSection setting in section.GetChildren())
        {
            if (!Settings.TryGetValue(setting.Key, out Action<KeyVaOptions, string>? read) || setting.Value is null)
            {
                throw Wrong(setting.Path, $"there is no such setting; known are {string.Join(", ", Settings.Keys)}");
            }

            try
            {
                read(options, setting.Value);
            }
            catch (Exception wrong) when (wrong is FormatException or OverflowException or ArgumentException)
            {
                throw Wrong(setting.Path, $"'{setting.Value}' cannot be read: {wrong.Message}");
            }
        }
    }

    private static OptionsValidationException Wrong(string path, string why) =>
        new(Options.DefaultName, typeof(KeyVaOptions), [$"the setting '{path}' is wrong: {why}"]);

    private static T Word<T>(string text)
        where T : struct, Enum =>
        !char.IsAsciiDigit(text.FirstOrDefault()) && Enum.TryParse(text, ignoreCase: true, out T value) && Enum.IsDefined(value)
            ? value
            : throw new FormatException($"allowed are {string.Join(", ", Enum.GetNames<T>())}");

    private static TimeSpan Time(string text) => TimeSpan.Parse(text, CultureInfo.InvariantCulture);

    private static long Number(string text) => long.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);
}
