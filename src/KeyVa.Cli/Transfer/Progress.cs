using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace KeyVa.Cli.Transfer;

/// <summary>
/// Tells a person on standard error how far a long work is: a line that is drawn over itself on a terminal, else a plain
/// line every few seconds. Calls may come from several threads.
/// </summary>
internal sealed class Progress : IDisposable
{
    private const int BarWidth = 24;
    private static readonly TimeSpan RedrawEvery = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan LineEvery = TimeSpan.FromSeconds(5);

    private readonly Lock _lock = new();
    private readonly Terminal _terminal;
    private readonly string _unit;
    private readonly bool _quiet;
    private readonly long _began = Stopwatch.GetTimestamp();
    private readonly long _doneBefore;
    private long _drawn;
    private bool _onLine;

    /// <summary>
    /// Progress towards <paramref name="total"/> (0: unknown), of which <paramref name="doneBefore"/> was done by an
    /// earlier part. Records are counted as <paramref name="unit"/>.
    /// </summary>
    public Progress(Terminal terminal, string unit, long total, long doneBefore = 0, bool quiet = false)
    {
        _terminal = terminal;
        _unit = unit;
        _quiet = quiet;
        Total = total;
        _doneBefore = doneBefore;
        _drawn = _began;
    }

    public long Total { get; }

    public TimeSpan Elapsed => Stopwatch.GetElapsedTime(_began);

    /// <summary>So much of the total is done, with so many records and bytes since this work began.</summary>
    public void Report(long done, long records, long bytes)
    {
        if (_quiet || Stopwatch.GetElapsedTime(Volatile.Read(ref _drawn)) < (_terminal.IsErrorTerminal ? RedrawEvery : LineEvery))
        {
            return;
        }

        lock (_lock)
        {
            Volatile.Write(ref _drawn, Stopwatch.GetTimestamp());
            string text = Describe(done, records, bytes);
            if (_terminal.IsErrorTerminal)
            {
                int width = Math.Max(20, Terminal.Width - 1);
                _terminal.Error.Write($"\r\e[K{(text.Length > width ? text[..width] : text)}");
                _onLine = true;
            }
            else
            {
                _terminal.Error.WriteLine(text);
            }
        }
    }

    /// <summary>Tells something else without mixing it into the line.</summary>
    public void Say(string message)
    {
        lock (_lock)
        {
            Clear();
            _terminal.Error.WriteLine(message);
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            Clear();
        }
    }

    /// <summary>A number of bytes for a person.</summary>
    public static string Bytes(double bytes)
    {
        string[] units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
        int unit = 0;
        while (bytes >= 1024 && unit < units.Length - 1)
        {
            bytes /= 1024;
            unit++;
        }

        return string.Create(CultureInfo.InvariantCulture, $"{(unit == 0 ? bytes.ToString("0", CultureInfo.InvariantCulture) : bytes.ToString("0.0", CultureInfo.InvariantCulture))} {units[unit]}");
    }

    /// <summary>A number with its thousands apart.</summary>
    public static string Number(double number) => number.ToString("#,0", CultureInfo.InvariantCulture);

    /// <summary>A time for a person.</summary>
    public static string Time(TimeSpan time) => time.TotalHours >= 1
        ? string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00}")
        : string.Create(CultureInfo.InvariantCulture, $"{time.Minutes}:{time.Seconds:00}");

    private string Describe(long done, long records, long bytes)
    {
        double seconds = Math.Max(0.001, Elapsed.TotalSeconds);
        StringBuilder text = new();
        if (Total > 0)
        {
            double part = Math.Clamp((double)done / Total, 0, 1);
            int filled = (int)(part * BarWidth);
            text.Append(CultureInfo.InvariantCulture, $"{part * 100,3:0}% {new string('━', filled)}{new string('╌', BarWidth - filled)} ");
        }

        text.Append(CultureInfo.InvariantCulture, $"{Number(records)} {_unit}, {Bytes(bytes)}, {Number(records / seconds)}/s, {Bytes(bytes / seconds)}/s");
        double rate = (done - _doneBefore) / seconds;
        if (Total > done && rate > 0)
        {
            text.Append(CultureInfo.InvariantCulture, $", {Time(TimeSpan.FromSeconds(Math.Min((Total - done) / rate, 359999)))} left");
        }

        return text.ToString();
    }

    private void Clear()
    {
        if (_onLine)
        {
            _terminal.Error.Write("\r\e[K");
            _onLine = false;
        }
    }
}
