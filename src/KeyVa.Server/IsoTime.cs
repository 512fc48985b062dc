using System.Globalization;
using System.Text;

namespace KeyVa.Server;

/// <summary>Moments in ISO 8601, always UTC and in milliseconds: 2026-01-31T23:59:59.999Z. Stateless.</summary>
internal static class IsoTime
{
    private const int Length = 24;

    /// <summary>What <see cref="TryParse"/> takes.</summary>
    internal const string Forms = "a moment in ISO 8601, such as 2030-01-31T12:00:00Z; without a zone it is UTC";

    private static readonly string[] Formats = ["yyyy-MM-dd", "yyyy-MM-ddTHH:mmK", "yyyy-MM-ddTHH:mm:ssK", "yyyy-MM-ddTHH:mm:ss.FFFFFFFK"];

    // The last moment that four digits of a year can say.
    private static readonly long Latest = DateTimeOffset.MaxValue.ToUnixTimeMilliseconds();

    /// <summary>Writes milliseconds since 1970; what is later than the year 9999 is written as its end.</summary>
    internal static string Format(long unixMilliseconds) =>
        string.Create(Length, Math.Clamp(unixMilliseconds, 0, Latest), static (text, milliseconds) =>
        {
            DateTime time = DateTime.UnixEpoch.AddTicks(milliseconds * TimeSpan.TicksPerMillisecond);
            time.GetDate(out int year, out int month, out int day);
            Two(text, 0, year / 100);
            Two(text, 2, year % 100);
            text[4] = '-';
            Two(text, 5, month);
            text[7] = '-';
            Two(text, 8, day);
            text[10] = 'T';
            Two(text, 11, time.Hour);
            text[13] = ':';
            Two(text, 14, time.Minute);
            text[16] = ':';
            Two(text, 17, time.Second);
            text[19] = '.';
            int fraction = time.Millisecond;
            text[20] = (char)('0' + (fraction / 100));
            Two(text, 21, fraction % 100);
            text[23] = 'Z';
        });

    /// <summary>Reads a moment, rounded down to milliseconds since 1970.</summary>
    internal static bool TryParse(ReadOnlySpan<char> text, out long unixMilliseconds)
    {
        bool valid = DateTimeOffset.TryParseExact(text, Formats, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset moment);
        unixMilliseconds = valid ? moment.ToUnixTimeMilliseconds() : 0;
        return valid;
    }

    /// <summary>As <see cref="TryParse"/>, of a text as it stands in a query, where a plus is a plus: the zone may begin with one.</summary>
    internal static bool TryParseQuery(string text, out long unixMilliseconds)
    {
        byte[] bytes = new byte[UrlBytes.MaxBytes(text.Length)];
        unixMilliseconds = 0;
        return UrlBytes.TryDecodePercent(text, bytes, plusIsSpace: false, out int length)
            && TryParse(Encoding.ASCII.GetString(bytes.AsSpan(0, length)), out unixMilliseconds);
    }

    private static void GetDate(this DateTime time, out int year, out int month, out int day) =>
        DateOnly.FromDateTime(time).Deconstruct(out year, out month, out day);

    private static void Two(Span<char> text, int at, int value)
    {
        text[at] = (char)('0' + (value / 10));
        text[at + 1] = (char)('0' + (value % 10));
    }
}
