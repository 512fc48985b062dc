using System.Security.Cryptography;
using System.Text;

namespace KeyVa.Server.Identity;

/// <summary>
/// A bearer token (RFC 6750) as it is kept: its SHA-256 alone. A token has 256 random bits, so a plain hash is as hard to undo as
/// the token is to guess. Immutable.
/// </summary>
internal sealed class AccessToken(string name, byte[] hash, bool isOneTime, long createdUnixMilliseconds)
{
    /// <summary>How tokens begin, so that people and scanners of repositories know one when they see it.</summary>
    public const string TextPrefix = "kvt_";

    private const int RandomBytes = 32;

    /// <summary>What its owner calls it.</summary>
    public string Name { get; } = name;

    public byte[] Hash { get; } = hash;

    /// <summary>It ends once somebody who used it has given the user another credential.</summary>
    public bool IsOneTime { get; } = isOneTime;

    public long CreatedUnixMilliseconds { get; } = createdUnixMilliseconds;

    /// <summary>A new token: what to give to its user, never to be shown again.</summary>
    public static string NewText() => TextPrefix + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(RandomBytes));

    /// <summary>Whether a text may be a token.</summary>
    public static bool LooksLikeOne(ReadOnlySpan<char> text) =>
        text.Length == TextPrefix.Length + (RandomBytes * 2) && text.StartsWith(TextPrefix, StringComparison.Ordinal);

    public static byte[] HashOf(string text) => SHA256.HashData(Encoding.UTF8.GetBytes(text));
}
