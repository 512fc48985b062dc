using System.Text.Json;

namespace KeyVa.Server;

/// <summary>
/// Reads the JSON of transactions. What is unknown, double, missing or of the wrong type is refused with its name and
/// place. Stateless.
/// </summary>
/// <remarks>
/// <code>
/// POST /txn                 {"readOnly": false, "isolation": "serializable", "concurrency": "pessimistic", "timeLimit": "30s", "lockTimeout": "2s", "name": "nightly"}
/// POST /txn/{id}/get          {"keys": ["a", {"key64": "AP8="}], "forUpdate": true}
/// POST /txn/{id}/rollback-to  {"savepoint": 1}
/// POST /txn:transact        {"conditions": [{"key": "a", "ifVersion": 42}], "then": [{"op": "get", "key": "a"}, {"op": "put", …}], "otherwise": []}
/// </code>
/// All members may be left out, but keys and savepoint. Operations are those of a batch (see <see cref="JsonRequest"/>), and get.
/// </remarks>
internal static class JsonTransaction
{
    private static readonly string[] Levels = ["serializable", "repeatable-read", "read-committed", "read-uncommitted"];

    /// <summary>The word of an isolation level.</summary>
    internal static string Word(IsolationLevel level) => Levels[(int)level];

    /// <summary>The word of a kind of concurrency control.</summary>
    internal static string Word(Concurrency concurrency) => concurrency == Concurrency.Pessimistic ? "pessimistic" : "optimistic";

    /// <summary>Reads how to begin; an empty body is all defaults. False with what is wrong.</summary>
    internal static bool TryReadOptions(ReadOnlySpan<byte> body, out TransactionOptions options, out string wrong)
    {
        TransactionOptions read = new();
        wrong = "";
        bool valid = body.IsEmpty
            || Try(body, static (ref Utf8JsonReader json, string name, ref TransactionOptions into) => into = Take(ref json, name, into), ref read, out wrong);
        options = read;
        return valid;
    }

    /// <summary>Reads keys, and whether they are to be locked; false with what is wrong.</summary>
    internal static bool TryReadKeys(ReadOnlySpan<byte> body, List<ReadOnlyMemory<byte>> keys, out bool forUpdate, out string wrong)
    {
        (List<ReadOnlyMemory<byte>> Keys, bool HasKeys, bool ForUpdate) read = (keys, false, false);
        bool valid = Try(body, static (ref Utf8JsonReader json, string name, ref (List<ReadOnlyMemory<byte>> Keys, bool HasKeys, bool ForUpdate) into) =>
        {
            switch (name)
            {
                case "keys":
                    into.HasKeys = true;
                    List<ReadOnlyMemory<byte>> list = into.Keys;
                    Each(ref json, name, (ref Utf8JsonReader one, string place) => list.Add(JsonRequest.ReadKey(ref one, place)));
                    break;
                case "forUpdate":
                    into.ForUpdate = Switch(ref json, name);
                    break;
                default:
                    throw new JsonException($"{name} is not known; known are: keys, forUpdate");
            }
        }, ref read, out wrong);
        forUpdate = read.ForUpdate;
        if (valid && !read.HasKeys)
        {
            (valid, wrong) = (false, "the body has no keys");
        }

        return valid;
    }

    /// <summary>Reads the number of a savepoint; false with what is wrong.</summary>
    internal static bool TryReadSavepoint(ReadOnlySpan<byte> body, out int number, out string wrong)
    {
        int? read = null;
        bool valid = Try(body, static (ref Utf8JsonReader json, string name, ref int? into) =>
        {
            into = name == "savepoint" && json.TokenType == JsonTokenType.Number && json.TryGetInt32(out int one) && one >= 0
                ? one
                : throw new JsonException("the body must be {\"savepoint\": N}, with the number of a savepoint or 0 for the beginning");
        }, ref read, out wrong);
        number = read ?? 0;
        if (valid && read is null)
        {
            (valid, wrong) = (false, "the body has no savepoint");
        }

        return valid;
    }

