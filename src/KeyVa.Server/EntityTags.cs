using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Microsoft.Extensions.Primitives;

namespace KeyVa.Server;

/// <summary>
/// The value of If-Match or If-None-Match (RFC 9110, 13.1). The entity tag of a value is its version in quotes. A tag
/// that is no version is well-formed and matches nothing. Immutable.
/// </summary>
internal readonly struct EntityTags
{
    // A version that no key ever has: the condition for tags that match nothing.
    private const long NoVersion = long.MaxValue;

    private readonly List<long>? _versions;

    private EntityTags(bool any, List<long>? versions)
    {
        IsAny = any;
        _versions = versions;
    }

    /// <summary>Whether the header was there.</summary>
    public bool Given => IsAny || _versions is not null;

    /// <summary>Whether it was *.</summary>
    public bool IsAny { get; }

    /// <summary>Whether it names several versions, of which one condition can ask for one only.</summary>
    public bool HasSeveral => _versions is { Count: > 1 };

    /// <summary>Writes the tag of a version.</summary>
    public static string Of(long version) => string.Create(CultureInfo.InvariantCulture, $"\"{version}\"");

    /// <summary>Whether a version is meant.</summary>
    public bool Matches(long version) => IsAny || (_versions?.Contains(version) ?? false);

    /// <summary>If-Match as the condition of a write; of several versions, the one that the key has now.</summary>
    public Condition IfMatch(long current)
    {
        if (IsAny)
        {
            return Condition.IfPresent;
        }

        if (_versions is not { Count: > 0 })
        {
            return Condition.IfVersion(NoVersion);
        }

        return Condition.IfVersion(_versions.Contains(current) ? current : _versions[0]);
    }

    /// <summary>Reads a header.</summary>
    /// <param name="name">The header's name, for the problem.</param>
    /// <param name="header">Its values.</param>
    /// <param name="weak">Whether weak tags match too (If-None-Match).</param>
    /// <param name="tags">What it says.</param>
    /// <param name="problem">What is wrong with it.</param>
    public static bool TryParse(
        string name, StringValues header, bool weak, out EntityTags tags, [NotNullWhen(false)] out Problem? problem)
    {
        tags = default;
        problem = null;
        if (header.Count == 0)
        {
            return true;
        }

        ReadOnlySpan<char> rest = header.ToString().AsSpan().Trim();
        if (rest is "*")
        {
            tags = new EntityTags(any: true, null);
            return true;
        }

        List<long> versions = [];
        bool wellFormed = !rest.IsEmpty;
        while (wellFormed && !rest.IsEmpty)
        {
            wellFormed = TakeTag(ref rest, weak, versions);
        }

        if (!wellFormed)
        {
            problem = Problem.Malformed($"{name} is '{header}'; allowed is: *, or entity tags such as \"42\", separated by commas");
            return false;
        }

        tags = new EntityTags(any: false, versions);
        return true;
    }

    private static bool TakeTag(ref ReadOnlySpan<char> rest, bool weak, List<long> versions)
    {
        bool isWeak = rest.StartsWith("W/", StringComparison.Ordinal);
        rest = isWeak ? rest[2..] : rest;
        int close = rest.Length > 1 && rest[0] == '"' ? rest[1..].IndexOf('"') : -1;
        if (close < 0)
        {
            return false;
        }

        if ((weak || !isWeak)
            && long.TryParse(rest.Slice(1, close), NumberStyles.None, CultureInfo.InvariantCulture, out long version))
        {
            versions.Add(version);
        }

        rest = rest[(close + 2)..].TrimStart();
        if (rest.IsEmpty)
        {
            return true;
        }

        if (rest[0] != ',')
        {
            return false;
        }

        rest = rest[1..].TrimStart();
        return !rest.IsEmpty;
    }
}
