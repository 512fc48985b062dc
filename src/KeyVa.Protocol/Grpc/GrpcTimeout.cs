using System.Globalization;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// The <c>grpc-timeout</c> header: 1 to 8 decimal digits and a unit (H hours, M minutes, S seconds, m milliseconds,
/// u microseconds, n nanoseconds).
/// </summary>
internal static class GrpcTimeout
{
    /// <summary>Longer than what a timer can wait for is no deadline at all.</summary>
    internal static readonly TimeSpan Longest = TimeSpan.FromDays(49);

    private const int MaxDigits = 8;
    private const long MaxValue = 99_999_999;

    /// <summary>Reads a header value; nanoseconds are rounded up to 100 ns, so that 1n is not "at once".</summary>
    internal static bool TryParse(ReadOnlySpan<char> text, out TimeSpan timeout)
    {
        timeout = default;
        if (text.Length is < 2 or > MaxDigits + 1
            || text[..^1].ContainsAnyExceptInRange('0', '9')
            || !long.TryParse(text[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out long value))
        {
            return false;
        }
        long ticksPerUnit = text[^1] switch
        {
            'H' => TimeSpan.TicksPerHour,
            'M' => TimeSpan.TicksPerMinute,
            'S' => TimeSpan.TicksPerSecond,
            'm' => TimeSpan.TicksPerMillisecond,
            'u' => TimeSpan.TicksPerMicrosecond,
            'n' => 0,
            _ => -1,
        };
        if (ticksPerUnit < 0)
            return false;
        // 99,999,999 hours are 3.6e18 ticks, which a long still holds.
        timeout = TimeSpan.FromTicks(ticksPerUnit == 0
            ? (value + TimeSpan.NanosecondsPerTick - 1) / TimeSpan.NanosecondsPerTick
            : value * ticksPerUnit);
        return true;
    }

    /// <summary>Writes a header value in the finest unit that fits into eight digits, rounded up.</summary>
    internal static string Format(TimeSpan timeout)
    {
        long ticks = Math.Max(timeout.Ticks, 0);
        (long Ticks, char Unit)[] units =
        [
            (TimeSpan.TicksPerMicrosecond, 'u'), (TimeSpan.TicksPerMillisecond, 'm'), (TimeSpan.TicksPerSecond, 'S'),
            (TimeSpan.TicksPerMinute, 'M'), (TimeSpan.TicksPerHour, 'H'),
        ];
        foreach ((long perUnit, char unit) in units)
        {
            long count = (ticks / perUnit) + (ticks % perUnit == 0 ? 0 : 1);
            if (count <= MaxValue)
                return string.Create(CultureInfo.InvariantCulture, $"{count}{unit}");
        }
        return string.Create(CultureInfo.InvariantCulture, $"{MaxValue}H");
    }
}
