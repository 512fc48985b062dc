using System.Text.Json;
using Google.Protobuf;
using KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>
/// Reads the JSON of <c>POST /kv:rollback</c>: <c>{"prefix": "user/", "version": 42}</c>. What is unknown, double or of the wrong
/// type is refused by name. Stateless.
/// </summary>
internal static class JsonRollBack
{
    private const string Known = "key, key64, prefix, prefix64, from, from64, to, to64, partition, all, version, time";

    private static readonly JsonReaderOptions ReaderOptions = new() { MaxDepth = 4 };

    /// <summary>Reads the body; false with what is wrong.</summary>
    internal static bool TryRead(ReadOnlySpan<byte> body, RevertRequest request, out string wrong)
    {
        try
        {
            Read(body, request);
        }
        catch (JsonException e)
        {
            wrong = e.Message;
            return false;
        }
        catch (InvalidOperationException)
        {
            // The reader looks at a name no sooner than it is asked for it, and then tells so like this.
            wrong = "the body holds a name or text that is no valid Unicode";
            return false;
        }

        wrong = "";
        return true;
    }

    private static void Read(ReadOnlySpan<byte> body, RevertRequest request)
    {
        Utf8JsonReader json = new(body, ReaderOptions);
        if (!json.Read() || json.TokenType != JsonTokenType.StartObject)
        {
            throw new JsonException("the body must be an object");
        }

        HashSet<string> seen = new(StringComparer.Ordinal);
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            string name = json.GetString()!;
            string plain = name.EndsWith("64", StringComparison.Ordinal) ? name[..^2] : name;
            json.Read();
            if (!seen.Add(plain))
            {
                throw new JsonException($"{name} says the same thing a second time, or contradicts it");
            }

            Take(ref json, name, plain, request);
        }

        if (json.Read())
        {
            throw new JsonException("the body goes on behind its end");
        }

        if (seen.Contains("version") && seen.Contains("time"))
        {
            throw new JsonException("give version or time, not both");
        }
    }

    private static void Take(ref Utf8JsonReader json, string name, string plain, RevertRequest request)
    {
        switch (plain)
        {
            case "key":
                request.Key = Bytes(ref json, name, plain);
                break;
            case "prefix":
                request.Prefix = Bytes(ref json, name, plain);
                break;
            case "from":
                request.From = Bytes(ref json, name, plain);
                break;
            case "to":
                request.To = Bytes(ref json, name, plain);
                break;
            case "partition" when name == plain:
                request.Partition = Whole(ref json, name);
                break;
            case "version" when name == plain:
                request.ToVersion = Whole(ref json, name);
                break;
            case "time" when name == plain:
                long time = 0;
                request.ToUnixMs = json.TokenType == JsonTokenType.String && IsoTime.TryParse(json.GetString(), out time)
                    ? time
                    : throw new JsonException($"time must be {IsoTime.Forms}");
                break;
            case "all" when name == plain:
                request.All = json.TokenType == JsonTokenType.True ? true : throw new JsonException("all must be true");
                break;
            default:
                throw new JsonException($"{name} is not known; known are: {Known}");
        }
    }

    private static ByteString Bytes(ref Utf8JsonReader json, string name, string plain)
    {
        byte[] bytes = name == plain ? JsonRequest.Text(ref json, name) : JsonRequest.Base64(ref json, name);
        return bytes.Length > 0 ? UnsafeByteOperations.UnsafeWrap(bytes) : throw new JsonException($"{name} is empty; leave it out");
    }

    private static long Whole(ref Utf8JsonReader json, string name)
    {
        long number = 0;
        return json.TokenType == JsonTokenType.Number && json.TryGetInt64(out number) && number > 0
            ? number
            : throw new JsonException($"{name} must be a whole number from 1");
    }
}
