using System.Text.Json;

namespace KeyVa.Cli.Transfer;

/// <summary>
/// The small file beside an input that says how far its import is. It is replaced as a whole, so it is always one that
/// was written completely, and it never runs ahead of what the store acknowledged.
/// <code>
/// {"keyva-import":1,"size":…,"modified":…,"server":"…","options":"…","offset":…,"line":…,"records":…,"skipped":…}
/// </code>
/// </summary>
internal sealed record ImportState
{
    private const int FormatVersion = 1;

    /// <summary>Bytes of the input when the import began.</summary>
    public required long Size { get; init; }

    /// <summary>When the input was last written, in ticks.</summary>
    public required long Modified { get; init; }

    /// <summary>Where to it is imported.</summary>
    public required string Server { get; init; }

    /// <summary>How the input is read: format and fields.</summary>
    public required string Options { get; init; }

    /// <summary>Everything before this is in the store.</summary>
    public ImportPosition Done { get; init; } = new(0, 1, 0);

    /// <summary>Lines and records left out so far.</summary>
    public long Skipped { get; init; }

    /// <summary>The state file of an input.</summary>
    public static string PathFor(string input) => input + ".keyva-import";

    /// <summary>The state that an import of this input as it is now begins with.</summary>
    public static ImportState Begin(FileInfo input, string server, string options) => new()
    {
        Size = input.Length,
        Modified = input.LastWriteTimeUtc.Ticks,
        Server = server,
        Options = options,
    };

    /// <summary>
    /// Where an earlier import of the same input stopped, or the beginning; <see cref="CommandException"/> if the earlier
    /// one was of another input, server or reading.
    /// </summary>
    public static ImportState Load(string path, ImportState begin)
    {
        if (!File.Exists(path))
        {
            return begin;
        }

        ImportState saved = Parse(path, File.ReadAllBytes(path));
        if (saved.Size != begin.Size || saved.Modified != begin.Modified)
        {
            throw CommandException.Usage($"the input has changed since its import began; remove '{path}' to import it from the beginning");
        }

        if (saved.Server != begin.Server || saved.Options != begin.Options)
        {
            throw CommandException.Usage(
                $"the import that '{path}' belongs to was to {saved.Server} with {saved.Options}, this one is to {begin.Server} with {begin.Options}; "
                + "remove that file to import from the beginning");
        }

        return saved;
    }

    /// <summary>Replaces the state file.</summary>
    public void Save(string path)
    {
        string temporary = path + ".new";
        using (FileStream file = new(temporary, FileMode.Create, FileAccess.Write))
        {
            using Utf8JsonWriter json = new(file);
            json.WriteStartObject();
            json.WriteNumber("keyva-import", FormatVersion);
            json.WriteNumber("size", Size);
            json.WriteNumber("modified", Modified);
            json.WriteString("server", Server);
            json.WriteString("options", Options);
            json.WriteNumber("offset", Done.Offset);
            json.WriteNumber("line", Done.Line);
            json.WriteNumber("records", Done.Records);
            json.WriteNumber("skipped", Skipped);
            json.WriteEndObject();
            json.Flush();
            file.Flush(flushToDisk: true);
        }

        File.Move(temporary, path, overwrite: true);
    }

    private static ImportState Parse(string path, byte[] text)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(text);
            JsonElement root = document.RootElement;
            if (root.GetProperty("keyva-import").GetInt32() != FormatVersion)
            {
                throw CommandException.Usage($"'{path}' was written by another version of keyva; remove it to import from the beginning");
            }

            return new ImportState
            {
                Size = root.GetProperty("size").GetInt64(),
                Modified = root.GetProperty("modified").GetInt64(),
                Server = root.GetProperty("server").GetString() ?? "",
                Options = root.GetProperty("options").GetString() ?? "",
                Done = new ImportPosition(
                    root.GetProperty("offset").GetInt64(),
                    root.GetProperty("line").GetInt64(),
                    root.GetProperty("records").GetInt64()),
                Skipped = root.GetProperty("skipped").GetInt64(),
            };
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw CommandException.Usage($"'{path}' is no state of an import ({e.Message}); remove it to import from the beginning");
        }
    }
}
