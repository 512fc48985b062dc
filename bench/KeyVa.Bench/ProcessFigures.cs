using System.Globalization;

namespace KeyVa.Bench;

/// <summary>
/// What the kernel says of a process: memory from /proc/PID/status, bytes given to write calls and bytes of pages dirtied from
/// /proc/PID/io. A value; the process may go on meanwhile.
/// </summary>
internal readonly record struct ProcessFigures(long ResidentBytes, long PeakResidentBytes, long WrittenBytes)
{
    public static ProcessFigures OfThisProcess() => Of("self");

    /// <summary>Throws IOException if the process is gone.</summary>
    public static ProcessFigures Of(string process) => new(
        Field($"/proc/{process}/status", "VmRSS:") << 10,
        Field($"/proc/{process}/status", "VmHWM:") << 10,
        Field($"/proc/{process}/io", "wchar:"));

    private static long Field(string file, string name)
    {
        string line = File.ReadLines(file).FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal))
            ?? throw new IOException($"{file} has no {name}");
        return long.Parse(line.AsSpan(name.Length).Trim().TrimEnd("kB").Trim(), CultureInfo.InvariantCulture);
    }
}

/// <summary>What a fill cost beside time; null where it was not measured.</summary>
internal sealed record FillFigures
{
    /// <summary>Bytes given to write calls, journal and compactions until the store came to rest included, per byte of keys and values put.</summary>
    public double? WriteAmplification { get; init; }

    /// <summary>Bytes allocated on disk per byte of live keys and values, at the last put.</summary>
    public double? SpaceAtEnd { get; init; }

    /// <summary>The same after a flush and when compactions have come to rest.</summary>
    public double? SpaceSettled { get; init; }

    /// <summary>Resident memory of the whole process at the last put.</summary>
    public long? ResidentBytes { get; init; }

    /// <summary>The most it ever was until then.</summary>
    public long? PeakResidentBytes { get; init; }
}

/// <summary>Measures one fill in this process. One thread.</summary>
internal sealed class FillMeter(DataFolder folder, double liveBytes)
{
    private readonly ProcessFigures _before = ProcessFigures.OfThisProcess();
    private ProcessFigures _end;
    private long _diskAtEnd;

    /// <summary>Called when the last put is done.</summary>
    public void Filled()
    {
        _end = ProcessFigures.OfThisProcess();
        _diskAtEnd = folder.AllocatedBytes();
    }

    /// <summary>Called when the store has come to rest.</summary>
    public FillFigures Settled(double putBytes) => new()
    {
        WriteAmplification = (ProcessFigures.OfThisProcess().WrittenBytes - _before.WrittenBytes) / putBytes,
        SpaceAtEnd = _diskAtEnd / liveBytes,
        SpaceSettled = folder.AllocatedBytes() / liveBytes,
        ResidentBytes = _end.ResidentBytes,
        PeakResidentBytes = _end.PeakResidentBytes,
    };
}
