using System.IO.Pipelines;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace KeyVa.Server.Tls;

/// <summary>
/// Puts TLS under a connection of Kestrel: shakes hands, and exchanges the connection's pipes for those of the stream. Kestrel's own way needs services of the
/// generic host, which the listeners do without.
/// </summary>
internal static class TlsConnection
{
    /// <summary>Who does not shake hands in so long is cut off.</summary>
    public static readonly TimeSpan HandshakeTimeout = TimeSpan.FromSeconds(10);

    private const int BufferBytes = 16 * 1024;

    /// <summary>Serves a connection over TLS.</summary>
    public static async Task RunAsync(ConnectionContext connection, TlsCertificates certificates, SslApplicationProtocol protocol, ConnectionDelegate next)
    {
        IDuplexPipe plain = connection.Transport;
        await using DuplexStream inner = new(plain);
        await using SslStream stream = new(inner, leaveInnerStreamOpen: true);
        if (!await TryShakeHandsAsync(stream, certificates.OptionsFor(protocol), connection.ConnectionClosed))
        {
            connection.Abort(new ConnectionAbortedException("the TLS handshake failed"));
            return;
        }

        ShakenHands features = new(stream);
        connection.Features.Set<ITlsConnectionFeature>(features);
        connection.Features.Set<ITlsHandshakeFeature>(features);
        connection.Features.Set<ITlsApplicationProtocolFeature>(features);
        SecuredPipe secured = new(stream);
        connection.Transport = secured;
        try
        {
            await next(connection);
        }
        finally
        {
            await secured.Input.CompleteAsync();
            await secured.Output.CompleteAsync();
            connection.Transport = plain;
        }
    }

    /// <summary>Shakes hands; false: the other side did not, or not in time.</summary>
    public static async Task<bool> TryShakeHandsAsync(SslStream stream, SslServerAuthenticationOptions options, CancellationToken cancellation)
    {
        using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(HandshakeTimeout);
        try
        {
            await stream.AuthenticateAsServerAsync(options, patience.Token);
            return true;
        }
        catch (Exception e) when (e is AuthenticationException or IOException or OperationCanceledException or InvalidOperationException or ObjectDisposedException)
        {
            // Whoever speaks something else, shows no good certificate, or goes away: scanners do by the thousand, so nobody is told.
            return false;
        }
    }

    private sealed class SecuredPipe(SslStream stream) : IDuplexPipe
    {
        public PipeReader Input { get; } = PipeReader.Create(stream, new StreamPipeReaderOptions(bufferSize: BufferBytes, minimumReadSize: BufferBytes / 4, leaveOpen: true));

        public PipeWriter Output { get; } = PipeWriter.Create(stream, new StreamPipeWriterOptions(leaveOpen: true));
    }

    private sealed class ShakenHands(SslStream stream) : ITlsConnectionFeature, ITlsHandshakeFeature, ITlsApplicationProtocolFeature
    {
        public X509Certificate2? ClientCertificate { get; set; } = stream.RemoteCertificate as X509Certificate2;

        public SslProtocols Protocol => stream.SslProtocol;

        public TlsCipherSuite? NegotiatedCipherSuite => stream.NegotiatedCipherSuite;

        public ReadOnlyMemory<byte> ApplicationProtocol => stream.NegotiatedApplicationProtocol.Protocol;

        // The older names of what the suite says; the interface still has them.
#pragma warning disable SYSLIB0058
        CipherAlgorithmType ITlsHandshakeFeature.CipherAlgorithm => CipherAlgorithmType.None;

        int ITlsHandshakeFeature.CipherStrength => 0;

        HashAlgorithmType ITlsHandshakeFeature.HashAlgorithm => HashAlgorithmType.None;

        int ITlsHandshakeFeature.HashStrength => 0;

        ExchangeAlgorithmType ITlsHandshakeFeature.KeyExchangeAlgorithm => ExchangeAlgorithmType.None;

        int ITlsHandshakeFeature.KeyExchangeStrength => 0;
#pragma warning restore SYSLIB0058

        public Task<X509Certificate2?> GetClientCertificateAsync(CancellationToken cancellationToken) => Task.FromResult(ClientCertificate);
    }
}
