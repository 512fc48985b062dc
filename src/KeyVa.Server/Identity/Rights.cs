namespace KeyVa.Server.Identity;

/// <summary>
/// What a user may do on one plane, made of the grants so that a check costs least where it is made most: whoever has a level
/// everywhere is told from one number. Immutable.
/// </summary>
internal sealed class Rights
{
    private readonly Grant[] _prefixes;

    private Rights(Level everywhere, Grant[] prefixes)
    {
        Everywhere = everywhere;
        _prefixes = prefixes;
        Highest = prefixes.Aggregate(everywhere, static (most, one) => one.Level > most ? one.Level : most);
    }

    public static Rights Nothing { get; } = new(Level.None, []);

    public static Rights Everything { get; } = new(Level.Admin, []);

    /// <summary>The level on every key.</summary>
    public Level Everywhere { get; }

    /// <summary>The highest level on any key.</summary>
    public Level Highest { get; }

    /// <summary>The rights that grants give on a plane.</summary>
    public static Rights Of(Plane plane, IReadOnlyList<Grant> grants)
    {
        Level everywhere = Level.None;
        List<Grant> prefixes = [];
        foreach (Grant grant in grants)
        {
            if (grant.Plane != plane)
            {
                continue;
            }

            if (grant.Prefix.Length > 0)
            {
                prefixes.Add(grant);
            }
            else if (grant.Level > everywhere)
            {
                everywhere = grant.Level;
            }
        }

        // What is allowed everywhere needs no prefix.
        prefixes.RemoveAll(one => one.Level <= everywhere);
        return new Rights(everywhere, [.. prefixes]);
    }

    /// <summary>The one prefix of the keys that may be used at a level; null: there is no such prefix, or more than one, or all keys may be used.</summary>
    public byte[]? OnlyPrefix(Level level)
    {
        Grant[] able = [.. _prefixes.Where(one => one.Level >= level)];
        return Everywhere < level && able.Length == 1 ? able[0].Prefix : null;
    }

    /// <summary>Whether a key may be used at a level.</summary>
    public bool Allows(Level level, ReadOnlySpan<byte> key)
    {
        if (Everywhere >= level)
        {
            return true;
        }

        foreach (Grant grant in _prefixes)
        {
            if (grant.Level >= level && key.StartsWith(grant.Prefix))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Whether every key of a range may be used at a level: the range must lie inside one prefix. Empty bounds are open.</summary>
    public bool AllowsRange(Level level, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        if (Everywhere >= level)
        {
            return true;
        }

        foreach (Grant grant in _prefixes)
        {
            if (grant.Level >= level && from.StartsWith(grant.Prefix) && EndsInside(to, grant.Prefix))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>As the other one, for the keys that begin with a prefix and lie between two bounds.</summary>
    public bool AllowsRange(Level level, ReadOnlySpan<byte> prefix, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        if (Everywhere >= level)
        {
            return true;
        }

        foreach (Grant grant in _prefixes)
        {
            if (grant.Level >= level && prefix.StartsWith(grant.Prefix))
            {
                return true;
            }
        }

        return AllowsRange(level, from, to);
    }

    /// <summary>Whether a range that begins inside a prefix ends, exclusively, before the first key behind the prefix.</summary>
    private static bool EndsInside(ReadOnlySpan<byte> to, ReadOnlySpan<byte> prefix)
    {
        if (to.StartsWith(prefix))
        {
            return true;
        }

        ReadOnlySpan<byte> stem = prefix.TrimEnd((byte)0xff);
        if (to.IsEmpty || stem.IsEmpty)
        {
            // Nothing lies behind a prefix of 0xff bytes alone.
            return stem.IsEmpty;
        }

        // The first key behind it itself is an end that takes in nothing else.
        return to.Length == stem.Length && to[..^1].SequenceEqual(stem[..^1]) && to[^1] == stem[^1] + 1;
    }
}
