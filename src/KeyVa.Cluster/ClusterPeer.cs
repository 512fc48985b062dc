using System.Globalization;

namespace KeyVa.Cluster;

/// <summary>Where a node listens for its peers. Immutable.</summary>
/// <param name="Host">A name or an address.</param>
/// <param name="Port">The port.</param>
/// <param name="PublicKey">The key by which it proves that it is the node (<c>keyva keygen</c>); null: connections are neither encrypted nor proven, which is allowed on loopback alone.</param>
public sealed record ClusterPeer(string Host, int Port, string? PublicKey = null)
{
    private const int KeyCharacters = 40;
    private const int MaxHostCharacters = 255;

    /// <summary>Reads <c>HOST:PORT</c> or <c>HOST:PORT/KEY</c>; an IPv6 address stands in brackets.</summary>
    public static bool TryParse(string text, out ClusterPeer? peer)
    {
        ArgumentNullException.ThrowIfNull(text);
        peer = null;
        int slash = text.IndexOf('/', StringComparison.Ordinal);
        string? key = slash < 0 ? null : text[(slash + 1)..];
        string address = slash < 0 ? text : text[..slash];
        int colon = address.LastIndexOf(':');
        if (colon <= 0 || key is { Length: not KeyCharacters } || !ushort.TryParse(address.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out ushort port) || port == 0)
        {
            return false;
        }

        string host = address[..colon];
        if (host.StartsWith('[') != host.EndsWith(']') || (host.Contains(':', StringComparison.Ordinal) && host[0] != '['))
        {
            return false;
        }

        host = host.Trim('[', ']');
        if (host.Length is 0 or > MaxHostCharacters || host.Any(static c => char.IsWhiteSpace(c) || c is ',' or '='))
        {
            return false;
        }

        peer = new ClusterPeer(host, port, key);
        return true;
    }

    /// <inheritdoc/>
    public override string ToString() => Host.Contains(':', StringComparison.Ordinal) ? $"[{Host}]:{Port}" : $"{Host}:{Port}";
}
