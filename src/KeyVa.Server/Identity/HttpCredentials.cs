using System.Text;

namespace KeyVa.Server.Identity;

/// <summary>Reads the Authorization header of HTTP: Basic (RFC 7617) and Bearer (RFC 6750). Stateless.</summary>
internal static class HttpCredentials
{
    /// <summary>What to send along with 401.</summary>
    public const string Challenge = "Basic realm=\"keyva\", charset=\"UTF-8\", Bearer";

    private const string Basic = "Basic ";
    private const string Bearer = "Bearer ";
    private const int MaxLength = 4096;

    /// <summary>A user's name (empty: that of the token) and its secret; false: the header is neither.</summary>
    public static bool TryRead(string header, out string name, out string secret)
    {
        name = "";
        secret = "";
        if (header.Length > MaxLength)
        {
            return false;
        }

        if (header.StartsWith(Bearer, StringComparison.OrdinalIgnoreCase))
        {
            secret = header[Bearer.Length..].Trim();
            return AccessToken.LooksLikeOne(secret);
        }

        byte[] bytes = new byte[MaxLength];
        if (!header.StartsWith(Basic, StringComparison.OrdinalIgnoreCase)
            || !Convert.TryFromBase64String(header[Basic.Length..].Trim(), bytes, out int length))
        {
            return false;
        }

        string pair = Encoding.UTF8.GetString(bytes, 0, length);
        int colon = pair.IndexOf(':', StringComparison.Ordinal);
        if (colon < 0)
        {
            return false;
        }

        name = pair[..colon];
        secret = pair[(colon + 1)..];
        return true;
    }
}
