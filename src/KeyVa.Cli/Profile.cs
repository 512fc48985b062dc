using System.Text.Json;

namespace KeyVa.Cli;

/// <summary>
/// How a server is reached and who one is there, kept in a file so that it need not be typed: JSON with the names of the options, without their hyphens
/// (<c>{"server": "https://db:7401", "user": "ada", "password-file": "/run/secrets/ada"}</c>), and <c>token</c> or <c>password</c> themselves. Only its owner
/// may be able to read the file. Immutable.
/// </summary>
internal sealed class Profile
{
    /// <summary>Names the profile where no option does.</summary>
    public const string Variable = "KEYVA_PROFILE";

    private const string DefaultName = "default";
    private const int MaxBytes = 64 * 1024;

    private static readonly string[] Names = ["server", "control", "user", "password-file", "token-file", "password", "token", "ca", "cert", "key"];

    private readonly Dictionary<string, string> _values = new(StringComparer.Ordinal);

    /// <summary>Nothing is kept.</summary>
    public static Profile None { get; } = new();

    /// <summary>The folder of profiles that have names.</summary>
    public static string Folder => Path.Combine(
        Environment.GetEnvironmentVariable("XDG_CONFIG_HOME") is { Length: > 0 } home ? home : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".config"),
        "keyva");

    /// <summary>What a profile says of an option; null: nothing.</summary>
    public string? this[string name] => _values.GetValueOrDefault(name);

    /// <summary>The profile of a name, or of a path (which has a slash); null: the one called default, if there is one.</summary>
    public static Profile Load(string? name)
    {
        string path = PathOf(name ?? DefaultName);
        if (!File.Exists(path))
        {
            return name is null ? None : throw CommandException.Usage($"there is no profile '{name}' (no file {path}); 'keyva profile save {name}' makes one");
        }

        if (!PrivateFile.IsPrivate(path))
        {
            throw CommandException.Usage($"others than its owner can read or write the profile {path}; 'chmod 600 {path}' ends that");
        }

        Profile profile = new();
        try
        {
            using FileStream file = File.OpenRead(path);
            if (file.Length > MaxBytes)
            {
                throw CommandException.Usage($"the profile {path} has {file.Length} bytes; at most {MaxBytes} are read");
            }

            using JsonDocument document = JsonDocument.Parse(file);
            foreach (JsonProperty property in document.RootElement.EnumerateObject())
            {
                if (!Names.Contains(property.Name) || property.Value.ValueKind != JsonValueKind.String)
                {
                    throw CommandException.Usage($"the profile {path} has '{property.Name}'; it may have the texts {string.Join(", ", Names)}");
                }

                profile._values[property.Name] = property.Value.GetString()!;
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw CommandException.Usage($"the profile {path} is no valid JSON object: {e.Message}");
        }

        return profile;
    }

    /// <summary>Writes a profile for its owner alone; returns the path.</summary>
    public static string Save(string name, IEnumerable<KeyValuePair<string, string>> values)
    {
        string path = PathOf(name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        string temporary = path + ".tmp";
        File.Delete(temporary);
        using (FileStream file = PrivateFile.Create(temporary))
        using (Utf8JsonWriter json = new(file, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            foreach ((string key, string value) in values)
            {
                json.WriteString(key, value);
            }

            json.WriteEndObject();
        }

        File.Move(temporary, path, overwrite: true);
        return path;
    }

    /// <summary>The names of the profiles in <see cref="Folder"/>.</summary>
    public static IEnumerable<string> List() => Directory.Exists(Folder)
        ? Directory.EnumerateFiles(Folder, "*.json").Select(static path => Path.GetFileNameWithoutExtension(path)).Order(StringComparer.Ordinal)
        : [];

    private static string PathOf(string name) => name.Contains('/', StringComparison.Ordinal) ? name : Path.Combine(Folder, name + ".json");
}
