namespace KeyVa.Transactions;

/// <summary>One buffered write of some transaction, copied: what reads that see uncommitted writes lay over the store.</summary>
internal sealed record UncommittedWrite(bool IsOwn, long Sequence, byte[] Key, byte[] To, byte[] Value, WriteKind Kind, bool IsRange, Expiry Expiry)
{
    /// <summary>Copies what a transaction has written: of each key the newest write, with those that it stands on if it is a merge.</summary>
    public static void Collect(WriteSet writes, bool isOwn, List<UncommittedWrite> into)
    {
        lock (writes.Gate)
        {
            for (int key = 0; key < writes.Keys.Count; key++)
            {
                Collect(writes, key, isOwn, into);
            }

            for (int range = 0; range < writes.RangeCount; range++)
            {
                into.Add(OfRange(writes, range, isOwn));
            }
        }
    }

    /// <summary>As <see cref="Collect(WriteSet, bool, List{UncommittedWrite})"/>, of one key; a list is made if there is anything.</summary>
    public static void Collect(WriteSet writes, ReadOnlySpan<byte> key, bool isOwn, ref List<UncommittedWrite>? into)
    {
        lock (writes.Gate)
        {
            if (!writes.TryFind(key, out _))
            {
                return;
            }

            into ??= [];
            if (writes.Keys.Find(key) is var number && number >= 0)
            {
                Collect(writes, number, isOwn, into);
            }

            for (int range = 0; range < writes.RangeCount; range++)
            {
                if (writes.IsIn(range, key))
                {
                    into.Add(OfRange(writes, range, isOwn));
                }
            }
        }
    }

    /// <summary>One write set of all, in the order in which they were written, but what the reader wrote itself above all others.</summary>
    public static WriteSet Merge(List<UncommittedWrite> all)
    {
        all.Sort(static (a, b) => a.IsOwn == b.IsOwn ? a.Sequence.CompareTo(b.Sequence) : a.IsOwn.CompareTo(b.IsOwn));
        var merged = new WriteSet();
        foreach (UncommittedWrite write in all)
        {
            if (write.IsRange)
            {
                merged.RemoveRange(write.Key, write.To, write.Sequence);
            }
            else if (write.Kind == WriteKind.Put)
            {
                merged.Put(write.Key, write.Value, write.Expiry, write.Sequence);
            }
            else if (write.Kind == WriteKind.Merge)
            {
                merged.Merge(write.Key, write.Value, write.Expiry, 0, write.Sequence);
            }
            else
            {
                merged.Remove(write.Key, write.Sequence);
            }
        }

        return merged;
    }

    private static void Collect(WriteSet writes, int key, bool isOwn, List<UncommittedWrite> into)
    {
        if (!writes.HasWrite(key))
        {
            return;
        }

        BufferedWrite write = writes.NewestOf(key);
        while (true)
        {
            byte[] value = write.Kind == WriteKind.Remove ? [] : writes.ValueOf(write).ToArray();
            into.Add(new UncommittedWrite(isOwn, write.Sequence, writes.Keys[key].ToArray(), [], value, write.Kind, false, write.Expiry));
            if (!write.IsMerge || write.Previous < 0)
            {
                return;
            }

            write = writes.At(write.Previous);
        }
    }

    private static UncommittedWrite OfRange(WriteSet writes, int range, bool isOwn) => new(
        isOwn, writes.SequenceOf(range), writes.FromOf(range).ToArray(), writes.ToOf(range).ToArray(), [], WriteKind.Remove, true, default);
}
