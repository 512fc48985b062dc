using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;

namespace KeyVa.Merges;

/// <summary>JSON texts (RFC 8259) as the merge functions read and write them. Stateless.</summary>
internal static class JsonText
{
    /// <summary>How deep arrays and objects may be nested; what goes through them is recursive.</summary>
    public const int MaxDepth = 64;

    // What is valid was checked when it was read, and nesting is bounded by MaxDepth.
    private static readonly JsonWriterOptions WriterOptions = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    private static readonly JsonReaderOptions ReaderOptions = new() { MaxDepth = MaxDepth };

    /// <summary>Reads one JSON text and nothing behind it; null with what is wrong.</summary>
    public static JsonDocument? Parse(ReadOnlySpan<byte> text, out string? wrong)
    {
        wrong = null;
        if (!Utf8.IsValid(text))
        {
            wrong = "it is no UTF-8";
            return null;
        }

        JsonDocument? document = null;
        bool complete = false;
        try
        {
            var reader = new Utf8JsonReader(text, ReaderOptions);
            document = JsonDocument.ParseValue(ref reader);
            complete = !reader.Read();
        }
        catch (JsonException e)
        {
            wrong = e.Message;
        }
        finally
        {
            if (!complete)
            {
                document?.Dispose();
            }
        }

        return complete ? document : null;
    }

    public static Utf8JsonWriter Write(IBufferWriter<byte> output) => new(output, WriterOptions);

    /// <summary>The members of an object by name, in their order; of several with one name the last counts, in the first one's place.</summary>
    /// <remarks><see cref="InvalidOperationException"/> if a name is no valid Unicode: half of a surrogate pair, escaped.</remarks>
    public static OrderedDictionary<string, JsonElement> Members(JsonElement value)
    {
        var members = new OrderedDictionary<string, JsonElement>(StringComparer.Ordinal);
        foreach (JsonProperty member in value.EnumerateObject())
        {
            members[member.Name] = member.Value;
        }

        return members;
    }
}
