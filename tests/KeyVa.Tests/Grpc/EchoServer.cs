using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using KeyVa.Protocol.Grpc;
using KeyVa.Tests.Grpc.Messages;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xunit;

namespace KeyVa.Tests.Grpc;

/// <summary>A Kestrel on free loopback ports with the echo, health and reflection services: plain, and with TLS.</summary>
public sealed class EchoServer : IAsyncLifetime
{
    private readonly WebApplication _app;
    private readonly X509Certificate2 _certificate = SelfSigned();

    /// <summary>The server with default limits.</summary>
    public EchoServer() : this(new GrpcServiceOptions(), mapped: false) { }

    internal EchoServer(GrpcServiceOptions options, bool mapped)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2);
            kestrel.Listen(IPAddress.Loopback, 0, listen =>
            {
                listen.Protocols = HttpProtocols.Http2;
                listen.UseHttps(_certificate);
            });
        });
        GrpcService[] services = [new EchoService().ToService(options), Health.ToService()];
        ReflectionService reflection = new(
            services, EchoReflection.Descriptor, Protocol.Grpc.Health.V1.HealthReflection.Descriptor);
        GrpcServer server = new([.. services, .. reflection.ToServices()]);
        _app = builder.Build();
        if (mapped)
            _app.MapGrpc(server);
        else
            _app.Run(server.HandleAsync);
    }

    internal HealthService Health { get; } = new();

    internal Uri Address { get; private set; } = null!;

    internal Uri TlsAddress { get; private set; } = null!;

    internal X509Certificate2 Certificate => _certificate;

    public async Task InitializeAsync()
    {
        await _app.StartAsync();
        Uri[] addresses = [.. _app.Services.GetRequiredService<IServer>().Features
            .Get<IServerAddressesFeature>()!.Addresses.Select(address => new Uri(address))];
        Address = addresses.Single(address => address.Scheme == "http");
        TlsAddress = addresses.Single(address => address.Scheme == "https");
    }

    public async Task DisposeAsync()
    {
        Health.Shutdown();
        using CancellationTokenSource now = new(TimeSpan.FromSeconds(1));
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
        _certificate.Dispose();
    }

    private static X509Certificate2 SelfSigned()
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("CN=localhost", key, HashAlgorithmName.SHA256);
        SubjectAlternativeNameBuilder names = new();
        names.AddDnsName("localhost");
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using X509Certificate2 made = request.CreateSelfSigned(
            DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        return X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
    }
}
