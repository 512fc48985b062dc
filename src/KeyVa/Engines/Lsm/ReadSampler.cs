using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Engines.Lsm;

/// <summary>What one read looked at in the tables.</summary>
internal record struct ReadSample
{
    /// <summary>Reads.</summary>
    public long Reads;

    /// <summary>Tables whose keys span the key: their filters are asked.</summary>
    public long Tables;

    /// <summary>Tables that the filter ruled out.</summary>
    public long Filtered;

    /// <summary>Data blocks searched.</summary>
    public long Blocks;

    /// <summary>Blocks searched in vain.</summary>
    public long FalsePositives;
}

/// <summary>
/// Chooses one read in so many that get as far as the tables, and adds up what those looked at. Counting is by thread, so a
/// read that is not chosen pays one increment of memory that is its own.
/// </summary>
/// <remarks>Thread-safe: threads that share a stripe may lose a count, which only moves the next sample.</remarks>
internal sealed class ReadSampler
{
    /// <summary>One read in so many.</summary>
    public const int Every = 256;

    private const int Stripes = 64;
    private const int StripeLongs = 16;

    private readonly long[] _counts = new long[Stripes * StripeLongs];
    private readonly Lock _lock = new();
    private ReadSample _sum;

    /// <summary>What the sampled reads looked at.</summary>
    public ReadSample Sum
    {
        get
        {
            lock (_lock)
            {
                return _sum;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool IsSampled()
    {
        ref long count = ref Unsafe.Add(
            ref MemoryMarshal.GetArrayDataReference(_counts), (Environment.CurrentManagedThreadId & (Stripes - 1)) * StripeLongs);
        return (++count & (Every - 1)) == 0;
    }

    public void Add(in ReadSample sample)
    {
        lock (_lock)
        {
            _sum.Reads++;
            _sum.Tables += sample.Tables;
            _sum.Filtered += sample.Filtered;
            _sum.Blocks += sample.Blocks;
            _sum.FalsePositives += sample.FalsePositives;
        }
    }
}
