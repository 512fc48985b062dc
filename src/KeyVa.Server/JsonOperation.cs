using System.Globalization;
using System.Text.Json;
using KeyVa.Merges;

namespace KeyVa.Server;

/// <summary>One operation of a JSON batch while it is read. Used by one thread, for one object.</summary>
internal ref struct JsonOperation(string place)
{
    private string? _op;
    private byte[]? _key;
    private byte[]? _value;
    private string? _function;
    private int _functionVersion;
    private byte[]? _operand;
    private bool _hasExpiry;
    private Expiry _expiry;
    private Condition _condition;
    private byte[]? _prefix;
    private byte[]? _from;
    private byte[]? _to;
    private bool _all;

    /// <summary>Takes a member; the reader stands on its value.</summary>
    public void Take(ref Utf8JsonReader json, string name)
    {
        string here = $"{place}.{name}";
        switch (name)
        {
            case "op":
                Once(_op is null, here);
                _op = json.TokenType == JsonTokenType.String ? json.GetString() : "";
                break;
            case "key" or "key64":
                _key = Bytes(ref json, name, here, _key);
                break;
            case "value" or "value64":
                _value = Bytes(ref json, name, here, _value);
                break;
            case "function":
                Once(_function is null, here);
                _function = json.TokenType == JsonTokenType.String ? json.GetString() : throw new JsonException($"{here} must be the name of a merge function");
                break;
            case "functionVersion":
                Once(_functionVersion == 0, here);
                _functionVersion = json.TokenType == JsonTokenType.Number && json.TryGetInt32(out int version) && version > 0
                    ? version
                    : throw new JsonException($"{here} must be a whole number from 1");
                break;
            case "operand" or "operand64":
                _operand = Bytes(ref json, name, here, _operand);
                break;
            case "ttl" or "expires":
                Once(!_hasExpiry, here);
                _hasExpiry = true;
                _expiry = name == "ttl" ? Ttl(ref json, here) : Expires(ref json, here);
                break;
            case "prefix" or "prefix64":
                _prefix = Bytes(ref json, name, here, _prefix);
                break;
            case "from" or "from64":
                _from = Bytes(ref json, name, here, _from);
                break;
            case "to" or "to64":
                _to = Bytes(ref json, name, here, _to);
                break;
            case "all":
                Once(!_all, here);
                _all = json.TokenType == JsonTokenType.True ? true : throw new JsonException($"{here} must be true");
                break;
            default:
                Once(_condition.Kind == ConditionKind.None, here);
                _condition = ReadCondition(ref json, name, here);
                break;
        }
    }

    /// <summary>Adds the operation to a batch; returns whether it is the removal of a key.</summary>
    public readonly bool AddTo(WriteBatch batch, MergeRegistry? functions = null)
    {
        if (_op == "removeRange")
        {
            AddRange(batch);
            return false;
        }

        if (HasBounds)
        {
            throw new JsonException($"{place} is about one key; prefix, from, to and all go with \"op\": \"removeRange\"");
        }

        if (_key is null)
        {
            throw new JsonException($"{place} has neither key nor key64");
        }

        if (_op != "merge" && (_function is not null || _functionVersion != 0 || _operand is not null))
        {
            throw new JsonException($"{place} merges nothing; function, functionVersion and operand go with \"op\": \"merge\"");
        }

        switch (_op)
        {
            case "merge":
                AddMerge(batch, functions ?? MergeRegistry.OfBuiltIn);
                return false;
            case "put":
                batch.Put(
                    _key, _value ?? throw new JsonException($"{place} has neither value nor value64"),
                    new WriteOptions { Expiry = _expiry, Condition = _condition });
                return false;
            case "remove" when _value is null && !_hasExpiry:
                batch.Remove(_key, _condition);
                return true;
            case "check" when _value is null && !_hasExpiry && _condition.Kind != ConditionKind.None:
                batch.Check(_key, _condition);
                return false;
            case "check":
                throw new JsonException($"{place} checks a key and takes a condition, and neither a value nor an expiry");
            case "remove":
                throw new JsonException($"{place} removes a key and takes neither a value nor an expiry");
            default:
                throw new JsonException($"{place}.op must be \"put\", \"merge\", \"remove\", \"removeRange\" or \"check\"");
        }
    }

    private readonly void AddMerge(WriteBatch batch, MergeRegistry functions)
    {
        string name = _function ?? throw new JsonException($"{place} has no function");
        byte[] operand = _operand ?? throw new JsonException($"{place} has neither operand nor operand64");
        if (_value is not null)
        {
            throw new JsonException($"{place} merges and takes no value, but an operand");
        }

        MergeFunction function = functions.Find(name, _functionVersion) ?? throw new JsonException($"{place}: {functions.Describe(name, _functionVersion)}");
        batch.Merge(_key, function, operand, new WriteOptions { Expiry = _expiry, Condition = _condition });
    }

    /// <summary>Adds the operation, a get included, to what a one-shot transaction does.</summary>
    public readonly void AddTo(OneShot.Branch branch, MergeRegistry functions)
    {
        if (_op != "get")
        {
            AddTo(branch.Write(), functions);
            return;
        }

        if (_key is null || _value is not null || _hasExpiry || _condition.Kind != ConditionKind.None || HasBounds)
        {
            throw new JsonException($"{place} reads a key and takes key or key64 alone");
        }

        branch.Get(_key);
    }

    /// <summary>Adds what has no op to the conditions of a one-shot transaction.</summary>
    public readonly void AddTo(OneShot plan)
    {
        if (_op is not null || _key is null || _value is not null || _hasExpiry || _condition.Kind == ConditionKind.None || HasBounds)
        {
            throw new JsonException($"{place} must hold key or key64 and one of: ifAbsent, ifPresent, ifVersion, ifValue, ifValue64");
        }

        plan.When(_key, _condition);
    }

    /// <summary>A time in seconds, or with a unit.</summary>
    internal static TimeSpan Time(ref Utf8JsonReader json, string here) => TimeSpan.FromMilliseconds(Milliseconds(ref json, here));

    private readonly bool HasBounds => _prefix is not null || _from is not null || _to is not null || _all;

    private readonly void AddRange(WriteBatch batch)
    {
        if (_key is not null || _function is not null || _operand is not null || _value is not null || _hasExpiry || _condition.Kind != ConditionKind.None)
        {
            throw new JsonException($"{place} removes a range and takes no key, value, expiry or condition");
        }

        if (!RangeBounds.TryRead(_prefix, _from, _to, _all, out KeyRange range, out string wrong))
        {
            throw new JsonException($"{place} {wrong}");
        }

        batch.RemoveRange(range.From.Span, range.To.Span);
    }

    // Text, or base64 where the member's name says so.
    private static byte[] Bytes(ref Utf8JsonReader json, string name, string here, byte[]? before)
    {
        Once(before is null, here);
        return name.EndsWith("64", StringComparison.Ordinal) ? JsonRequest.Base64(ref json, here) : JsonRequest.Text(ref json, here);
    }

    private static void Once(bool first, string here)
    {
        if (!first)
        {
            throw new JsonException($"{here} says the same thing a second time, or contradicts it");
        }
    }

    private static Expiry Ttl(ref Utf8JsonReader json, string here) => Expiry.InMilliseconds(Milliseconds(ref json, here));

    private static long Milliseconds(ref Utf8JsonReader json, string here)
    {
        string? text = json.TokenType switch
        {
            JsonTokenType.String => json.GetString(),
            JsonTokenType.Number => System.Text.Encoding.UTF8.GetString(json.ValueSpan),
            _ => null,
        };
        return Units.TryParseDuration(text, "s", out long milliseconds)
            ? milliseconds
            : throw new JsonException($"{here} must be seconds, or {Units.DurationForms}");
    }

    private static Expiry Expires(ref Utf8JsonReader json, string here) =>
        json.TokenType == JsonTokenType.String && json.TryGetDateTimeOffset(out DateTimeOffset moment)
            ? Expiry.At(moment)
            : throw new JsonException($"{here} must be a moment in ISO 8601, such as 2030-01-31T12:00:00Z");

    private static Condition ReadCondition(ref Utf8JsonReader json, string name, string here)
    {
        switch (name)
        {
            case "ifAbsent" or "ifPresent":
                if (json.TokenType != JsonTokenType.True)
                {
                    throw new JsonException($"{here} must be true");
                }

                return name == "ifAbsent" ? Condition.IfAbsent : Condition.IfPresent;
            case "ifVersion":
                long version = 0;
                if (json.TokenType != JsonTokenType.Number || !json.TryGetInt64(out version))
                {
                    throw new JsonException($"{here} must be a version, a whole number");
                }

                return Condition.IfVersion(version);
            case "ifValue":
                return Condition.IfValue(JsonRequest.Text(ref json, here));
            case "ifValue64":
                return Condition.IfValue(JsonRequest.Base64(ref json, here));
            default:
                throw new JsonException(string.Create(
                    CultureInfo.InvariantCulture,
                    $"{here} is not known; known are: op, key, key64, value, value64, function, functionVersion, operand, operand64, ttl, expires, ifAbsent, ifPresent, ifVersion, ifValue, ifValue64, prefix, prefix64, from, from64, to, to64, all"));
        }
    }
}
