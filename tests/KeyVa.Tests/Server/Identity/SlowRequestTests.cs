using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Google.Protobuf;
using KeyVa.Protocol.V1;
using KeyVa.Tests.Cluster.Processes;
using Xunit;
using static KeyVa.Tests.Server.Identity.SecuredServer;

namespace KeyVa.Tests.Server.Identity;

/// <summary>A change of users counts from its answer on, also for a request whose head was let through before.</summary>
public sealed class SlowRequestTests
{
    [Theory]
    [InlineData("PUT", "/kv/x", "value")]
    [InlineData("POST", "/kv:batch", """{"operations": [{"op": "put", "key": "x", "value": "1"}]}""")]
    [InlineData("PUT", "/users/eve", """{"grants": ["admin"], "password": "pw"}""")]
    public async Task ABodyThatComesWhenItsUserIsGoneDoesNothing(string method, string target, string body)
    {
        await using SecuredServer server = await StartAsync();
        await server.Admin.Users.AddAsync("ada", Grants("admin"), "pw");
        Assert.StartsWith("HTTP/1.1 20", await SendAsync(server, method, target, body, static () => Task.CompletedTask), StringComparison.Ordinal);
        Assert.Equal(204, await server.StatusAsync("DELETE", target == "/kv:batch" ? "/kv/x" : target, Basic("admin", AdminPassword)));

        // Changes of others are nothing to it.
        Assert.StartsWith(
            "HTTP/1.1 20",
            await SendAsync(server, method, target, body, async () => await server.Admin.Users.AddAsync("bob", Grants("data:read"), "pw")),
            StringComparison.Ordinal);
        Assert.Equal(204, await server.StatusAsync("DELETE", target == "/kv:batch" ? "/kv/x" : target, Basic("admin", AdminPassword)));
        string answer = await SendAsync(server, method, target, body, async () => await server.Admin.Users.RemoveAsync("ada"));
        Assert.StartsWith("HTTP/1.1 401 ", answer, StringComparison.Ordinal);
        Assert.Contains("changed or removed", answer, StringComparison.Ordinal);
        Assert.Equal(404, await server.StatusAsync("GET", target == "/kv:batch" ? "/kv/x" : target, Basic("admin", AdminPassword)));
    }

    [Fact]
    public async Task AMessageThatComesWhenItsUserIsGoneDoesNothing()
    {
        await using SecuredServer server = await StartAsync(static options => options with { MaxInFlight = 1 });
        await server.Admin.Users.AddAsync("ada", Grants("admin"), "pw");
        using HttpClient http = new();
        TaskCompletionSource mayGoOn = new(TaskCreationOptions.RunContinuationsAsynchronously);
        AddUserRequest message = new() { Name = "eve", Password = "pw" };
        message.Grants.Add(new UserGrant { Plane = "control", Role = "admin" });
        HttpRequestMessage Request() => new(HttpMethod.Post, $"http://{server.Server.ControlAddress}{Methods.AddUser.Path}")
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new LateContent(mayGoOn.Task, message.ToByteArray()),
            Headers = { Authorization = Basic("ada", "pw"), TE = { new System.Net.Http.Headers.TransferCodingWithQualityHeaderValue("trailers") } },
        };

        // One is let through at a time: when others are not, it is that one. If another was there first, it was refused itself, and is sent again.
        HttpRequestMessage request = Request();
        Task<HttpResponseMessage> answering = http.SendAsync(request);
        for (int refusals = 0; refusals < 2 || answering.IsCompleted;)
        {
            if (answering.IsCompleted)
            {
                (await answering).Dispose();
                request.Dispose();
                request = Request();
                answering = http.SendAsync(request);
            }

            await Pause.ForAsync(TimeSpan.FromMilliseconds(5));
            refusals = await IsAdmittedAsync(server) ? 0 : refusals + 1;
        }

        Assert.Equal(204, await server.StatusAsync("DELETE", "/users/ada", Basic("admin", AdminPassword)));
        mayGoOn.SetResult();
        using HttpResponseMessage answer = await answering;
        request.Dispose();
        await answer.Content.ReadAsByteArrayAsync();
        string status = string.Concat(answer.Headers.Concat(answer.TrailingHeaders).Where(static one => one.Key == "grpc-status").SelectMany(static one => one.Value));
        Assert.Equal("7", status);
        Assert.Equal(404, await server.StatusAsync("GET", "/users/eve", Basic("admin", AdminPassword)));
    }

    private static async Task<bool> IsAdmittedAsync(SecuredServer server)
    {
        try
        {
            await server.Admin.Users.ListAsync();
            return true;
        }
        catch (RefusedException refused) when (refused.Status == Status.RateLimited)
        {
            return false;
        }
    }

    /// <summary>Sends the head of a request, and its body when the server has asked for it and something has happened; returns the answer.</summary>
    private static async Task<string> SendAsync(SecuredServer server, string method, string target, string body, Func<Task> happens)
    {
        using TcpClient client = new();
        await client.ConnectAsync(server.Server.RestAddress);
        string head = string.Create(
            CultureInfo.InvariantCulture,
            $"{method} {target} HTTP/1.1\r\nHost: node\r\nConnection: close\r\nAuthorization: {Basic("ada", "pw")}\r\nContent-Type: application/json\r\nContent-Length: {body.Length}\r\nExpect: 100-continue\r\n\r\n");
        await client.Client.SendAsync(Encoding.ASCII.GetBytes(head), SocketFlags.None);
        using StreamReader reader = new(client.GetStream(), Encoding.ASCII);
        Assert.Equal("HTTP/1.1 100 Continue", await reader.ReadLineAsync());
        Assert.Equal("", await reader.ReadLineAsync());
        await happens();
        await client.Client.SendAsync(Encoding.ASCII.GetBytes(body), SocketFlags.None);
        return await reader.ReadToEndAsync();
    }

    /// <summary>A message of gRPC that comes later than the head of its call.</summary>
    private sealed class LateContent : HttpContent
    {
        private readonly Task _until;
        private readonly byte[] _message;

        public LateContent(Task until, byte[] message)
        {
            _until = until;
            _message = message;
            Headers.ContentType = new("application/grpc");
        }

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            await stream.FlushAsync();
            await _until;
            await stream.WriteAsync(new byte[] { 0, 0, 0, 0, (byte)_message.Length });
            await stream.WriteAsync(_message);
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
