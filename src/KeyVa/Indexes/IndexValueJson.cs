using System.Text;
using System.Text.Json;

namespace KeyVa.Indexes;

/// <summary>
/// Values of indexes as JSON, both ways and exact: null, booleans, numbers and strings as they are; bytes, which only extractors give, as
/// <c>{"bytes64": "…"}</c>. Stateless.
/// </summary>
internal static class IndexValueJson
{
    private static readonly JsonReaderOptions ReaderOptions = new() { MaxDepth = 4 };

    /// <summary>
    /// Reads a value, or an array of values for several fields: <c>"Oslo"</c>, <c>["Oslo", 30]</c>; false with what is wrong with it.
    /// </summary>
    public static bool TryReadTuple(ReadOnlySpan<byte> text, out List<IndexValue> values, out string wrong)
    {
        values = [];
        wrong = "";
        try
        {
            Utf8JsonReader json = new(text, ReaderOptions);
            json.Read();
            bool isTuple = json.TokenType == JsonTokenType.StartArray;
            while (!isTuple || (json.Read() && json.TokenType != JsonTokenType.EndArray))
            {
                values.Add(Read(ref json));
                if (!isTuple)
                {
                    break;
                }
            }

            return json.Read() ? throw new JsonException("it goes on behind its end") : true;
        }
        catch (JsonException)
        {
            wrong = "is no JSON value, or array of values: null, true, false, a number of up to 400 digits, or a string in double quotes";
        }
        catch (InvalidOperationException)
        {
            wrong = "holds text that is no valid Unicode";
        }

        values.Clear();
        return false;
    }

    /// <summary>Writes a value.</summary>
    public static void Write(Utf8JsonWriter json, in IndexValue value)
    {
        switch (value.Tag)
        {
            case IndexValueEncoding.Text:
                json.WriteStringValue(value.Content);
                break;
            case IndexValueEncoding.Bytes:
                json.WriteStartObject();
                json.WriteBase64String("bytes64"u8, value.Content);
                json.WriteEndObject();
                break;
            default:
                json.WriteRawValue(value.ToString(), skipInputValidation: true);
                break;
        }
    }

    private static IndexValue Read(ref Utf8JsonReader json)
    {
        switch (json.TokenType)
        {
            case JsonTokenType.Null:
                return IndexValue.Null;
            case JsonTokenType.True:
            case JsonTokenType.False:
                return json.GetBoolean();
            case JsonTokenType.Number:
                return IndexValue.TryParseNumber(json.ValueSpan, out IndexValue number) ? number : throw new JsonException();
            case JsonTokenType.String:
                return IndexValue.FromUtf8(Encoding.UTF8.GetBytes(json.GetString()!));
            case JsonTokenType.StartObject:
                return ReadBytes(ref json);
            default:
                throw new JsonException();
        }
    }

    private static IndexValue ReadBytes(ref Utf8JsonReader json)
    {
        byte[]? bytes = null;
        bool read = json.Read() && json.TokenType == JsonTokenType.PropertyName && json.ValueTextEquals("bytes64"u8)
            && json.Read() && json.TokenType == JsonTokenType.String && json.TryGetBytesFromBase64(out bytes)
            && json.Read() && json.TokenType == JsonTokenType.EndObject;
        return read ? IndexValue.From(bytes) : throw new JsonException();
    }
}
