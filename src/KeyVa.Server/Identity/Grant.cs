using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace KeyVa.Server.Identity;

/// <summary>What a right is about: keys, or the server that holds them.</summary>
internal enum Plane
{
    /// <summary>Reading and writing keys, on any front door.</summary>
    Data = 0,

    /// <summary>Partitions, users, indexes, settings and figures of the server.</summary>
    Control = 1,
}

/// <summary>
/// How much one may do; each level holds those below it. Writing holds reading, since conditions and merges tell what a key has.
/// </summary>
internal enum Level
{
    None = 0,
    Read = 1,
    Write = 2,
    Admin = 3,
}

/// <summary>One right of a user: a level on a plane, on the data plane for the keys that begin with a prefix (empty: all). Immutable.</summary>
internal sealed class Grant(Plane plane, Level level, byte[] prefix)
{
    /// <summary>What a grant may look like, for people.</summary>
    public const string Forms = "read, write or admin (both planes), or PLANE:ROLE[:PREFIX] such as data:write, data:read:orders/ or control:read";

    public Plane Plane { get; } = plane;

    public Level Level { get; } = level;

    public byte[] Prefix { get; } = prefix;

    /// <summary>
    /// Reads <c>PLANE:ROLE[:PREFIX]</c>; a role alone means both planes for admin, and the data plane for the others.
    /// </summary>
    public static bool TryParse(string text, List<Grant> grants, [NotNullWhen(false)] out string? wrong)
    {
        wrong = null;
        if (TryLevel(text, out Level alone))
        {
            grants.Add(new Grant(Plane.Data, alone, []));
            if (alone == Level.Admin)
            {
                grants.Add(new Grant(Plane.Control, alone, []));
            }

            return true;
        }

        string[] parts = text.Split(':', 3);
        if (parts.Length < 2 || parts[0] is not ("data" or "control") || !TryLevel(parts[1], out Level level))
        {
            wrong = $"'{text}' is no grant; write {Forms}";
            return false;
        }

        Plane plane = parts[0] == "data" ? Plane.Data : Plane.Control;
        byte[] prefix = parts.Length == 3 ? Encoding.UTF8.GetBytes(parts[2]) : [];
        if (Check(plane, prefix) is { } reason)
        {
            wrong = $"'{text}': {reason}";
            return false;
        }

        grants.Add(new Grant(plane, level, prefix));
        return true;
    }

    /// <summary>Why there is no such grant; null: there is.</summary>
    public static string? Check(Plane plane, byte[] prefix) =>
        plane == Plane.Control && prefix.Length > 0 ? "the control plane has no keys, so a grant on it takes no prefix"
        : prefix.Length > Limits.MaxKeyBytes ? $"the prefix is longer than a key can be, {Limits.MaxKeyBytes} bytes"
        : null;

    public static bool TryLevel(string text, out Level level)
    {
        level = text switch
        {
            "read" => Level.Read,
            "write" => Level.Write,
            "admin" => Level.Admin,
            _ => Level.None,
        };
        return level != Level.None;
    }

    public static string Word(Level level) => level switch
    {
        Level.Read => "read",
        Level.Write => "write",
        Level.Admin => "admin",
        _ => "none",
    };

    public static string Word(Plane plane) => plane == Plane.Data ? "data" : "control";

    /// <summary>As <see cref="TryParse"/> reads it, where the prefix is text.</summary>
    public override string ToString() =>
        $"{Word(Plane)}:{Word(Level)}{(Prefix.Length == 0 ? "" : ":" + Encoding.UTF8.GetString(Prefix))}";
}
