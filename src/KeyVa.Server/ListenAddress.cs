using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;

namespace KeyVa.Server;

/// <summary>Addresses to listen on, as people write them. Stateless.</summary>
internal static class ListenAddress
{
    /// <summary>
    /// Reads <c>HOST:PORT</c>, where HOST is an IPv4 address, an IPv6 address in brackets, <c>localhost</c> (127.0.0.1) or
    /// <c>*</c> (every address of the machine).
    /// </summary>
    internal static bool TryParse(string text, [NotNullWhen(true)] out IPEndPoint? address)
    {
        address = null;
        int colon = text.LastIndexOf(':');
        if (colon <= 0
            || !ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out ushort port))
        {
            return false;
        }

        ReadOnlySpan<char> host = text.AsSpan(0, colon);
        IPAddress? ip;
        if (host is "localhost")
        {
            ip = IPAddress.Loopback;
        }
        else if (host is "*")
        {
            ip = IPAddress.IPv6Any;
        }
        else if (host[0] == '[')
        {
            if (host[^1] != ']' || !IPAddress.TryParse(host[1..^1], out ip))
            {
                return false;
            }
        }
        else if (host.Contains(':') || host.Count('.') != 3 || !IPAddress.TryParse(host, out ip))
        {
            return false;
        }

        address = new IPEndPoint(ip, port);
        return true;
    }
}
