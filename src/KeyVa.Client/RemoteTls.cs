using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace KeyVa.Client;

/// <summary>
/// How a client of an <c>https://</c> address knows its server, and shows itself: files in PEM form, read when the client is made. Immutable.
/// </summary>
public sealed record RemoteTls
{
    /// <summary>The certificates of the authorities that may vouch for the server; null: those that the system trusts.</summary>
    public string? CertificateAuthorityFile { get; init; }

    /// <summary>The client's own certificate, with those between it and its authority behind it; null: none is shown.</summary>
    public string? CertificateFile { get; init; }

    /// <summary>The private key of the client's certificate; null: it stands in the same file.</summary>
    public string? KeyFile { get; init; }

    /// <summary>Reads the files; <see cref="StoreException"/> if one of them cannot be read.</summary>
    internal SslClientAuthenticationOptions Read()
    {
        SslClientAuthenticationOptions options = new()
        {
            EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        };
        if (CertificateAuthorityFile is { } authorities)
        {
            X509ChainPolicy policy = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            ReadFile(authorities, "no certificate of an authority", path => policy.CustomTrustStore.ImportFromPemFile(path));
            options.CertificateChainPolicy = policy;
        }

        if (CertificateFile is { } certificate)
        {
            ReadFile(certificate, "no certificate with its key", path =>
            {
                X509Certificate2 own = X509Certificate2.CreateFromPemFile(path, KeyFile);
                X509Certificate2Collection chain = [];
                chain.ImportFromPemFile(path);
                options.ClientCertificateContext = SslStreamCertificateContext.Create(own, chain, offline: true);
            });
        }

        return options;
    }

    private static void ReadFile(string path, string otherwise, Action<string> read)
    {
        try
        {
            read(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new StoreException($"'{path}' is {otherwise} that can be read: {e.Message}", e);
        }
    }
}
