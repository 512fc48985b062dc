namespace KeyVa.Server;

/// <summary>What kind of value a setting takes; a command line needs to know which are switches.</summary>
public enum SettingKind
{
    /// <summary>A path, a word of a list, an address.</summary>
    Text,

    /// <summary>A whole number.</summary>
    Number,

    /// <summary>true or false.</summary>
    Switch,

    /// <summary>Bytes, with a unit.</summary>
    Size,

    /// <summary>A time, with a unit.</summary>
    Duration,
}

/// <summary>
/// One setting of the server: how it is called in every source, what it takes and what it does. Immutable. Made by
/// <see cref="SettingsSchema"/> alone.
/// </summary>
public sealed class Setting
{
    private readonly ApplyValue _apply;

    internal Setting(string name, SettingKind kind, string defaultText, string allowed, string description, ApplyValue apply)
    {
        Name = name;
        Kind = kind;
        Default = defaultText;
        Allowed = allowed;
        Description = description;
        EnvironmentVariable = SettingsSchema.EnvironmentPrefix + name.ToUpperInvariant().Replace('-', '_');
        _apply = apply;
    }

    /// <summary>Puts a value into the options; false if it is not allowed.</summary>
    internal delegate bool ApplyValue(ref ServerOptions options, string text);

    /// <summary>The name, also the key in <c>keyva.json</c>: lower-case words with hyphens.</summary>
    public string Name { get; }

    /// <summary>What kind of value it takes.</summary>
    public SettingKind Kind { get; }

    /// <summary>The default as one would write it.</summary>
    public string Default { get; }

    /// <summary>For a person: which values are allowed.</summary>
    public string Allowed { get; }

    /// <summary>For a person: what it does.</summary>
    public string Description { get; }

    /// <summary>The environment variable: <c>KEYVA_…</c>.</summary>
    public string EnvironmentVariable { get; }

    /// <summary>The flag of <c>keyva serve</c>: <c>--…</c>.</summary>
    public string Flag => "--" + Name;

    /// <summary>Whether a running server can take a new value.</summary>
    public bool ChangeableAtRunTime { get; private set; }

    /// <summary>While the schema is made: a running server can take a new value.</summary>
    internal Setting AtRunTime()
    {
        ChangeableAtRunTime = true;
        return this;
    }

    /// <summary>Puts a value into the options; false if it is not allowed, and the options stay as they were.</summary>
    internal bool TryApply(ref ServerOptions options, string text) => _apply(ref options, text);
}
