using System.Collections;
using System.Text.Json;
using KeyVa.Server.Identity;

namespace KeyVa.Server;

/// <summary>
/// Reads the configuration: flags before environment before file before defaults. The first wrong or unknown setting of
/// any source stops the start, also one that a stronger source overrides: nobody should find out later. Stateless.
/// </summary>
public static class ServerConfiguration
{
    /// <summary>The file that is read if it exists and no other is named.</summary>
    public const string DefaultFile = "keyva.json";

    /// <summary>Names the file, as <c>--config</c> does.</summary>
    public const string FileVariable = "KEYVA_CONFIG";

    // A file beyond this is no configuration.
    private const int MaxFileBytes = 1 << 20;

    // Variables of the client commands, which share the prefix and mean nothing to the server.
    private static readonly string[] OtherVariables =
        [FileVariable, FirstAdministrator.PasswordVariable, "KEYVA_SERVER", "KEYVA_CONTROL", "KEYVA_PROFILE"];

    /// <summary>Reads all sources.</summary>
    /// <param name="flags">Values of flags by name of the setting, with or without the leading hyphens.</param>
    /// <param name="file">The file named by <c>--config</c>, or null.</param>
    /// <param name="environment">The variables; null: those of the process.</param>
    /// <exception cref="ConfigurationException">A setting is unknown or wrong, or the file cannot be read.</exception>
    public static ServerOptions Load(
        IReadOnlyDictionary<string, string> flags, string? file = null,
        IEnumerable<KeyValuePair<string, string>>? environment = null)
    {
        ArgumentNullException.ThrowIfNull(flags);
        List<KeyValuePair<string, string>> variables = [.. environment ?? ProcessEnvironment()];
        ServerOptions options = new() { AdminPassword = variables.Find(static variable => variable.Key == FirstAdministrator.PasswordVariable).Value };
        string? named = file ?? variables.Find(static variable => variable.Key == FileVariable).Value;
        if (named is not null || File.Exists(DefaultFile))
        {
            ReadFile(ref options, named ?? DefaultFile);
        }

        foreach ((string name, string text) in variables.OrderBy(static variable => variable.Key, StringComparer.Ordinal))
        {
            if (!name.StartsWith(SettingsSchema.EnvironmentPrefix, StringComparison.Ordinal)
                || OtherVariables.Contains(name))
            {
                continue;
            }

            Apply(ref options, SettingsSchema.ByVariable.GetValueOrDefault(name), name, text, "the environment");
        }

        foreach ((string name, string text) in flags)
        {
            string bare = name.StartsWith("--", StringComparison.Ordinal) ? name[2..] : name;
            Apply(ref options, SettingsSchema.ByName.GetValueOrDefault(bare), "--" + bare, text, "the command line");
        }

        CheckTogether(options);
        return options;
    }

