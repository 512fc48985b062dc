using System.Globalization;

namespace KeyVa.Cli;

/// <summary>Times as people write them, and moments as they read them. Stateless.</summary>
internal static class TimeText
{
    /// <summary>A time such as <c>500ms</c>, <c>90s</c>, <c>15m</c>, <c>1.5h</c> or <c>7d</c>; at least a millisecond.</summary>
    public static TimeSpan Parse(string text, string option)
    {
        ReadOnlySpan<char> number = text.AsSpan().TrimEnd("abcdefghijklmnopqrstuvwxyz");
        double milliseconds = text[number.Length..] switch
        {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => 0,
        };
        if (milliseconds > 0 && double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double count)
            && count * milliseconds is >= 1 and < 100d * 366 * 86_400_000)
        {
            return TimeSpan.FromMilliseconds(Math.Ceiling(count * milliseconds));
        }

        throw CommandException.Usage($"{option} is '{text}'; write a number with ms, s, m, h or d, such as 90s");
    }
}