    /// <summary>Reads a whole transaction; false with what is wrong.</summary>
    internal static bool TryReadOneShot(ReadOnlySpan<byte> body, OneShot plan, out string wrong)
    {
        bool valid = Try(body, static (ref Utf8JsonReader json, string name, ref OneShot into) =>
        {
            OneShot all = into;
            switch (name)
            {
                case "conditions":
                    Each(ref json, name, (ref Utf8JsonReader one, string place) => JsonRequest.ReadOperation(ref one, place).AddTo(all));
                    break;
                case "then" or "otherwise":
                    OneShot.Branch branch = all.Of(name == "then");
                    Each(ref json, name, (ref Utf8JsonReader one, string place) => JsonRequest.ReadOperation(ref one, place).AddTo(branch, all.Functions));
                    break;
                default:
                    throw new JsonException($"{name} is not known; known are: conditions, then, otherwise");
            }
        }, ref plan, out wrong);
        int gets = Math.Max(plan.Of(then: true).Gets, plan.Of(then: false).Gets);
        if (valid && gets > RestBatches.MaxGetKeys)
        {
            (valid, wrong) = (false, $"{gets} gets are more than the {RestBatches.MaxGetKeys} keys that one request may read");
        }

        return valid;
    }

    private delegate void TakeMember<T>(ref Utf8JsonReader json, string name, ref T into);

    private delegate void TakeElement(ref Utf8JsonReader json, string place);

    /// <summary>Reads an object, member by member, each at most once.</summary>
    private static bool Try<T>(ReadOnlySpan<byte> body, TakeMember<T> take, ref T into, out string wrong)
    {
        Utf8JsonReader json = new(body, JsonRequest.ReaderOptions);
        HashSet<string> seen = new(StringComparer.Ordinal);
        try
        {
            if (!json.Read() || json.TokenType != JsonTokenType.StartObject)
            {
                throw new JsonException("the body must be an object");
            }

            while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
            {
                string name = json.GetString()!;
                json.Read();
                if (!seen.Add(name))
                {
                    throw new JsonException($"{name} stands twice");
                }

                take(ref json, name, ref into);
            }

            if (json.Read())
            {
                throw new JsonException("the body goes on behind its end");
            }
        }
        catch (JsonException e)
        {
            wrong = e.Message;
            return false;
        }
        catch (InvalidOperationException)
        {
            wrong = JsonRequest.NoUnicode;
            return false;
        }

        wrong = "";
        return true;
    }

    private static void Each(ref Utf8JsonReader json, string name, TakeElement take)
    {
        if (json.TokenType != JsonTokenType.StartArray)
        {
            throw new JsonException($"{name} must be an array");
        }

        for (int index = 0; json.Read() && json.TokenType != JsonTokenType.EndArray; index++)
        {
            take(ref json, $"{name}[{index}]");
        }
    }

    private static TransactionOptions Take(ref Utf8JsonReader json, string name, TransactionOptions options)
    {
        switch (name)
        {
            case "readOnly":
                return options with { ReadOnly = Switch(ref json, name) };
            case "isolation":
                return options with { Isolation = (IsolationLevel)OneOf(ref json, name, Levels) };
            case "concurrency":
                return options with { Concurrency = (Concurrency)OneOf(ref json, name, "optimistic", "pessimistic") };
            case "timeLimit":
                return options with { TimeLimit = JsonOperation.Time(ref json, name) };
            case "lockTimeout":
                return options with { LockTimeout = JsonOperation.Time(ref json, name) };
            case "name":
                return options with { Name = json.TokenType == JsonTokenType.String ? json.GetString() : throw new JsonException("name must be a string") };
            default:
                throw new JsonException($"{name} is not known; known are: readOnly, isolation, concurrency, timeLimit, lockTimeout, name");
        }
    }

    private static bool Switch(ref Utf8JsonReader json, string name) => json.TokenType switch
    {
        JsonTokenType.True => true,
        JsonTokenType.False => false,
        _ => throw new JsonException($"{name} must be true or false"),
    };

    private static int OneOf(ref Utf8JsonReader json, string name, params string[] words)
    {
        int at = json.TokenType == JsonTokenType.String ? Array.IndexOf(words, json.GetString()) : -1;
        return at >= 0 ? at : throw new JsonException($"{name} must be one of: {string.Join(", ", words)}");
    }
}
