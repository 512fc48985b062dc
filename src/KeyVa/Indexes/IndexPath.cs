using System.Globalization;
using System.Text;

namespace KeyVa.Indexes;

/// <summary>One step of a path: a member's name, a place in an array, or every place.</summary>
internal readonly record struct PathStep(byte[]? Name, int Element)
{
    /// <summary>In place of the number of an element: every one.</summary>
    public const int Every = -1;

    public bool IsEvery => Name is null && Element == Every;
}

/// <summary>
/// Where a field stands in a JSON value, in a part of the notation of RFC 9535: <c>a.b</c>, <c>$.a['b c'][0]</c>, <c>tags[*]</c>,
/// <c>$</c> for the value itself. Immutable.
/// </summary>
internal sealed class IndexPath
{
    public const int MaxSteps = 32;
    public const int MaxBytes = 1024;

    private IndexPath(PathStep[] steps) => Steps = steps;

    public PathStep[] Steps { get; }

    /// <summary>Whether it leads to several values.</summary>
    public bool IsMany => Array.Exists(Steps, static step => step.IsEvery);

    /// <summary>Null if the path is read; otherwise why it cannot be.</summary>
    public static string? Parse(string text, out IndexPath path)
    {
        path = new IndexPath([]);
        if (string.IsNullOrEmpty(text) || Encoding.UTF8.GetByteCount(text) > MaxBytes)
        {
            return $"a path has 1 to {MaxBytes} bytes";
        }

        var steps = new List<PathStep>();
        int at = text[0] == '$' ? 1 : 0;
        while (at < text.Length)
        {
            bool isFirst = at == 0;
            if (text[at] == '[')
            {
                if (!TryReadBracket(text, ref at, steps))
                {
                    return $"the path '{text}' has something else than a number, * or a quoted name in its brackets at character {at}";
                }
            }
            else if ((text[at] == '.' || isFirst) && TryReadName(text, isFirst ? at : at + 1, out int end))
            {
                int begin = isFirst ? at : at + 1;
                steps.Add(new PathStep(Encoding.UTF8.GetBytes(text[begin..end]), 0));
                at = end;
            }
            else
            {
                return $"the path '{text}' cannot be read at character {at}: it is names with dots in between, and numbers, * or quoted names in brackets";
            }
        }

        if (steps.Count > MaxSteps)
        {
            return $"the path '{text}' has more than {MaxSteps} steps";
        }

        path = new IndexPath([.. steps]);
        return null;
    }

    private static bool TryReadName(string text, int at, out int end)
    {
        end = text.AsSpan(at).IndexOfAny('.', '[', ']');
        end = end < 0 ? text.Length : at + end;
        return end > at && !text.AsSpan(at, end - at).ContainsAny('*', '\'', '"');
    }

    private static bool TryReadBracket(string text, ref int at, List<PathStep> steps)
    {
        int begin = at + 1;
        if (begin < text.Length && text[begin] is '\'' or '"')
        {
            return TryReadQuoted(text, ref at, steps);
        }

        int end = text.IndexOf(']', begin);
        if (end < 0)
        {
            return false;
        }

        ReadOnlySpan<char> inside = text.AsSpan(begin, end - begin);
        int element = PathStep.Every;
        if (inside is not "*" && !int.TryParse(inside, NumberStyles.None, CultureInfo.InvariantCulture, out element))
        {
            return false;
        }

        steps.Add(new PathStep(null, element));
        at = end + 1;
        return true;
    }

    private static bool TryReadQuoted(string text, ref int at, List<PathStep> steps)
    {
        char quote = text[at + 1];
        var name = new StringBuilder();
        for (int i = at + 2; i < text.Length; i++)
        {
            if (text[i] == quote)
            {
                at = i + 2;
                steps.Add(new PathStep(Encoding.UTF8.GetBytes(name.ToString()), 0));
                return i + 1 < text.Length && text[i + 1] == ']';
            }

            i += text[i] == '\\' ? 1 : 0;
            if (i < text.Length)
            {
                name.Append(text[i]);
            }
        }

        return false;
    }
}
