using System.Text.Json;
using KeyVa.Indexes;

namespace KeyVa.Server;

/// <summary>
/// Secondary indexes as JSON: the definition of <c>PUT /indexes/{name}</c>, <c>{"fields": ["address.city", "age"], "unique": true}</c>, and what
/// is told of them. What is unknown, double or of the wrong type is refused by name. Stateless.
/// </summary>
internal static class JsonIndex
{
    private const string Known = "fields, unique, sparse, strict, extractor, extractorVersion";

    private static readonly JsonReaderOptions ReaderOptions = new() { MaxDepth = 4 };

    /// <summary>Reads a definition; false with what is wrong.</summary>
    internal static bool TryRead(ReadOnlySpan<byte> body, string name, out IndexDefinition definition, out string wrong)
    {
        definition = new IndexDefinition { Name = name, Fields = [] };
        wrong = "";
        try
        {
            definition = Read(body, definition);
            return true;
        }
        catch (JsonException e)
        {
            wrong = e.Message;
        }
        catch (InvalidOperationException)
        {
            // The reader looks at a text no sooner than it is asked for it, and then tells so like this.
            wrong = "the body holds a name or text that is no valid Unicode";
        }

        return false;
    }

    /// <summary>Tells of an index.</summary>
    internal static void Write(Utf8JsonWriter json, Protocol.V1.Index index)
    {
        json.WriteString("name", index.Name);
        json.WriteStartArray("fields");
        foreach (string field in index.Fields)
        {
            json.WriteStringValue(field);
        }

        json.WriteEndArray();
        json.WriteBoolean("unique", index.Unique);
        json.WriteBoolean("sparse", index.Sparse);
        json.WriteBoolean("strict", index.Strict);
        if (index.Extractor.Length > 0)
        {
            json.WriteString("extractor", index.Extractor);
            json.WriteNumber("extractorVersion", index.ExtractorVersion);
        }

        json.WriteString("state", Word((IndexState)index.State));
        json.WriteNumber("filledRecords", index.FilledRecords);
        json.WriteNumber("totalRecords", index.TotalRecords);
        json.WriteNumber("entries", index.Entries);
        json.WriteNumber("storageBytes", index.StorageBytes);
        json.WriteNumber("unindexed", index.Unindexed);
        json.WriteStartArray("unindexedKeys");
        foreach (Google.Protobuf.ByteString key in index.UnindexedKeys)
        {
            json.WriteStartObject();
            RestJson.WriteKey(json, key.Span);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>What a state is called on every front door.</summary>
    internal static string Word(IndexState state) => state switch
    {
        IndexState.Building => "building",
        IndexState.Ready => "ready",
        _ => "dropping",
    };

    private static IndexDefinition Read(ReadOnlySpan<byte> body, IndexDefinition definition)
    {
        Utf8JsonReader json = new(body, ReaderOptions);
        if (!json.Read() || json.TokenType != JsonTokenType.StartObject)
        {
            throw new JsonException("the body must be an object with the array 'fields'");
        }

        HashSet<string> seen = new(StringComparer.Ordinal);
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            string name = json.GetString()!;
            json.Read();
            if (!seen.Add(name))
            {
                throw new JsonException($"{name} stands twice");
            }

            definition = name switch
            {
                "fields" => definition with { Fields = Fields(ref json) },
                "unique" => definition with { Unique = Switch(ref json, name) },
                "sparse" => definition with { Sparse = Switch(ref json, name) },
                "strict" => definition with { Strict = Switch(ref json, name) },
                "extractor" => definition with { Extractor = Text(ref json, name) },
                "extractorVersion" => definition with { ExtractorVersion = Whole(ref json, name) },
                _ => throw new JsonException($"{name} is not known; known are: {Known}"),
            };
        }

        return json.Read() ? throw new JsonException("the body goes on behind its end")
            : seen.Contains("fields") ? definition
            : throw new JsonException("fields is missing: an array of the paths to index, such as [\"address.city\"]");
    }

    private static List<string> Fields(ref Utf8JsonReader json)
    {
        if (json.TokenType != JsonTokenType.StartArray)
        {
            throw new JsonException("fields must be an array of paths, such as [\"address.city\"]");
        }

        List<string> fields = [];
        while (json.Read() && json.TokenType != JsonTokenType.EndArray)
        {
            fields.Add(Text(ref json, $"fields[{fields.Count}]"));
        }

        return fields;
    }

    private static string Text(ref Utf8JsonReader json, string name) =>
        json.TokenType == JsonTokenType.String ? json.GetString()! : throw new JsonException($"{name} must be a string");

    private static bool Switch(ref Utf8JsonReader json, string name) =>
        json.TokenType is JsonTokenType.True or JsonTokenType.False ? json.GetBoolean() : throw new JsonException($"{name} must be true or false");

    private static int Whole(ref Utf8JsonReader json, string name)
    {
        int number = 0;
        return json.TokenType == JsonTokenType.Number && json.TryGetInt32(out number) ? number : throw new JsonException($"{name} must be a whole number");
    }
}
