using System.Globalization;

namespace KeyVa.Server;

/// <summary>How a change of a setting ended.</summary>
/// <param name="Status">Ok, NotFound (there is no such setting) or Invalid.</param>
/// <param name="Detail">For a person: why not, or how long it lasts.</param>
/// <param name="Setting">The setting as it counts now; null: there is none of this name.</param>
internal sealed record SettingChange(Status Status, string Detail, EffectiveSetting? Setting);

/// <summary>
/// The configuration of a running server: what counts, and changes of what may change. A change lasts until the server stops, and is
/// written nowhere. Thread-safe; those who follow are called one change after the other.
/// </summary>
internal sealed class LiveConfiguration(ServerOptions options)
{
    private readonly Lock _lock = new();
    private readonly List<Action<ServerOptions>> _followers = [];
    private ServerOptions _options = options;

    /// <summary>The options as they count now.</summary>
    public ServerOptions Options => Volatile.Read(ref _options);

    /// <summary>Has somebody told of every change from now on, and of how things are at once.</summary>
    public void Follow(Action<ServerOptions> follower)
    {
        lock (_lock)
        {
            _followers.Add(follower);
            follower(_options);
        }
    }

    /// <summary>Whether requests are observed from now on, which no setting says: to measure what it costs.</summary>
    public void Observe(bool isObserved)
    {
        lock (_lock)
        {
            ServerOptions changed = _options with { Telemetry = _options.Telemetry with { IsObserved = isObserved } };
            Volatile.Write(ref _options, changed);
            foreach (Action<ServerOptions> follower in _followers)
            {
                follower(changed);
            }
        }
    }

    /// <summary>All settings.</summary>
    public IReadOnlyList<EffectiveSetting> List() => EffectiveSetting.All(Options);

    /// <summary>Changes a setting until the server stops.</summary>
    public SettingChange Change(string name, string value)
    {
        if (!SettingsSchema.ByName.TryGetValue(name, out Setting? setting))
        {
            return new SettingChange(Status.NotFound, $"there is no setting '{name}'; 'keyva config show' lists them", null);
        }

        lock (_lock)
        {
            EffectiveSetting now = EffectiveSetting.Of(setting, _options);
            if (!setting.ChangeableAtRunTime)
            {
                return new SettingChange(
                    Status.Invalid,
                    $"the setting '{name}' cannot be changed while the server runs; set it in the configuration file, as {setting.EnvironmentVariable} or as {setting.Flag}, and start again",
                    now);
            }

            ServerOptions changed = _options;
            if (!setting.TryApply(ref changed, value))
            {
                return new SettingChange(Status.Invalid, $"the setting '{name}' is not changed to '{value}'; allowed is: {setting.Allowed}", now);
            }

            changed = changed with { Sources = changed.Sources.SetItem(name, new SettingSource(value, EffectiveSetting.RunTime)) };
            Volatile.Write(ref _options, changed);
            foreach (Action<ServerOptions> follower in _followers)
            {
                follower(changed);
            }

            return new SettingChange(Status.Ok, Lasts(setting, value), EffectiveSetting.Of(setting, changed));
        }
    }

    private static string Lasts(Setting setting, string value) => string.Create(
        CultureInfo.InvariantCulture,
        $"counts until the server stops, and is written nowhere; to keep it, put \"{setting.Name}\": \"{value}\" into the configuration file");
}
