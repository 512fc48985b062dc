using System.Runtime.CompilerServices;

namespace KeyVa.Bench;

/// <summary>
/// Draws ranks so that rank i comes up in proportion to 1 / (i + 1)^0.99, the way YCSB does it (Gray et al. 1994, "Quickly
/// generating billion-record synthetic databases"; YCSB's ZipfianGenerator): 0 is the most frequent. One thread.
/// </summary>
internal sealed class Zipfian
{
    public const double Theta = 0.99;

    /// <summary>YCSB scrambles ranks out of so many items, whatever the size of the data set.</summary>
    public const long ScrambledItems = 10_000_000_000;

    /// <summary>zeta(ScrambledItems, Theta), which would take minutes to sum up; YCSB has the same constant.</summary>
    public const double ScrambledZeta = 26.46902820178302;

    private static readonly double ZetaOfTwo = 1 + Math.Pow(0.5, Theta);

    private long _items;
    private double _zeta;
    private double _eta;

    public Zipfian(long items)
        : this(items, Zeta(0, items, 0))
    {
    }

    private Zipfian(long items, double zeta)
    {
        _items = items;
        _zeta = zeta;
        _eta = Eta(items, zeta);
    }

    public long Items => _items;

    /// <summary>A generator over YCSB's ten billion items; its ranks are meant to be hashed down to the records.</summary>
    public static Zipfian OverScrambledItems() => new(ScrambledItems, ScrambledZeta);

    /// <summary>The sum of 1 / i^0.99 for i from <paramref name="from"/> + 1 to <paramref name="to"/>, added to <paramref name="sum"/>.</summary>
    public static double Zeta(long from, long to, double sum)
    {
        for (long i = from + 1; i <= to; i++)
        {
            sum += 1 / Math.Pow(i, Theta);
        }

        return sum;
    }

    /// <summary>One more item; costs one term of the sum.</summary>
    public void Grow()
    {
        _zeta = Zeta(_items, _items + 1, _zeta);
        _items++;
        _eta = Eta(_items, _zeta);
    }

    public long Next(ref Prng random)
    {
        double u = random.NextDouble();
        double scaled = u * _zeta;
        if (scaled < 1)
        {
            return 0;
        }

        return scaled < ZetaOfTwo
            ? 1
            : Math.Min(_items - 1, (long)(_items * Math.Pow((_eta * u) - _eta + 1, 1 / (1 - Theta))));
    }

    private static double Eta(long items, double zeta) =>
        (1 - Math.Pow(2.0 / items, 1 - Theta)) / (1 - (ZetaOfTwo / zeta));
}

/// <summary>FNV-1a over the eight bytes of a number, least significant first: YCSB's hash of keys and ranks.</summary>
internal static class Fnv
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Hash(ulong number)
    {
        ulong hash = 0xCBF29CE484222325;
        for (int i = 0; i < sizeof(ulong); i++)
        {
            hash = (hash ^ (number & 0xFF)) * 0x100000001B3;
            number >>= 8;
        }

        return hash;
    }
}
