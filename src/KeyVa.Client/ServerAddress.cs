using System.Globalization;

namespace KeyVa.Client;

/// <summary>
/// Where a server's plane listens: <c>HOST</c>, <c>HOST:PORT</c>, <c>http://HOST:PORT</c> or, with TLS, <c>https://HOST:PORT</c>; an IPv6 address
/// stands in brackets. Immutable.
/// </summary>
public sealed class ServerAddress
{
    /// <summary>The port of the data plane, unless configured otherwise.</summary>
    public const int DataPort = 7401;

    /// <summary>The port of the control plane, unless configured otherwise.</summary>
    public const int ControlPort = 7402;

    /// <summary>The data plane of a server on this machine with its default port.</summary>
    public const string DefaultData = "127.0.0.1:7401";

    private ServerAddress(string host, int port, bool isTls)
    {
        Host = host;
        Port = port;
        IsTls = isTls;
        Uri = new UriBuilder(isTls ? Uri.UriSchemeHttps : Uri.UriSchemeHttp, host, port).Uri;
    }

    /// <summary>Name or IP address, an IPv6 one in brackets.</summary>
    public string Host { get; }

    /// <summary>The port.</summary>
    public int Port { get; }

    /// <summary>Whether it is spoken to over TLS.</summary>
    public bool IsTls { get; }

    internal Uri Uri { get; }

    /// <summary>Reads an address; a port left out is <paramref name="defaultPort"/>. <see cref="FormatException"/> if it is none.</summary>
    public static ServerAddress Parse(string text, int defaultPort = DataPort)
    {
        ArgumentNullException.ThrowIfNull(text);
        bool isTls = text.StartsWith("https://", StringComparison.OrdinalIgnoreCase);
        string bare = isTls ? text[8..].TrimEnd('/') : text.StartsWith("http://", StringComparison.OrdinalIgnoreCase) ? text[7..].TrimEnd('/') : text;
        int bracket = bare.LastIndexOf(']');
        int colon = bare.LastIndexOf(':');
        string host = colon > bracket ? bare[..colon] : bare;
        int port = defaultPort;
        bool valid = host.Length > 0
            && (colon <= bracket
                || (int.TryParse(bare.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out port) && port is > 0 and < 65536))
            && Uri.CheckHostName(host) != UriHostNameType.Unknown
            && (!host.Contains(':', StringComparison.Ordinal) || host[0] == '[');
        return valid
            ? new ServerAddress(host, port, isTls)
            : throw new FormatException($"'{text}' is no address of a server; write HOST:PORT, such as {DefaultData} or [::1]:{DataPort}");
    }

    /// <summary>
    /// The control plane that belongs to this data plane unless it was configured otherwise: the next port of the same
    /// host.
    /// </summary>
    public ServerAddress Control() => new(Host, Port == 65535 ? Port : Port + 1, IsTls);

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{(IsTls ? "https://" : "")}{Host}:{Port}");
}
