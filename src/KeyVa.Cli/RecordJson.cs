using System.Text.Json;
using System.Text.Unicode;

namespace KeyVa.Cli;

/// <summary>
/// Records as JSON, in one shape for every command: <c>key</c> and <c>value</c> are strings if the bytes are UTF-8, else
/// <c>key64</c> and <c>value64</c> are their base64; <c>expires</c> is in milliseconds since 1970-01-01 UTC and stands
/// only where the key expires. Stateless.
/// </summary>
internal static class RecordJson
{
    /// <summary>Text stays readable: only what JSON demands is escaped.</summary>
    public static readonly JsonWriterOptions Options = new()
    {
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        SkipValidation = true,
    };

    /// <summary>Writes bytes under the name for text or the name for base64.</summary>
    public static void WriteBytes(Utf8JsonWriter json, ReadOnlySpan<byte> name, ReadOnlySpan<byte> name64, ReadOnlySpan<byte> bytes)
    {
        if (Utf8.IsValid(bytes))
        {
            json.WriteString(name, bytes);
        }
        else
        {
            json.WriteBase64String(name64, bytes);
        }
    }

    public static void WriteKey(Utf8JsonWriter json, ReadOnlySpan<byte> key) => WriteBytes(json, "key"u8, "key64"u8, key);

    public static void WriteValue(Utf8JsonWriter json, ReadOnlySpan<byte> value) =>
        WriteBytes(json, "value"u8, "value64"u8, value);

    /// <summary>The properties of a record that has been read.</summary>
    public static void WriteRecord(Utf8JsonWriter json, in Record record, bool keysOnly = false)
    {
        WriteKey(json, record.Key.Span);
        if (!keysOnly)
        {
            WriteValue(json, record.Value.Span);
        }

        json.WriteNumber("version"u8, record.Version);
        json.WriteNumber("modified"u8, record.ModifiedUnixMilliseconds);
        if (record.ExpiresAtUnixMilliseconds != 0)
        {
            json.WriteNumber("expires"u8, record.ExpiresAtUnixMilliseconds);
        }
    }
}
