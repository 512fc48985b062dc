using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using KeyVa.Client;
using KeyVa.Server;
using KeyVa.Tests.Resp;
using Xunit;
using static KeyVa.Tests.Server.Identity.SecuredServer;

namespace KeyVa.Tests.Server.Identity;

/// <summary>TLS and client certificates on every listener.</summary>
public sealed class TlsTests : IDisposable
{
    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    [Fact]
    public async Task EveryListenerSpeaksTlsAndNothingElse()
    {
        await using SecuredServer server = await StartTlsAsync(ClientCertificates.None);
        RemoteCredentials admin = RemoteCredentials.Password("admin", AdminPassword);
        await using (RemoteStore store = Connect(server, admin, null))
        {
            Assert.True((await store.UpsertAsync("k"u8.ToArray(), "v"u8.ToArray())).IsOk);
            await using RemoteControl control = ConnectControl(server, admin, null);
            Assert.Equal("admin", (await control.Users.WhoAmIAsync())!.Name);
        }

        using (HttpClient http = NewHttp(server, null))
        {
            http.DefaultRequestHeaders.Authorization = Basic("admin", AdminPassword);
            Assert.Equal("v", await http.GetStringAsync("/kv/k"));
        }

        await using (SslStream redis = await ShakeHandsAsync(server.Server.RespAddress, null))
        {
            Assert.Equal("+OK\r\n$1\r\nv\r\n+OK\r\n", await TalkAsync(redis, RespSocket.Encode("AUTH", "admin", AdminPassword) + RespSocket.Encode("GET", "k") + RespSocket.Encode("QUIT")));
        }

        // Without TLS nothing is answered.
        foreach (IPEndPoint address in new[] { server.Server.RestAddress, server.Server.RespAddress })
        {
            using Socket plain = new(SocketType.Stream, ProtocolType.Tcp);
            await plain.ConnectAsync(address);
            await plain.SendAsync(Encoding.ASCII.GetBytes("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), SocketFlags.None);
            byte[] answer = new byte[256];
            int received = await ReceiveAsync(plain, answer);
            Assert.DoesNotContain("HTTP", Encoding.ASCII.GetString(answer, 0, received));
        }

        // Older protocols are refused.
#pragma warning disable SYSLIB0039, CA5397
        await Assert.ThrowsAnyAsync<Exception>(() => ShakeHandsAsync(server.Server.RestAddress, null, SslProtocols.Tls11));
#pragma warning restore SYSLIB0039, CA5397
    }

    [Fact]
    public async Task AClientThatDoesNotTrustTheServerSaysSo()
    {
        await using SecuredServer server = await StartTlsAsync(ClientCertificates.None);
        await using RemoteStore store = RemoteStore.Connect($"https://{server.Server.GrpcAddress}", new RemoteOptions { ReadRetries = 0 });
        await Assert.ThrowsAnyAsync<StoreException>(() => store.GetAsync("k"u8.ToArray()).AsTask());
    }

    [Fact]
    public async Task ACertificateIsAUserOnEveryDoor()
    {
        await using SecuredServer server = await StartTlsAsync(ClientCertificates.Optional);
        string fingerprint = _authority.Issue("ada", "CN=ada, O=Example");
        _authority.Issue("bob", "CN=bob");
        _authority.Issue("eve", "CN=eve");
        await using RemoteControl admin = ConnectControl(server, RemoteCredentials.Password("admin", AdminPassword), null);
        await admin.Users.AddAsync("ada", Grants("data:write:a/", "control:read"), certificates: ["sha256:" + fingerprint]);
        await admin.Users.AddAsync("bob", Grants("data:read"), certificates: ["subject:CN=bob"]);

        await using (RemoteStore store = Connect(server, null, "ada"))
        {
            Assert.True((await store.UpsertAsync("a/1"u8.ToArray(), "x"u8.ToArray())).IsOk);
            Assert.Equal(Status.PermissionDenied, (await store.UpsertAsync("b"u8.ToArray(), "x"u8.ToArray())).Status);
        }

        await using (RemoteControl control = ConnectControl(server, null, "ada"))
        {
            Assert.Equal("ada", (await control.Users.WhoAmIAsync())!.Name);
        }

        using (HttpClient http = NewHttp(server, "bob"))
        {
            Assert.Equal("x", await http.GetStringAsync("/kv/a%2F1"));
            using HttpResponseMessage denied = await http.DeleteAsync("/kv/a%2F1");
            Assert.Equal(HttpStatusCode.Forbidden, denied.StatusCode);
        }

        await using (SslStream redis = await ShakeHandsAsync(server.Server.RespAddress, "ada"))
        {
            Assert.Equal(
                "$3\r\nada\r\n+RESET\r\n$1\r\nx\r\n+OK\r\n",
                await TalkAsync(redis, RespSocket.Encode("ACL", "WHOAMI") + RespSocket.Encode("RESET") + RespSocket.Encode("GET", "a/1") + RespSocket.Encode("QUIT")));
        }

        // One that is nobody's proves nothing.
        using (HttpClient http = NewHttp(server, "eve"))
        {
            Assert.Equal(HttpStatusCode.Unauthorized, (await http.GetAsync("/kv/a%2F1")).StatusCode);
        }
    }

    [Fact]
    public async Task WithoutACertificateOfTheAuthorityNobodyIsLetInWhereOneIsRequired()
    {
        await using SecuredServer server = await StartTlsAsync(ClientCertificates.Required);
        _authority.Issue("ada", "CN=ada");
        using TestAuthority other = new();
        other.Issue("mallory", "CN=admin");
        using (HttpClient http = NewHttp(server, "ada"))
        {
            Assert.Equal("ok\n", await http.GetStringAsync("/healthz"));
        }

        using (HttpClient http = NewHttp(server, null))
        {
            await Assert.ThrowsAnyAsync<Exception>(() => http.GetStringAsync("/healthz"));
        }

        using (HttpClient http = NewHttp(server, "mallory", other))
        {
            await Assert.ThrowsAnyAsync<Exception>(() => http.GetStringAsync("/healthz"));
        }

        foreach (string? name in new[] { null, "mallory" })
        {
            await Assert.ThrowsAnyAsync<Exception>(async () =>
            {
                await using SslStream redis = await ShakeHandsAsync(server.Server.RespAddress, name, from: other);
                string answer = await TalkAsync(redis, RespSocket.Encode("AUTH", "admin", AdminPassword) + RespSocket.Encode("QUIT"));
                throw new IOException(answer.Length == 0 ? "cut off" : throw new InvalidOperationException(answer));
            });
        }
    }

    [Fact]
    public async Task ACertificateThatChangesIsTakenWithoutARestart()
    {
        await using SecuredServer server = await StartTlsAsync(ClientCertificates.None);
        string first = await FingerprintAsync(server);
        using HttpClient http = NewHttp(server, null);
        Assert.Equal("ok\n", await http.GetStringAsync("/healthz"));

        // What cannot be read leaves the one before.
        await File.WriteAllTextAsync(_authority.PathOf("server.pem"), "no certificate");
        File.SetLastWriteTimeUtc(_authority.PathOf("server.pem"), DateTime.UtcNow.AddMinutes(1));
        server.Server.ReloadCertificates();
        Assert.Equal(first, await FingerprintAsync(server));
        Assert.Contains(server.Log.All, static line => line.Contains("cannot be read, so those before stay", StringComparison.Ordinal));

        string second = _authority.Issue("server", "CN=server");
        File.SetLastWriteTimeUtc(_authority.PathOf("server.pem"), DateTime.UtcNow.AddMinutes(2));
        server.Server.ReloadCertificates();
        Assert.Equal(second, await FingerprintAsync(server));
        Assert.NotEqual(first, second);

        // Connections that are there go on.
        Assert.Equal("ok\n", await http.GetStringAsync("/healthz"));

        // A changed file is seen by a handshake that comes a second later, without being told.
        string third = _authority.Issue("server", "CN=server");
        File.SetLastWriteTimeUtc(_authority.PathOf("server.pem"), DateTime.UtcNow.AddMinutes(3));
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(20));
        while (await FingerprintAsync(server) != third)
        {
            patience.Token.ThrowIfCancellationRequested();
        }
    }

    [Fact]
    public async Task FilesThatCannotBeReadStopTheStart()
    {
        ConfigurationException refused = await Assert.ThrowsAsync<ConfigurationException>(() => StartAsync(options => options with
        {
            Tls = new TlsOptions { CertificateFile = _authority.PathOf("none.pem") },
        }));
        Assert.Contains("'tls-cert'", refused.Message);
    }

    [Fact]
    public async Task ARedisClientOverTlsDoesAllThatOthersDo()
    {
        await using SecuredServer server = await StartTlsAsync(ClientCertificates.None);
        await using SslStream listener = await ShakeHandsAsync(server.Server.RespAddress, null);
        await SendAsync(listener, RespSocket.Encode("AUTH", "admin", AdminPassword) + RespSocket.Encode("SUBSCRIBE", "news"));
        const string Subscribed = "+OK\r\n*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n";
        Assert.Equal(Subscribed, await ReadAsync(listener, Subscribed.Length));

        await using SslStream redis = await ShakeHandsAsync(server.Server.RespAddress, null);
        StringBuilder sent = new(RespSocket.Encode("AUTH", "admin", AdminPassword));
        StringBuilder expected = new("+OK\r\n");
        for (int i = 0; i < 2000; i++)
        {
            sent.Append(RespSocket.Encode("SET", $"k{i}", new string('x', 300))).Append(RespSocket.Encode("GET", $"k{i}"));
            expected.Append("+OK\r\n$300\r\n").Append('x', 300).Append("\r\n");
        }

        sent.Append(RespSocket.Encode("PUBLISH", "news", "hello")).Append(RespSocket.Encode("MULTI")).Append(RespSocket.Encode("INCR", "n")).Append(RespSocket.Encode("EXEC")).Append(RespSocket.Encode("QUIT"));
        expected.Append(":1\r\n+OK\r\n+QUEUED\r\n*1\r\n:1\r\n+OK\r\n");
        Task sending = SendAsync(redis, sent.ToString());
        Assert.Equal(expected.ToString(), await ReadAsync(redis, expected.Length));
        await sending;
        const string Message = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n";
        Assert.Equal(Message, await ReadAsync(listener, Message.Length));
    }

    private Task<SecuredServer> StartTlsAsync(ClientCertificates ask)
    {
        _authority.Issue("server", "CN=server");
        return StartAsync(options => options with
        {
            Tls = new TlsOptions
            {
                CertificateFile = _authority.PathOf("server.pem"),
                KeyFile = _authority.PathOf("server.key"),
                ClientAuthorityFile = _authority.AuthorityFile,
                ClientCertificates = ask,
            },
        });
    }

    private RemoteTls Tls(string? name) => new()
    {
        CertificateAuthorityFile = _authority.AuthorityFile,
        CertificateFile = name is null ? null : _authority.PathOf(name + ".pem"),
        KeyFile = name is null ? null : _authority.PathOf(name + ".key"),
    };

    private RemoteStore Connect(SecuredServer server, RemoteCredentials? credentials, string? certificate) => RemoteStore.Connect(
        $"https://{server.Server.GrpcAddress}", new RemoteOptions { Credentials = credentials, Tls = Tls(certificate) });

    private RemoteControl ConnectControl(SecuredServer server, RemoteCredentials? credentials, string? certificate) => RemoteControl.Connect(
        $"https://{server.Server.ControlAddress}", new RemoteOptions { Credentials = credentials, Tls = Tls(certificate) });

    private HttpClient NewHttp(SecuredServer server, string? certificate, TestAuthority? from = null)
    {
        SocketsHttpHandler handler = new() { SslOptions = Options(certificate, from) };
        return new HttpClient(handler) { BaseAddress = new Uri($"https://{server.Server.RestAddress}") };
    }

    private SslClientAuthenticationOptions Options(string? certificate, TestAuthority? from = null)
    {
        X509ChainPolicy policy = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.ImportFromPemFile(_authority.AuthorityFile);
        SslClientAuthenticationOptions options = new() { CertificateChainPolicy = policy, TargetHost = "127.0.0.1" };
        if (certificate is not null)
        {
            TestAuthority issuer = from ?? _authority;
            X509Certificate2 own = X509Certificate2.CreateFromPemFile(issuer.PathOf(certificate + ".pem"), issuer.PathOf(certificate + ".key"));
            options.ClientCertificateContext = SslStreamCertificateContext.Create(own, null, offline: true);
        }

        return options;
    }

    private async Task<SslStream> ShakeHandsAsync(IPEndPoint address, string? certificate, SslProtocols protocols = SslProtocols.None, TestAuthority? from = null)
    {
        Socket socket = new(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(address);
        SslStream stream = new(new NetworkStream(socket, ownsSocket: true));
        SslClientAuthenticationOptions options = Options(certificate, from);
        options.EnabledSslProtocols = protocols;
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(20));
        await stream.AuthenticateAsClientAsync(options, limit.Token);
        return stream;
    }

    private async Task<string> FingerprintAsync(SecuredServer server)
    {
        await using SslStream stream = await ShakeHandsAsync(server.Server.RestAddress, null);
        return Convert.ToHexStringLower(SHA256.HashData(stream.RemoteCertificate!.GetRawCertData()));
    }

    private static async Task<string> TalkAsync(SslStream stream, string sent)
    {
        await SendAsync(stream, sent);
        return await ReadAsync(stream, int.MaxValue);
    }

    private static async Task SendAsync(SslStream stream, string text) => await stream.WriteAsync(Encoding.Latin1.GetBytes(text));

    private static async Task<string> ReadAsync(SslStream stream, int length)
    {
        StringBuilder text = new();
        byte[] buffer = new byte[65536];
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(30));
        while (text.Length < length)
        {
            int read = await stream.ReadAsync(buffer.AsMemory(0, Math.Min(buffer.Length, length - text.Length)), limit.Token);
            if (read == 0)
            {
                break;
            }

            text.Append(Encoding.Latin1.GetString(buffer, 0, read));
        }

        return text.ToString();
    }

    private static async Task<int> ReceiveAsync(Socket socket, byte[] buffer)
    {
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(20));
        try
        {
            return await socket.ReceiveAsync(buffer, SocketFlags.None, limit.Token);
        }
        catch (SocketException)
        {
            return 0;
        }
    }
}
