using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace KeyVa.Server;

/// <summary>
/// The query of a request: all parameters that any resource knows. A parameter that the resource does not know, one that
/// stands twice, or a value that it does not take is refused by name. Written once, by the parser.
/// </summary>
internal sealed class RestQuery
{
    /// <summary>Records that a list returns unless it is told otherwise.</summary>
    internal const long DefaultLimit = 1000;

    /// <summary>The parameters of <c>GET /kv/{key}</c>.</summary>
    internal static readonly string[] GetParameters = ["encoding", "version", "time"];

    /// <summary>The parameters of <c>DELETE /kv/{key}</c>.</summary>
    internal static readonly string[] KeyParameters = ["encoding"];

    /// <summary>The parameters of <c>GET /history/{key}</c>.</summary>
    internal static readonly string[] HistoryParameters = ["encoding", "limit", "before", "keys-only"];

    /// <summary>The parameters of <c>PUT /kv/{key}</c>.</summary>
    internal static readonly string[] PutParameters = ["encoding", "ttl"];

    /// <summary>The parameters of <c>PATCH /kv/{key}</c>.</summary>
    internal static readonly string[] MergeParameters = ["encoding", "ttl", "function", "function-version"];

    /// <summary>The parameters of <c>POST /kv:get</c>.</summary>
    internal static readonly string[] MultiGetParameters = ["version", "time"];

    /// <summary>The parameters of <c>GET /kv</c>.</summary>
    internal static readonly string[] ListParameters =
        ["prefix", "from", "to", "limit", "reverse", "after", "keys-only", "unordered", "encoding", "version", "time"];

    /// <summary>The parameters of <c>GET /watch</c>.</summary>
    internal static readonly string[] WatchParameters = ["key", "prefix", "from", "to", "version", "previous", "keys-only", "encoding"];

    /// <summary>The parameters of <c>GET /indexes/{name}</c>.</summary>
    internal static readonly string[] IndexParameters = ["wait"];

    /// <summary>The parameters of <c>GET /indexes/{name}/records</c>.</summary>
    internal static readonly string[] IndexedParameters =
        ["equal", "from", "to", "from-exclusive", "to-inclusive", "prefix", "reverse", "limit", "after", "keys-only"];

    /// <summary>The parameters of <c>DELETE /kv</c>.</summary>
    internal static readonly string[] RemoveParameters = ["prefix", "from", "to", "all", "encoding"];

    private const long MaxWaitMilliseconds = 24 * 3600 * 1000;

    /// <summary>No parameters at all.</summary>
    internal static readonly RestQuery None = new();

    private readonly List<string> _seen = [];
    private string? _key;
    private string? _prefix;
    private string? _from;
    private string? _to;
    private string? _equal;
    private long? _time;

    /// <summary>Whether keys are written in base64url.</summary>
    public bool Base64 { get; private set; }

    public Expiry Expiry { get; private set; }

    /// <summary>The merge function; null: none is named.</summary>
    public string? Function { get; private set; }

    /// <summary>Its version; 0: the newest.</summary>
    public int FunctionVersion { get; private set; }

    public byte[] Key { get; private set; } = [];

    public byte[] Prefix { get; private set; } = [];

    public byte[] From { get; private set; } = [];

    public byte[] To { get; private set; } = [];

    public byte[] After { get; private set; } = [];

    /// <summary>What the first fields of an index are, as JSON; empty: nothing is given.</summary>
    public byte[] Equal { get; private set; } = [];

    public bool FromExclusive { get; private set; }

    public bool ToInclusive { get; private set; }

    /// <summary>Whether a prefix is given, if an empty one.</summary>
    public bool HasPrefix => _prefix is not null;

    /// <summary>How long to wait until an index is ready.</summary>
    public TimeSpan Wait { get; private set; }

    /// <summary>The most records to return; 0: all.</summary>
    public long Limit { get; private set; } = DefaultLimit;

    /// <summary>The first version of a watch, 0: from now on; or the version as of which is read.</summary>
    public long Version { get; private set; }

    /// <summary>Below which version a history goes on; 0: from the newest.</summary>
    public long Before { get; private set; }

    /// <summary>Whether what was is to be read, and not what is.</summary>
    public bool IsOfPast => _time is not null || _seen.Contains("version");

    public bool Previous { get; private set; }

    public bool Reverse { get; private set; }

    public bool KeysOnly { get; private set; }

    public bool Unordered { get; private set; }

    public bool All { get; private set; }

    /// <summary>Reads a query of which only the parameters of <paramref name="known"/> are allowed.</summary>
    public static bool TryParse(
        ReadOnlySpan<char> text, string[] known, [NotNullWhen(true)] out RestQuery? query, [NotNullWhen(false)] out Problem? problem)
    {
        query = None;
        problem = null;
        if (text.IsEmpty)
        {
            return true;
        }

        RestQuery parsed = new();
        foreach (Range range in text.Split('&'))
        {
            ReadOnlySpan<char> pair = text[range];
            if (!pair.IsEmpty && parsed.Take(pair, known) is { } wrong)
            {
                (query, problem) = (null, Problem.Malformed(wrong));
                return false;
            }
        }

        if (parsed.DecodeBounds() is { } bad)
        {
            (query, problem) = (null, Problem.Malformed(bad));
            return false;
        }

        query = parsed;
        return true;
    }

