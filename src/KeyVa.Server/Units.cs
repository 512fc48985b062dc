using System.Buffers;
using System.Globalization;

namespace KeyVa.Server;

/// <summary>Sizes such as <c>64MiB</c> and durations such as <c>100ms</c>, as people write them. Stateless.</summary>
internal static class Units
{
    /// <summary>What <see cref="TryParseSize"/> takes, for error messages.</summary>
    internal const string SizeForms = "a whole number with B, KiB, MiB, GiB or TiB, such as 64MiB";

    /// <summary>What <see cref="TryParseDuration"/> takes, for error messages.</summary>
    internal const string DurationForms = "a number with ms, s, m, h or d, such as 100ms or 1.5s";

    private static readonly SearchValues<char> NumberChars = SearchValues.Create("0123456789.");

    // Beyond this a duration is a slip of the pen, and milliseconds since 1970 would overflow: about a thousand years.
    private const double LongestMilliseconds = 1000d * 366 * 24 * 60 * 60 * 1000;

    /// <summary>Bytes; a number without a unit is bytes.</summary>
    internal static bool TryParseSize(ReadOnlySpan<char> text, out long bytes)
    {
        bytes = 0;
        (ReadOnlySpan<char> number, ReadOnlySpan<char> unit) = Split(text);
        int shift = unit switch
        {
            "" or "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => -1,
        };
        if (shift < 0
            || !long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out long count)
            || count > long.MaxValue >> shift)
        {
            return false;
        }

        bytes = count << shift;
        return true;
    }

    /// <summary>A time of at least one millisecond; finer parts are rounded up.</summary>
    /// <param name="text">The number and its unit.</param>
    /// <param name="plainUnit">The unit of a number without one; empty: it must have one.</param>
    /// <param name="milliseconds">The result.</param>
    internal static bool TryParseDuration(ReadOnlySpan<char> text, ReadOnlySpan<char> plainUnit, out long milliseconds)
    {
        milliseconds = 0;
        (ReadOnlySpan<char> number, ReadOnlySpan<char> unit) = Split(text);
        double scale = (unit.IsEmpty ? plainUnit : unit) switch
        {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => 0,
        };
        if (scale == 0
            || !double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value))
        {
            return false;
        }

        double total = Math.Ceiling(value * scale);
        if (!(total is >= 1 and <= LongestMilliseconds))
        {
            return false;
        }

        milliseconds = (long)total;
        return true;
    }

    /// <summary>Writes bytes in the largest unit that divides them.</summary>
    internal static string FormatSize(long bytes)
    {
        ReadOnlySpan<string> units = ["B", "KiB", "MiB", "GiB", "TiB"];
        int unit = 0;
        while (unit < units.Length - 1 && bytes != 0 && bytes % 1024 == 0)
        {
            bytes /= 1024;
            unit++;
        }

        return string.Create(CultureInfo.InvariantCulture, $"{bytes}{units[unit]}");
    }

    /// <summary>Writes a duration in the largest unit that divides it.</summary>
    internal static string FormatDuration(TimeSpan time)
    {
        long milliseconds = (long)time.TotalMilliseconds;
        (long scale, string unit) = milliseconds switch
        {
            _ when milliseconds % 3_600_000 == 0 => (3_600_000L, "h"),
            _ when milliseconds % 60_000 == 0 => (60_000L, "m"),
            _ when milliseconds % 1000 == 0 => (1000L, "s"),
            _ => (1L, "ms"),
        };
        return string.Create(CultureInfo.InvariantCulture, $"{milliseconds / scale}{unit}");
    }

    private static SplitNumber Split(ReadOnlySpan<char> text)
    {
        int end = text.IndexOfAnyExcept(NumberChars);
        return end < 0 ? new SplitNumber(text, default) : new SplitNumber(text[..end], text[end..].TrimStart(' '));
    }

    private readonly ref struct SplitNumber(ReadOnlySpan<char> number, ReadOnlySpan<char> unit)
    {
        private readonly ReadOnlySpan<char> _number = number;
        private readonly ReadOnlySpan<char> _unit = unit;

        public void Deconstruct(out ReadOnlySpan<char> number, out ReadOnlySpan<char> unit)
        {
            number = _number;
            unit = _unit;
        }
    }
}
