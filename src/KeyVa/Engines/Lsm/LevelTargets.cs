namespace KeyVa.Engines.Lsm;

/// <summary>
/// What each level may hold, derived from the largest one (RocksDB's dynamic level sizes): the last level has everything
/// but the newest writes, the one above it a tenth, and so on. So of every key there is one copy in the last level and a
/// ninth of one in all the others together, whatever the size of the store. Immutable.
/// </summary>
/// <remarks>
/// <para>Fixed sizes, counted from level 1 down, were rejected: with 256 MiB, 2.5 GiB and 25 GiB a store of 3 GiB may hold
/// nearly every key twice.</para>
/// <para>Invariants.
/// 1. Level 0 goes to <see cref="Level0Output"/>: no level between has tables. So what is above is newer.
/// 2. A level above <see cref="Base"/> has no target: what a smaller store left there (or another compaction style) is debt
///    and moves down.</para>
/// </remarks>
internal sealed class LevelTargets
{
    public const int Last = Superversion.Levels - 1;

    private readonly double[] _bytes = new double[Superversion.Levels];

    public LevelTargets(EngineOptions options, Level[] levels)
    {
        double largest = 0;
        int first = Last;
        for (int level = Last; level > 0; level--)
        {
            largest = Math.Max(largest, levels[level].Bytes);
            first = levels[level].Tables.Length > 0 ? level : first;
        }

        double target = Math.Max(largest, options.Level1Bytes);
        Base = Last;
        _bytes[Last] = target;

        // No level is smaller than Level1Bytes, about what level 0 brings at a time: it would only add a copy.
        while (Base > 1 && target >= options.LevelMultiplier * (double)options.Level1Bytes)
        {
            target /= options.LevelMultiplier;
            _bytes[--Base] = target;
        }

        Level0Output = Math.Min(Base, first);
        double debt = 0;
        for (int level = 1; level < Last; level++)
        {
            debt += Math.Max(0, levels[level].Bytes - _bytes[level]);
        }

        Debt = (long)debt;
    }

    /// <summary>The first level with a target.</summary>
    public int Base { get; }

    /// <summary>Where tables of level 0 go.</summary>
    public int Level0Output { get; }

    /// <summary>Bytes by which levels exceed their targets.</summary>
    public long Debt { get; }

    /// <summary>The bytes that a level may have; 0 above the base.</summary>
    public double this[int level] => _bytes[level];
}
