namespace KeyVa.Server;

/// <summary>
/// A request target (RFC 9112, 3.2) cut into path and query, undecoded: Kestrel's own path has been decoded as text and
/// freed of dot segments, which loses bytes of keys. Lives on the stack.
/// </summary>
internal readonly ref struct RestTarget
{
    private RestTarget(ReadOnlySpan<char> path, ReadOnlySpan<char> query)
    {
        Path = path;
        Query = query;
    }

    /// <summary>The path, beginning with a slash unless the target has none.</summary>
    public ReadOnlySpan<char> Path { get; }

    /// <summary>What follows the question mark; empty if there is none.</summary>
    public ReadOnlySpan<char> Query { get; }

    /// <summary>Cuts a target in origin form (<c>/kv/a?x=1</c>) or absolute form (<c>http://host/kv/a</c>).</summary>
    public static RestTarget Split(ReadOnlySpan<char> target)
    {
        if (target.Length > 0 && target[0] != '/')
        {
            int authority = target.IndexOf("://", StringComparison.Ordinal);
            if (authority >= 0)
            {
                target = target[(authority + 3)..];
                int end = target.IndexOfAny('/', '?');
                target = end < 0 ? "/" : target[end..];
            }
        }

        int question = target.IndexOf('?');
        return question < 0 ? new RestTarget(target, default) : new RestTarget(target[..question], target[(question + 1)..]);
    }
}
