using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;

namespace KeyVa.Server;

/// <summary>
/// Keys and values in JSON, without loss: bytes that are valid UTF-8 are a string under the plain name (<c>key</c>,
/// <c>value</c>), all others are base64 (RFC 4648, 4) under the name with 64 behind it (<c>key64</c>, <c>value64</c>).
/// Stateless.
/// </summary>
internal static class RestJson
{
    internal const string ContentType = "application/json";

    /// <summary>Text stays readable; nothing here is ever put into HTML.</summary>
    internal static readonly JsonWriterOptions WriterOptions = new()
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        SkipValidation = true,
    };

    private static readonly JsonEncodedText Key = JsonEncodedText.Encode("key");
    private static readonly JsonEncodedText Key64 = JsonEncodedText.Encode("key64");
    private static readonly JsonEncodedText Value = JsonEncodedText.Encode("value");
    private static readonly JsonEncodedText Value64 = JsonEncodedText.Encode("value64");
    private static readonly JsonEncodedText ConflictKey = JsonEncodedText.Encode("conflictKey");
    private static readonly JsonEncodedText ConflictKey64 = JsonEncodedText.Encode("conflictKey64");
    private static readonly JsonEncodedText Version = JsonEncodedText.Encode("version");
    private static readonly JsonEncodedText Modified = JsonEncodedText.Encode("modified");
    private static readonly JsonEncodedText Expires = JsonEncodedText.Encode("expires");

    /// <summary>Writes the key as a member of the current object.</summary>
    internal static void WriteKey(Utf8JsonWriter json, ReadOnlySpan<byte> key, bool always64 = false) =>
        WriteBytes(json, Key, Key64, key, always64);

    /// <summary>Writes the key of a conflict as a member of the current object.</summary>
    internal static void WriteConflictKey(Utf8JsonWriter json, ReadOnlySpan<byte> key) =>
        WriteBytes(json, ConflictKey, ConflictKey64, key, always64: false);

    /// <summary>Writes the value as a member of the current object.</summary>
    internal static void WriteValue(Utf8JsonWriter json, ReadOnlySpan<byte> value, bool always64 = false) =>
        WriteBytes(json, Value, Value64, value, always64);

    /// <summary>Writes version and times as members of the current object.</summary>
    internal static void WriteStamps(Utf8JsonWriter json, long version, long modified, long expires)
    {
        json.WriteNumber(Version, version);
        json.WriteString(Modified, IsoTime.Format(modified));
        if (expires != 0)
        {
            json.WriteString(Expires, IsoTime.Format(expires));
        }
    }

    /// <summary>Writes what a write is told of its place in the log.</summary>
    internal static void WriteReceipt(Utf8JsonWriter json, Protocol.V1.Receipt receipt)
    {
        json.WriteStartObject("receipt");
        json.WriteNumber("partition", receipt.Partition);
        json.WriteNumber("term", receipt.Term);
        json.WriteNumber("index", receipt.Index);
        json.WriteString("class", new WriteReceipt { Class = (AcknowledgementClass)receipt.Class }.ClassName);
        json.WriteNumber("replicas", receipt.Replicas);
        json.WriteEndObject();
    }

    /// <summary>Writes bytes under a name for text, or the one for base64.</summary>
    internal static void WriteBytes(
        Utf8JsonWriter json, ReadOnlySpan<byte> name, ReadOnlySpan<byte> name64, ReadOnlySpan<byte> bytes, bool always64)
    {
        if (!always64 && Utf8.IsValid(bytes))
        {
            json.WriteString(name, bytes);
        }
        else
        {
            json.WriteBase64String(name64, bytes);
        }
    }

    private static void WriteBytes(
        Utf8JsonWriter json, JsonEncodedText name, JsonEncodedText name64, ReadOnlySpan<byte> bytes, bool always64)
    {
        if (!always64 && Utf8.IsValid(bytes))
        {
            json.WriteString(name, bytes);
        }
        else
        {
            json.WriteBase64String(name64, bytes);
        }
    }
}
