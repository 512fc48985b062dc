using System.Buffers;
using System.Globalization;
using System.Text;

namespace KeyVa.Transactions.Locks;

/// <summary>What people read about locks: why one was not granted. Stateless; each text is one sentence of bounded length.</summary>
internal static class LockText
{
    /// <summary>How many bytes of a key are shown.</summary>
    private const int MostKeyBytes = 64;

    /// <summary>How many are named of those who hold a lock, and of a cycle's owners.</summary>
    private const int MostHolders = 3;
    private const int MostOfCycle = 64;

    public static string TimedOut(LockRequest request, List<LockRequest> blockers, TimeSpan timeout)
    {
        StringBuilder text = new();
        text.Append(request.Owner.Name);
        if (timeout == TimeSpan.Zero)
        {
            text.Append(" did not get ");
            AppendResource(text, request);
        }
        else
        {
            text.Append(CultureInfo.InvariantCulture, $" waited {timeout.TotalMilliseconds:0.###} ms for ");
            AppendResource(text, request);
        }

        AppendMode(text, request.Wanted);
        AppendBlockers(text, request, blockers);
        return text.ToString();
    }

    /// <summary>The cycle, beginning with its victim.</summary>
    public static string Deadlock(IReadOnlyList<LockOwner> cycle, LockOwner victim, LockSpace space, List<LockRequest> scratch)
    {
        StringBuilder text = new("deadlock: ");
        text.Append(victim.Name);
        int first = 0;
        while (cycle[first] != victim)
        {
            first++;
        }

        int named = Math.Min(cycle.Count, MostOfCycle);
        for (int i = 0; i < named; i++)
        {
            LockOwner owner = cycle[(first + i) % cycle.Count];
            LockOwner next = cycle[(first + i + 1) % cycle.Count];
            text.Append(i == 0 ? " waits for " : ", which waits for ");
            AppendResource(text, owner.Waiting!);
            AppendMode(text, owner.Waiting!.Wanted);
            text.Append(Holds(next, owner.Waiting, space, scratch) ? " held by " : " asked for before by ");
            text.Append(next.Name);
        }

        if (named < cycle.Count)
        {
            text.Append(CultureInfo.InvariantCulture, $", and so on over {cycle.Count - named} more");
        }

        return text.Append("; ").Append(victim.Name).Append(" was ended, since it costs the least").ToString();
    }

    public static string Aborted(LockRequest request, string reason)
    {
        StringBuilder text = new();
        text.Append("the wait of ").Append(request.Owner.Name).Append(" for ");
        AppendResource(text, request);
        AppendMode(text, request.Wanted);
        return text.Append(" was ended: ").Append(reason).ToString();
    }

    public static string Refused(LockOwner owner, string reason) => $"{owner.Name} gets no lock: {reason}";

    public static string OwnerLimit(LockOwner owner, int most) =>
        string.Create(CultureInfo.InvariantCulture, $"{owner.Name} would hold more locks than one owner may ({most})");

    public static string TableLimit(LockOwner owner, int most) =>
        string.Create(CultureInfo.InvariantCulture, $"{owner.Name} gets no lock: the store holds as many as it may ({most})");

    public static string RangeLimit(LockOwner owner, int most) =>
        string.Create(CultureInfo.InvariantCulture, $"{owner.Name} gets no lock of a range: the store holds as many as it may ({most})");

    /// <summary>A key between quotes; what does not print is escaped, and a long one is cut.</summary>
    public static void AppendKey(StringBuilder text, ReadOnlySpan<byte> key)
    {
        text.Append('"');
        int shown = Math.Min(key.Length, MostKeyBytes);
        ReadOnlySpan<byte> rest = key[..shown];
        while (!rest.IsEmpty)
        {
            bool whole = Rune.DecodeFromUtf8(rest, out Rune rune, out int length) == OperationStatus.Done;
            if (whole && rune.Value is not ('"' or '\\') && (rune.Value == ' ' || Rune.IsLetterOrDigit(rune) || Rune.IsPunctuation(rune) || Rune.IsSymbol(rune)))
            {
                text.Append(rune.ToString());
            }
            else
            {
                foreach (byte b in rest[..length])
                {
                    text.Append(CultureInfo.InvariantCulture, $"\\x{b:x2}");
                }
            }

            rest = rest[length..];
        }

        text.Append(shown < key.Length ? "\"..." : "\"");
    }

    private static bool Holds(LockOwner owner, LockRequest request, LockSpace space, List<LockRequest> scratch)
    {
        scratch.Clear();
        space.CollectBlockers(request, scratch);
        bool holds = false;
        foreach (LockRequest blocker in scratch)
        {
            holds |= blocker.Owner == owner && LockRequest.Conflict(blocker.Held, request.Wanted);
        }

        scratch.Clear();
        return holds;
    }

    private static void AppendBlockers(StringBuilder text, LockRequest request, List<LockRequest> blockers)
    {
        // An upgrade that waits stands in the list for what it holds and for what it waits for: its holding says more.
        int others = 0;
        int named = 0;
        HashSet<LockOwner> seen = [];
        for (int pass = 0; pass < 2; pass++)
        {
            bool held = pass == 0;
            bool first = true;
            foreach (LockRequest blocker in blockers)
            {
                if (LockRequest.Conflict(blocker.Held, request.Wanted) != held || !seen.Add(blocker.Owner))
                {
                    continue;
                }

                if (named == MostHolders)
                {
                    others++;
                    continue;
                }

                text.Append((first, held) switch
                {
                    (true, true) => ", held by ",
                    (true, false) => ", asked for before by ",
                    _ => " and ",
                });
                text.Append(blocker.Owner.Name);
                AppendMode(text, held ? blocker.Held : blocker.Wanted);
                first = false;
                named++;
            }
        }

        if (others > 0)
        {
            text.Append(CultureInfo.InvariantCulture, $" and {others} more");
        }
    }

    private static void AppendResource(StringBuilder text, LockRequest request)
    {
        if (request.Key is { } key)
        {
            text.Append("key ");
            AppendKey(text, key.Span);
            return;
        }

        text.Append("range [");
        AppendBound(text, request.From, "start");
        text.Append(", ");
        AppendBound(text, request.To, "end");
        text.Append(')');
    }

    private static void AppendBound(StringBuilder text, byte[] bound, string open)
    {
        if (bound.Length == 0)
        {
            text.Append(open);
        }
        else
        {
            AppendKey(text, bound);
        }
    }

    private static void AppendMode(StringBuilder text, LockMode mode) =>
        text.Append(mode == LockMode.Shared ? " (shared)" : " (exclusive)");
}
