namespace KeyVa.Server;

/// <summary>Where the value of a setting comes from, and how it was written there.</summary>
/// <param name="Text">The value as it was given.</param>
/// <param name="Origin">The source, for a person: <c>the file 'keyva.json'</c>, <c>KEYVA_DATA</c>, <c>--data</c>, <c>run time</c>.</param>
public sealed record SettingSource(string Text, string Origin);

/// <summary>A setting with the value that counts.</summary>
/// <param name="Setting">The setting.</param>
/// <param name="Value">The value, as one would write it.</param>
/// <param name="Source">Where it comes from; <c>default</c> if nobody has set it.</param>
public sealed record EffectiveSetting(Setting Setting, string Value, string Source)
{
    internal const string Default = "default";
    internal const string RunTime = "run time";

    /// <summary>All settings as they count in these options, in the order of the schema.</summary>
    public static IReadOnlyList<EffectiveSetting> All(ServerOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        return [.. SettingsSchema.All.Select(setting => Of(setting, options))];
    }

    internal static EffectiveSetting Of(Setting setting, ServerOptions options)
    {
        if (options.Sources.TryGetValue(setting.Name, out SettingSource? source))
        {
            return new EffectiveSetting(setting, source.Text, source.Origin);
        }

        // A program that made its options itself may have another value than the default: putting that in would change something.
        ServerOptions same = options;
        return setting.TryApply(ref same, setting.Default) && same == options
            ? new EffectiveSetting(setting, setting.Default, Default)
            : new EffectiveSetting(setting, "(as the program has set it)", "program");
    }
}
