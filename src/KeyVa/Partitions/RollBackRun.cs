using KeyVa.Engines;

namespace KeyVa.Partitions;

/// <summary>
/// Brings the keys of a range back to what they were at a version, by new puts and removals at the version of the command. It
/// compares the state at the version with the state just below its own: two cursors, whatever the range holds.
/// </summary>
/// <remarks>
/// <para>Writer only. Deterministic: it reads what was before the command, and never what it has written itself. So when part of
/// it was flushed already and the rest lost (<see cref="Engine.MakeRoom"/>), a replay writes the same entries again.</para>
/// <para>What had expired by the command's stamp counts as not there, then and now; what has not, comes back with its expiry.</para>
/// </remarks>
internal static class RollBackRun
{
    /// <summary>About what an entry takes besides its key and value.</summary>
    private const int OverheadPerEntry = 64;

    /// <summary>Returns how many keys changed.</summary>
    public static long Apply(PartitionState state, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long target, long version, long stamp)
    {
        Engine engine = state.Engine;
        if (engine.Context.History.From > target)
        {
            throw new CorruptionException(engine.Context.Directory, 0, $"the journal rolls back to version {target}, but the partition's files have forgotten what was before version {engine.Context.History.From}: the file {HistoryFile.FileName} is missing or old");
        }

        if (!engine.IsOrdered && IsOneKey(from, to))
        {
            return ApplyOne(state, from, target, version, stamp);
        }

        using EngineCursor then = Open(engine, from, to, target);
        using EngineCursor now = Open(engine, from, to, version - 1);
        var run = new Merge(state, from, to, version, stamp);
        return run.Run(then, now);
    }

    private static bool IsOneKey(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to) => to.Length == from.Length + 1 && to[^1] == 0 && to.StartsWith(from);

    private static EngineCursor Open(Engine engine, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long at) => engine.IsOrdered
        ? engine.OpenCursor(from, to, at, reverse: false, fillCache: false)
        : engine.OpenCursor(default, default, at, reverse: false, fillCache: false);

    private static long ApplyOne(PartitionState state, ReadOnlySpan<byte> key, long target, long version, long stamp)
    {
        bool was = state.Engine.TryGet(key, target, out ValueLease then);
        using (then)
        {
            bool isThere = state.Engine.TryGet(key, version - 1, out ValueLease now);
            using (now)
            {
                was &= IsAlive(then.ExpiresAtUnixMilliseconds, stamp);
                isThere &= IsAlive(now.ExpiresAtUnixMilliseconds, stamp);
                bool isSame = was == isThere
                    && (!was || (then.ExpiresAtUnixMilliseconds == now.ExpiresAtUnixMilliseconds && then.Value.SequenceEqual(now.Value)));
                if (isSame)
                {
                    return 0;
                }

                if (was)
                {
                    state.Put(key, version, stamp, then.ExpiresAtUnixMilliseconds, then.Value);
                }
                else
                {
                    state.Remove(key, version, stamp);
                }

                return 1;
            }
        }
    }

    private static bool IsAlive(long expiresAt, long stamp) => expiresAt == 0 || expiresAt > stamp;

    private readonly ref struct Merge(PartitionState state, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version, long stamp)
    {
        private readonly ReadOnlySpan<byte> _from = from;
        private readonly ReadOnlySpan<byte> _to = to;

        public long Run(EngineCursor then, EngineCursor now)
        {
            long changed = 0;
            bool was = Next(then);
            bool isThere = Next(now);
            while (was || isThere)
            {
                int order = !was ? 1 : !isThere ? -1 : Compare(then.Key, now.Key);
                if (order < 0 || (order == 0 && !IsSame(then, now)))
                {
                    state.Engine.MakeRoom(then.Key.Length + then.Value.Length + OverheadPerEntry);
                    state.Put(then.Key, version, stamp, then.ExpiresAt, then.Value);
                    changed++;
                }
                else if (order > 0)
                {
                    state.Engine.MakeRoom(now.Key.Length + OverheadPerEntry);
                    state.Remove(now.Key, version, stamp);
                    changed++;
                }

                was = order <= 0 ? Next(then) : was;
                isThere = order >= 0 ? Next(now) : isThere;
            }

            return changed;
        }

        private static bool IsSame(EngineCursor then, EngineCursor now) =>
            then.Version == now.Version || (then.ExpiresAt == now.ExpiresAt && then.Value.SequenceEqual(now.Value));

        /// <summary>Both cursors are in the engine's own order: by key, or by hash and then by key.</summary>
        private int Compare(ReadOnlySpan<byte> one, ReadOnlySpan<byte> other)
        {
            if (!state.Engine.IsOrdered)
            {
                int order = XxHash64.Compute(one).CompareTo(XxHash64.Compute(other));
                if (order != 0)
                {
                    return order;
                }
            }

            return one.SequenceCompareTo(other);
        }

        private bool Next(EngineCursor cursor)
        {
            while (cursor.MoveNext())
            {
                bool isWithin = state.Engine.IsOrdered
                    || (cursor.Key.SequenceCompareTo(_from) >= 0 && (_to.IsEmpty || cursor.Key.SequenceCompareTo(_to) < 0));
                if (isWithin && IsAlive(cursor.ExpiresAt, stamp))
                {
                    return true;
                }
            }

            return false;
        }
    }
}

/// <summary>What rolling back came to, for whoever asked.</summary>
internal sealed class RollBackTally
{
    public long Changed { get; set; }
}
