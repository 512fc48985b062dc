namespace KeyVa.Server;

/// <summary>Whether a listener asks its clients for certificates.</summary>
public enum ClientCertificates
{
    /// <summary>They are not asked.</summary>
    None,

    /// <summary>Who has one may show it, and is the user that it names.</summary>
    Optional,

    /// <summary>Who has none is not let in.</summary>
    Required,
}

/// <summary>TLS of the listeners: PEM files, read again when they change. Immutable.</summary>
public sealed record TlsOptions
{
    /// <summary>The server's certificate, with those between it and its authority behind it; empty: no TLS.</summary>
    public string CertificateFile { get; init; } = "";

    /// <summary>Its private key; empty: in the same file.</summary>
    public string KeyFile { get; init; } = "";

    /// <summary>The authorities that vouch for clients; empty: none do.</summary>
    public string ClientAuthorityFile { get; init; } = "";

    /// <summary>Whether clients are asked for certificates.</summary>
    public ClientCertificates ClientCertificates { get; init; }

    /// <summary>The listeners that speak TLS: rest, grpc, control, resp.</summary>
    public IReadOnlyList<string> Listeners { get; init; } = AllListeners;

    internal static string[] AllListeners { get; } = ["rest", "grpc", "control", "resp"];

    internal bool IsOn => CertificateFile.Length > 0;
}
