using System.Diagnostics;
using System.Globalization;

namespace KeyVa.Server;

/// <summary>
/// From which time on a request goes into the slow log, by operation: <c>10ms</c> for all, <c>10ms,scan=1s,bulk=off</c> with exceptions.
/// Immutable; two are equal if their texts are.
/// </summary>
public sealed class SlowThresholds : IEquatable<SlowThresholds>
{
    /// <summary>What <see cref="TryParse"/> takes, for messages.</summary>
    internal const string Forms =
        "off, or a time with us, ms or s, then exceptions such as scan=1s or get=off; operations are get, put, remove, write, scan, bulk, commit, other";

    private const int MaxLength = 256;
    private const double LongestMicroseconds = 24d * 3600 * 1_000_000;
    private static readonly string[] Words = ["get", "put", "remove", "write", "scan", "bulk", "commit", "other"];

    private readonly long[] _ticks;

    private SlowThresholds(string text, long[] ticks)
    {
        Text = text;
        _ticks = ticks;
    }

    /// <summary>The default: 10 ms, a second for scans; bulk loads, which are long by nature, never.</summary>
    public static SlowThresholds Default { get; } = TryParse("10ms,scan=1s,bulk=off", out SlowThresholds? parsed) ? parsed : throw new UnreachableException();

    /// <summary>As it is written.</summary>
    public string Text { get; }

    /// <summary>Microseconds from which on reads of a key are slow, as Redis writes it; -1: none is.</summary>
    internal long Microseconds => _ticks[0] == long.MaxValue ? -1 : (long)Stopwatch.GetElapsedTime(0, _ticks[0]).TotalMicroseconds;

    /// <summary>The lowest of those that write, in ticks; <see cref="long.MaxValue"/>: none is noted.</summary>
    internal long LowestWriteTicks
    {
        get
        {
            long lowest = Math.Min(_ticks[(int)Operation.Upsert], _ticks[(int)Operation.Remove]);
            return Math.Min(Math.Min(lowest, _ticks[(int)Operation.Write]), _ticks[(int)Operation.Commit]);
        }
    }

    /// <summary>Ticks of the stopwatch from which on an operation is slow; <see cref="long.MaxValue"/>: never.</summary>
    internal long TicksOf(Operation operation) => _ticks[(int)operation];

    /// <summary>All operations alike, in microseconds; negative: none.</summary>
    internal static SlowThresholds Of(long microseconds)
    {
        string text = microseconds < 0 ? "off" : string.Create(CultureInfo.InvariantCulture, $"{microseconds}us");
        long[] ticks = new long[Words.Length];
        Array.Fill(ticks, microseconds < 0 ? long.MaxValue : ToTicks(microseconds));
        return new SlowThresholds(text, ticks);
    }

    /// <summary>Reads one; false: it is none.</summary>
    internal static bool TryParse(string text, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out SlowThresholds? thresholds)
    {
        thresholds = null;
        if (text.Length > MaxLength)
        {
            return false;
        }

        string[] parts = text.Split(',', StringSplitOptions.TrimEntries);
        if (!TryTime(parts[0], out long all))
        {
            return false;
        }

        long[] ticks = new long[Words.Length];
        Array.Fill(ticks, all);
        foreach (string part in parts.AsSpan(1))
        {
            int equals = part.IndexOf('=', StringComparison.Ordinal);
            int word = equals < 0 ? -1 : Array.IndexOf(Words, part[..equals]);
            if (word < 0 || !TryTime(part.AsSpan(equals + 1), out ticks[word]))
            {
                return false;
            }
        }

        thresholds = new SlowThresholds(text, ticks);
        return true;
    }

    /// <inheritdoc/>
    public bool Equals(SlowThresholds? other) => other is not null && Text == other.Text;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as SlowThresholds);

    /// <inheritdoc/>
    public override int GetHashCode() => Text.GetHashCode(StringComparison.Ordinal);

    /// <inheritdoc/>
    public override string ToString() => Text;

    private static bool TryTime(ReadOnlySpan<char> text, out long ticks)
    {
        ticks = long.MaxValue;
        if (text is "off")
        {
            return true;
        }

        int digits = text.LastIndexOfAnyInRange('0', '9') + 1;
        double scale = text[digits..] switch
        {
            "us" => 1,
            "ms" => 1000,
            "s" => 1_000_000,
            _ => text is "0" ? 1 : 0,
        };
        if (scale == 0 || !double.TryParse(text[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number)
            || !(number * scale is >= 0 and <= LongestMicroseconds))
        {
            return false;
        }

        ticks = ToTicks(number * scale);
        return true;
    }

    private static long ToTicks(double microseconds) => (long)(microseconds * (Stopwatch.Frequency / 1e6));
}
