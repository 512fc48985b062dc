using System.Diagnostics;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace KeyVa.Server.Tls;

/// <summary>
/// The certificates of the server, read from their files at the start and again when a file has changed: whoever shakes hands looks, once a second at most. What
/// cannot be read then leaves those that are there, and an error in the log. Thread-safe.
/// </summary>
internal sealed class TlsCertificates
{
    private static readonly TimeSpan LookPause = TimeSpan.FromSeconds(1);

    private readonly TlsOptions _options;
    private readonly ServerLog _log;
    private readonly Lock _reading = new();

    // published
    private volatile Certificates _current;

    // the reader's
    private long _lookedAt = Stopwatch.GetTimestamp();

    /// <exception cref="ConfigurationException">A file cannot be read.</exception>
    public TlsCertificates(TlsOptions options, ServerLog log)
    {
        _options = options;
        _log = log;
        try
        {
            _current = Read();
        }
        catch (Exception e) when (IsUnreadable(e))
        {
            throw new ConfigurationException($"the files of the settings 'tls-cert', 'tls-key' and 'tls-client-ca' cannot be read: {e.Message}", e);
        }
    }

    /// <summary>What to shake hands with.</summary>
    public SslServerAuthenticationOptions OptionsFor(SslApplicationProtocol? protocol)
    {
        Look();
        Certificates current = _current;
        SslServerAuthenticationOptions options = new()
        {
            ServerCertificateContext = current.Own,
            EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
            ClientCertificateRequired = _options.ClientCertificates != ClientCertificates.None,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,

            // A session that is resumed would not show its certificate again.
            AllowTlsResume = _options.ClientCertificates == ClientCertificates.None,
            RemoteCertificateValidationCallback = Accepts,
        };
        if (current.Authorities is { } authorities)
        {
            X509ChainPolicy policy = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
            policy.CustomTrustStore.AddRange(authorities);
            options.CertificateChainPolicy = policy;
        }

        if (protocol is { } name)
        {
            options.ApplicationProtocols = [name];
        }

        return options;
    }

    /// <summary>Reads the files again, whether they look changed or not.</summary>
    public void Reload()
    {
        lock (_reading)
        {
            TryRead();
        }
    }

    private void Look()
    {
        if (Stopwatch.GetElapsedTime(Volatile.Read(ref _lookedAt)) < LookPause || !_reading.TryEnter())
        {
            return;
        }

        try
        {
            Volatile.Write(ref _lookedAt, Stopwatch.GetTimestamp());
            if (!Stamps().SequenceEqual(_current.Stamps))
            {
                TryRead();
            }
        }
        finally
        {
            _reading.Exit();
        }
    }

    private void TryRead()
    {
        DateTime[] stamps = Stamps();
        try
        {
            _current = Read();
            DateTime notAfter = _current.Own.TargetCertificate.NotAfter.ToUniversalTime();
            _log.CertificatesRead(_options.CertificateFile, notAfter);
        }
        catch (Exception e) when (IsUnreadable(e))
        {
            // Said once for each change, not by each handshake.
            _current = _current with { Stamps = stamps };
            _log.CertificatesNotRead(e.Message);
        }
    }

    private Certificates Read()
    {
        DateTime[] stamps = Stamps();
        X509Certificate2 own = X509Certificate2.CreateFromPemFile(_options.CertificateFile, _options.KeyFile.Length > 0 ? _options.KeyFile : null);
        X509Certificate2Collection chain = [];
        chain.ImportFromPemFile(_options.CertificateFile);
        X509Certificate2Collection? authorities = null;
        if (_options.ClientAuthorityFile.Length > 0)
        {
            authorities = [];
            authorities.ImportFromPemFile(_options.ClientAuthorityFile);
            if (authorities.Count == 0)
            {
                throw new CryptographicException($"'{_options.ClientAuthorityFile}' has no certificate");
            }
        }

        return new Certificates(SslStreamCertificateContext.Create(own, chain, offline: true), authorities, stamps);
    }

    private DateTime[] Stamps() =>
    [
        .. new[] { _options.CertificateFile, _options.KeyFile, _options.ClientAuthorityFile }
            .Where(static path => path.Length > 0).Select(static path => File.GetLastWriteTimeUtc(path)),
    ];

    private bool Accepts(object sender, X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors) =>
        certificate is null ? _options.ClientCertificates != ClientCertificates.Required : errors == SslPolicyErrors.None;

    private static bool IsUnreadable(Exception e) => e is IOException or UnauthorizedAccessException or CryptographicException or ArgumentException;

    private sealed record Certificates(SslStreamCertificateContext Own, X509Certificate2Collection? Authorities, DateTime[] Stamps);
}
