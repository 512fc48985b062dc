namespace KeyVa.Engines.Lsm;

/// <summary>
/// Guesses whether a key has older entries in the tables below some level, by bounds and filters alone: for counting
/// keys, where an overwrite must not count twice. The user has pinned the superversion. Thread-safe.
/// </summary>
/// <param name="superversion">Whose tables.</param>
/// <param name="firstLevel">The first level to look at.</param>
internal sealed unsafe class KeysBelow(Superversion superversion, int firstLevel)
{
    /// <summary>One key in so many is looked up, by its hash.</summary>
    public const int Sample = 16;

    public static bool IsSampled(ulong hash) => hash % Sample == 0;

    public bool MayHold(byte* key, int keyLength, ulong hash)
    {
        ulong head = KeyOrder.Head(key, keyLength);
        Epochs.Enter();
        try
        {
            if (firstLevel == 0)
            {
                foreach (SsTable table in superversion.Level0)
                {
                    if (table.IsAtOrBehindSmallest(key, keyLength, head) && table.IsAtOrBeforeLargest(key, keyLength, head)
                        && table.Reader.MayContain(hash))
                    {
                        return true;
                    }
                }
            }

            for (int level = Math.Max(1, firstLevel); level <= superversion.DeepestLevel; level++)
            {
                SsTable? table = superversion.Deeper[level].Find(key, keyLength, head);
                if (table is not null && table.Reader.MayContain(hash))
                {
                    return true;
                }
            }

            return false;
        }
        finally
        {
            Epochs.Exit();
        }
    }
}
