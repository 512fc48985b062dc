using System.Buffers;
using System.Globalization;
using System.Text.Json;
using KeyVa.Merges;

namespace KeyVa.Server;

/// <summary>
/// Reads the JSON of <c>POST /kv:batch</c> and <c>POST /kv:get</c>. What is unknown, double, missing or of the wrong type
/// is refused with its name and place. Stateless.
/// </summary>
/// <remarks>
/// <code>
/// {"operations": [{"op": "put", "key": "a", "value": "1", "ttl": "10m", "ifAbsent": true},
///                 {"op": "remove", "key64": "AP8=", "ifVersion": 42},
///                 {"op": "merge", "key": "n", "function": "increment", "operand": "1"},
///                 {"op": "removeRange", "prefix": "old/"}]}
/// {"keys": ["a", {"key64": "AP8="}]}
/// </code>
/// The bounds of a range: prefix, or from and to (each also with 64), or all (true). Conditions: ifAbsent and ifPresent (true), ifVersion (number), ifValue or ifValue64. Expiry: ttl (seconds, or text
/// with a unit) or expires (ISO 8601).
/// </remarks>
internal static class JsonRequest
{
    // The reader looks at a name or text no sooner than it is asked for it, and then tells so with InvalidOperationException.
    private const string NoUnicode = "the body holds a name or text that is no valid Unicode";

    private static readonly JsonReaderOptions ReaderOptions = new() { MaxDepth = 8 };

    /// <summary>Reads a batch, noting which of its operations are removals; false with what is wrong.</summary>
    /// <param name="body">The JSON.</param>
    /// <param name="batch">What is read.</param>
    /// <param name="removals">For each operation whether it removes a key.</param>
    /// <param name="wrong">What is wrong.</param>
    /// <param name="functions">The merge functions that may be named; null: KeyVa's own.</param>
    internal static bool TryReadBatch(ReadOnlySpan<byte> body, WriteBatch batch, List<bool> removals, out string wrong, MergeRegistry? functions = null)
    {
        Utf8JsonReader json = new(body, ReaderOptions);
        try
        {
            OpenArray(ref json, "operations"u8);
            for (int index = 0; json.Read() && json.TokenType != JsonTokenType.EndArray; index++)
            {
                removals.Add(ReadOperation(ref json, batch, index, functions ?? MergeRegistry.OfBuiltIn));
            }

            Close(ref json);
        }
        catch (JsonException e)
        {
            wrong = e.Message;
            return false;
        }
        catch (InvalidOperationException)
        {
            wrong = NoUnicode;
            return false;
        }

        wrong = "";
        return true;
    }

    /// <summary>Reads a list of keys; false with what is wrong.</summary>
    internal static bool TryReadKeys(ReadOnlySpan<byte> body, List<ReadOnlyMemory<byte>> keys, out string wrong)
    {
        Utf8JsonReader json = new(body, ReaderOptions);
        try
        {
            OpenArray(ref json, "keys"u8);
            for (int index = 0; json.Read() && json.TokenType != JsonTokenType.EndArray; index++)
            {
                string place = string.Create(CultureInfo.InvariantCulture, $"keys[{index}]");
                keys.Add(json.TokenType == JsonTokenType.StartObject ? ReadKeyObject(ref json, place) : Text(ref json, place));
            }

            Close(ref json);
        }
        catch (JsonException e)
        {
            wrong = e.Message;
            return false;
        }
        catch (InvalidOperationException)
        {
            wrong = NoUnicode;
            return false;
        }

        wrong = "";
        return true;
    }

    private static bool ReadOperation(ref Utf8JsonReader json, WriteBatch batch, int index, MergeRegistry functions)
    {
        string place = string.Create(CultureInfo.InvariantCulture, $"operations[{index}]");
        if (json.TokenType != JsonTokenType.StartObject)
        {
            throw new JsonException($"{place} must be an object");
        }

        JsonOperation operation = new(place);
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            string name = json.GetString()!;
            json.Read();
            operation.Take(ref json, name);
        }

        return operation.AddTo(batch, functions);
    }

    private static byte[] ReadKeyObject(ref Utf8JsonReader json, string place)
    {
        byte[]? key = null;
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            string name = json.GetString()!;
            json.Read();
            if (key is not null || name is not ("key" or "key64"))
            {
                throw new JsonException($"{place} must hold key or key64 alone, not '{name}'");
            }

            key = name == "key" ? Text(ref json, place + ".key") : Base64(ref json, place + ".key64");
        }

        return key ?? throw new JsonException($"{place} has neither key nor key64");
    }

    /// <summary>The bytes of a JSON string.</summary>
    internal static byte[] Text(ref Utf8JsonReader json, string place)
    {
        if (json.TokenType != JsonTokenType.String)
        {
            throw new JsonException($"{place} must be a string");
        }

        byte[] rented = ArrayPool<byte>.Shared.Rent(Math.Max(1, json.ValueSpan.Length));
        try
        {
            return rented.AsSpan(0, json.CopyString(rented)).ToArray();
        }
        catch (InvalidOperationException e)
        {
            throw new JsonException($"{place} is no valid Unicode text; bytes that are not go into {place}64 as base64", e);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    /// <summary>The bytes of a JSON string in base64.</summary>
    internal static byte[] Base64(ref Utf8JsonReader json, string place)
    {
        if (json.TokenType != JsonTokenType.String || !json.TryGetBytesFromBase64(out byte[]? bytes))
        {
            throw new JsonException($"{place} must be a string of base64");
        }

        return bytes;
    }

    private static void OpenArray(ref Utf8JsonReader json, ReadOnlySpan<byte> name)
    {
        if (!json.Read() || json.TokenType != JsonTokenType.StartObject
            || !json.Read() || json.TokenType != JsonTokenType.PropertyName || !json.ValueTextEquals(name)
            || !json.Read() || json.TokenType != JsonTokenType.StartArray)
        {
            throw new JsonException(
                $"the body must be an object with the array '{System.Text.Encoding.UTF8.GetString(name)}' and nothing else");
        }
    }

    private static void Close(ref Utf8JsonReader json)
    {
        if (!json.Read() || json.TokenType != JsonTokenType.EndObject)
        {
            throw new JsonException("the body must hold one array and nothing else");
        }

        if (json.Read())
        {
            throw new JsonException("the body goes on behind its end");
        }
    }
}