    /// <summary>The version or time as of which is read, now if there is neither; false with what is wrong.</summary>
    public bool TryReadMoment(out AsOf at, [NotNullWhen(false)] out Problem? problem)
    {
        bool valid = PastMoment.TryRead(_seen.Contains("version") ? Version : null, _time, out at, out string wrong);
        problem = valid ? null : Problem.Malformed(wrong);
        return valid;
    }

    // Takes name=value; returns what is wrong with it, or null.
    private string? Take(ReadOnlySpan<char> pair, string[] known)
    {
        int equals = pair.IndexOf('=');
        ReadOnlySpan<char> name = equals < 0 ? pair : pair[..equals];
        string value = equals < 0 ? "" : pair[(equals + 1)..].ToString();
        string? match = null;
        foreach (string one in known)
        {
            if (name.SequenceEqual(one))
            {
                match = one;
            }
        }

        if (match is null)
        {
            return $"unknown query parameter '{name}'; known here are: {string.Join(", ", known)}";
        }

        if (_seen.Contains(match))
        {
            return $"the query parameter '{match}' stands twice";
        }

        _seen.Add(match);
        return Set(match, value);
    }

    private string? Set(string name, string value)
    {
        switch (name)
        {
            case "key":
                _key = value;
                return value.Length > 0 ? null : "the query parameter 'key' is empty; leave it out to watch every key";
            case "prefix":
                _prefix = value;
                return null;
            case "from":
                _from = value;
                return null;
            case "to":
                _to = value;
                return null;
            case "equal":
                _equal = value;
                return null;
            case "from-exclusive":
                return SetSwitch(name, value, on => FromExclusive = on);
            case "to-inclusive":
                return SetSwitch(name, value, on => ToInclusive = on);
            case "wait":
                bool isWait = Units.TryParseDuration(value, "s", out long wait);
                Wait = TimeSpan.FromMilliseconds(Math.Min(wait, MaxWaitMilliseconds));
                return isWait ? null : $"wait is '{value}'; allowed is: seconds, or {Units.DurationForms}";
            case "after":
                return SetAfter(value);
            case "encoding":
                Base64 = value == "base64url";
                return Base64 || value == "percent" ? null : $"encoding is '{value}'; allowed is: percent, base64url";
            case "ttl":
                return SetTtl(value);
            case "function":
                Function = value;
                return null;
            case "function-version":
                bool isNumber = int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number > 0;
                FunctionVersion = number;
                return isNumber ? null : $"function-version is '{value}'; allowed is: a whole number from 1";
            case "limit":
                bool valid = long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out long limit);
                Limit = limit;
                return valid ? null : $"limit is '{value}'; allowed is: a whole number, 0 for no limit";
            case "version":
                bool isVersion = long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out long version);
                Version = version;
                return isVersion ? null : $"version is '{value}'; allowed is: a whole number";
            case "time":
                bool isTime = IsoTime.TryParseQuery(value, out long time);
                _time = time;
                return isTime ? null : $"time is '{value}'; allowed is: {IsoTime.Forms}";
            case "before":
                bool isBefore = long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out long before) && before > 0;
                Before = before;
                return isBefore ? null : $"before is '{value}'; allowed is: a version, a whole number from 1";
            case "previous":
                return SetSwitch(name, value, on => Previous = on);
            case "all":
                return SetSwitch(name, value, on => All = on);
            case "reverse":
                return SetSwitch(name, value, on => Reverse = on);
            case "keys-only":
                return SetSwitch(name, value, on => KeysOnly = on);
            default:
                return SetSwitch(name, value, on => Unordered = on);
        }
    }

    private string? SetAfter(string value)
    {
        byte[] bytes = new byte[UrlBytes.MaxBytes(value.Length)];
        if (!UrlBytes.TryDecodeBase64(value, bytes, out int length))
        {
            return $"after is '{value}'; allowed is: the resume token of an earlier answer";
        }

        After = bytes[..length];
        return null;
    }

    private string? SetTtl(string value)
    {
        if (!Units.TryParseDuration(value, "s", out long milliseconds))
        {
            return $"ttl is '{value}'; allowed is: seconds, or {Units.DurationForms}";
        }

        Expiry = Expiry.InMilliseconds(milliseconds);
        return null;
    }

    private static string? SetSwitch(string name, string value, Action<bool> set)
    {
        set(value is "" or "true" or "1");
        return value is "" or "true" or "1" or "false" or "0" ? null : $"{name} is '{value}'; allowed is: true, false";
    }

    // The encoding of the bounds may stand behind them.
    private string? DecodeBounds()
    {
        foreach ((string name, string? text) in new[] { ("key", _key), ("prefix", _prefix), ("from", _from), ("to", _to), ("equal", _equal) })
        {
            if (text is null)
            {
                continue;
            }

            byte[] bytes = new byte[UrlBytes.MaxBytes(text.Length)];
            bool valid = Base64
                ? UrlBytes.TryDecodeBase64(text, bytes, out int length)
                : UrlBytes.TryDecodePercent(text, bytes, plusIsSpace: true, out length);
            if (!valid)
            {
                return $"the query parameter '{name}' " + (Base64 ? UrlBytes.BadBase64 : UrlBytes.BadPercent);
            }

            bytes = bytes[..length];
            _ = name switch
            {
                "key" => Key = bytes,
                "prefix" => Prefix = bytes,
                "from" => From = bytes,
                "equal" => Equal = bytes,
                _ => To = bytes,
            };
        }

        return null;
    }
}
