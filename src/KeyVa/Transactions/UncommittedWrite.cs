namespace KeyVa.Transactions;

/// <summary>One buffered write of some transaction, copied: what a scan that sees uncommitted writes lays over the store.</summary>
internal sealed record UncommittedWrite(long Sequence, byte[] Key, byte[] To, byte[] Value, bool IsPut, bool IsRange, Expiry Expiry)
{
    /// <summary>Copies what a transaction has written: of each key the newest write.</summary>
    public static void Collect(WriteSet writes, List<UncommittedWrite> into)
    {
        lock (writes.Gate)
        {
            for (int key = 0; key < writes.Keys.Count; key++)
            {
                if (writes.HasWrite(key))
                {
                    BufferedWrite write = writes.NewestOf(key);
                    into.Add(new UncommittedWrite(
                        write.Sequence, writes.Keys[key].ToArray(), [], write.IsPut ? writes.ValueOf(write).ToArray() : [], write.IsPut, false, write.Expiry));
                }
            }

            for (int range = 0; range < writes.RangeCount; range++)
            {
                into.Add(new UncommittedWrite(
                    writes.SequenceOf(range), writes.FromOf(range).ToArray(), writes.ToOf(range).ToArray(), [], false, true, default));
            }
        }
    }

    /// <summary>One write set of all, in the order in which they were written.</summary>
    public static WriteSet Merge(List<UncommittedWrite> all)
    {
        all.Sort(static (a, b) => a.Sequence.CompareTo(b.Sequence));
        var merged = new WriteSet();
        foreach (UncommittedWrite write in all)
        {
            if (write.IsRange)
            {
                merged.RemoveRange(write.Key, write.To, write.Sequence);
            }
            else if (write.IsPut)
            {
                merged.Put(write.Key, write.Value, write.Expiry, write.Sequence);
            }
            else
            {
                merged.Remove(write.Key, write.Sequence);
            }
        }

        return merged;
    }
}