    private static void ReadFile(ref ServerOptions options, string file)
    {
        byte[] bytes;
        try
        {
            using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.Read);
            if (stream.Length > MaxFileBytes)
            {
                throw new ConfigurationException(
                    $"the configuration file '{file}' has {stream.Length} bytes; at most {MaxFileBytes} are read");
            }

            bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"cannot read the configuration file '{file}': {e.Message}", e);
        }

        JsonDocumentOptions json = new() { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true };
        try
        {
            using JsonDocument document = JsonDocument.Parse(bytes, json);
            ApplyFile(ref options, document.RootElement, $"the file '{file}'");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The second is how the document tells of a string that is no valid Unicode, and only once it is asked for.
            throw new ConfigurationException($"the configuration file '{file}' is not valid JSON: {e.Message}", e);
        }
    }

    private static void ApplyFile(ref ServerOptions options, JsonElement root, string source)
    {
        if (root.ValueKind != JsonValueKind.Object)
        {
            throw new ConfigurationException($"{source} must hold one JSON object, such as {{\"data\": \"./data\"}}");
        }

        HashSet<string> seen = new(StringComparer.Ordinal);
        foreach (JsonProperty property in root.EnumerateObject())
        {
            if (!seen.Add(property.Name))
            {
                throw new ConfigurationException($"the setting '{property.Name}' stands twice in {source}");
            }

            string? text = property.Value.ValueKind switch
            {
                JsonValueKind.String => property.Value.GetString(),
                JsonValueKind.Number or JsonValueKind.True or JsonValueKind.False => property.Value.GetRawText(),
                _ => null,
            };
            Setting? setting = SettingsSchema.ByName.GetValueOrDefault(property.Name);
            Apply(ref options, setting, property.Name, text ?? property.Value.GetRawText(), source, text is null);
        }
    }

    private static void Apply(
        ref ServerOptions options, Setting? setting, string name, string text, string source, bool wrongKind = false)
    {
        if (setting is null)
        {
            IEnumerable<string> known = SettingsSchema.All.Select(one => name.StartsWith("--", StringComparison.Ordinal)
                ? one.Flag
                : name.StartsWith(SettingsSchema.EnvironmentPrefix, StringComparison.Ordinal) ? one.EnvironmentVariable : one.Name);
            throw new ConfigurationException($"unknown setting '{name}' in {source}; known are: {string.Join(", ", known)}");
        }

        if (wrongKind || !setting.TryApply(ref options, text))
        {
            throw new ConfigurationException($"the setting '{name}' in {source} is '{text}'; allowed is: {setting.Allowed}");
        }

        options = options with { Sources = options.Sources.SetItem(setting.Name, new SettingSource(text, OriginOf(name, source))) };
    }

    // Of several sources of one kind the name says more than the kind.
    private static string OriginOf(string name, string source) =>
        name.StartsWith("--", StringComparison.Ordinal) || name.StartsWith(SettingsSchema.EnvironmentPrefix, StringComparison.Ordinal) ? name : source;

    // Rules between settings, checked once all sources had their say.
    private static void CheckTogether(ServerOptions options)
    {
        if (options.Store is { Volatile: true, Engine: not EngineKind.Memory })
        {
            throw new ConfigurationException(
                "the setting 'volatile' is true and 'engine' is not memory; allowed is: volatile with engine memory only");
        }

        if (options.Cluster.Length > 0 && (options.Node == 0 || !options.Peers.ContainsKey(options.Node)))
        {
            throw new ConfigurationException("the setting 'cluster' is given; 'node' must be this server's number, and 'peers' must have it, as in --node 1 --peers 1=127.0.0.1:7404");
        }

        if (options.Cluster.Length == 0 && (options.Node != 0 || options.Peers.Count > 0 || options.ClusterJoin))
        {
            throw new ConfigurationException("the settings 'node', 'peers' and 'cluster-join' are for a node of a cluster: give its name with 'cluster'");
        }

        if (options.Cluster.Length == 0 && options.LeaseReads)
        {
            throw new ConfigurationException("the setting 'lease-reads' is for a node of a cluster: a server that is alone asks nobody; leave it out, or give the cluster's name with 'cluster'");
        }

        if (options.Cluster.Length == 0 && options.Store.Acknowledgement.Replicas > 0)
        {
            throw new ConfigurationException($"the setting 'acknowledgement' is {options.Store.Acknowledgement}, which asks for replicas; allowed without 'cluster' is: sync, async");
        }

        if (options.Cluster.Length > 0 && (options.Store.Volatile || options.Store.Durability != Durability.Always))
        {
            throw new ConfigurationException("the setting 'cluster' is given; allowed are only durability always and no volatile, since a node syncs before it acknowledges");
        }

        if (options.Tls.ClientCertificates != ClientCertificates.None && options.Tls.ClientAuthorityFile.Length == 0)
        {
            throw new ConfigurationException("the setting 'tls-client-cert' asks clients for certificates, and 'tls-client-ca' does not say who vouches for them");
        }

        if (options.Store.JournalBudgetBytes < options.Store.JournalSegmentBytes)
        {
            throw new ConfigurationException(
                $"the setting 'journal-budget' is {Units.FormatSize(options.Store.JournalBudgetBytes)}; "
                + $"allowed is: at least one 'journal-segment' ({Units.FormatSize(options.Store.JournalSegmentBytes)})");
        }
    }

    private static IEnumerable<KeyValuePair<string, string>> ProcessEnvironment()
    {
        foreach (DictionaryEntry entry in Environment.GetEnvironmentVariables())
        {
            yield return new((string)entry.Key, (string?)entry.Value ?? "");
        }
    }
}
