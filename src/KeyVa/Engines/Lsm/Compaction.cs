namespace KeyVa.Engines.Lsm;

/// <summary>A compaction to do: which tables go in, and to which level the result goes. Immutable.</summary>
/// <param name="Level">Where it starts.</param>
/// <param name="OutputLevel">The level below; or the same one, to get rid of expired entries on the spot.</param>
/// <param name="Upper">Tables of the first level, in the order of their level.</param>
/// <param name="Lower">All tables of the output level (if it is another) whose keys lie within those of the upper ones.</param>
/// <param name="IsMove">No keys in common with the output level: the tables change their level and stay as they are.</param>
internal sealed record Compaction(int Level, int OutputLevel, SsTable[] Upper, SsTable[] Lower, bool IsMove)
{
    public IEnumerable<SsTable> Inputs => Upper.Concat(Lower);
}
