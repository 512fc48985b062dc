using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using KeyVa.Client;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using KeyVa.Server.Identity;
using KeyVa.Tests.Resp;
using Xunit;
using static KeyVa.Tests.Server.Identity.SecuredServer;

namespace KeyVa.Tests.Server.Identity;

/// <summary>Users prove who they are, over every front door.</summary>
public sealed class IdentityTests
{
    [Fact]
    public async Task APasswordOpensEveryDoorAndNothingElseDoes()
    {
        await using SecuredServer server = await StartAsync();
        await server.Admin.Users.AddAsync("ada", Grants("data:write:a/"), "correct horse");

        // REST.
        using (HttpResponseMessage refused = await server.SendAsync("GET", "/kv/a%2Fx", null))
        {
            await ServerFixture.ProblemAsync(refused, 401, "unauthenticated");
            Assert.Contains(refused.Headers.WwwAuthenticate, static one => one.Scheme == "Basic");
            Assert.Contains(refused.Headers.WwwAuthenticate, static one => one.Scheme == "Bearer");
        }

        Assert.Equal(401, await server.StatusAsync("GET", "/kv/a%2Fx", Basic("ada", "wrong")));
        Assert.Equal(401, await server.StatusAsync("GET", "/kv/a%2Fx", Basic("nobody", "correct horse")));
        Assert.Equal(401, await server.StatusAsync("GET", "/kv/a%2Fx", new AuthenticationHeaderValue("Basic", "no base64")));
        Assert.Equal(204, await server.StatusAsync("PUT", "/kv/a%2Fx", Basic("ada", "correct horse"), new ByteArrayContent("1"u8.ToArray())));
        Assert.Equal(200, await server.StatusAsync("GET", "/kv/a%2Fx", Basic("ada", "correct horse")));
        using (HttpResponseMessage denied = await server.SendAsync("GET", "/kv/b", Basic("ada", "correct horse")))
        {
            await ServerFixture.ProblemAsync(denied, 403, "permission-denied");
        }

        Assert.Equal(401, await server.StatusAsync("GET", "/kv/a%2Fx", null));
        Assert.Equal(200, await server.StatusAsync("GET", "/healthz", null));

        // gRPC.
        using (GrpcChannel channel = new(new Uri($"http://{server.Server.GrpcAddress}")))
        {
            GetRequest request = new() { Keys = { Google.Protobuf.ByteString.CopyFromUtf8("a/x") } };
            GrpcReply<GetResponse> nobody = await channel.CallAsync(Methods.Get, request);
            Assert.Equal(GrpcStatusCode.Unauthenticated, nobody.Status.Code);
            Assert.Equal("unauthenticated", nobody.Trailers.Get("keyva-status"));
        }

        await using (RemoteStore store = server.Connect(RemoteCredentials.Password("ada", "correct horse")))
        {
            Assert.True((await store.GetAsync("a/x"u8.ToArray())).Found);
            WriteResult denied = await store.UpsertAsync("b"u8.ToArray(), "1"u8.ToArray());
            Assert.Equal(Status.PermissionDenied, denied.Status);
        }

        await using (RemoteStore wrong = server.Connect(RemoteCredentials.Password("ada", "wrong")))
        {
            Assert.Equal(Status.Unauthenticated, (await wrong.UpsertAsync("a/y"u8.ToArray(), "1"u8.ToArray())).Status);
        }

        // Redis.
        await using RespSocket redis = await server.RedisAsync();
        Assert.Equal("-NOAUTH Authentication required.", await redis.CallAsync("GET", "a/x"));
        Assert.Equal("-NOAUTH Authentication required.", await redis.CallAsync("PING"));
        Assert.Equal("-WRONGPASS invalid username-password pair or user is disabled.", await redis.CallAsync("AUTH", "ada", "wrong"));
        Assert.Equal("-WRONGPASS invalid username-password pair or user is disabled.", await redis.CallAsync("AUTH", "correct horse"));
        Assert.StartsWith("-NOAUTH HELLO must be called", await redis.CallAsync("HELLO", "3"));
        Assert.Equal("+OK", await redis.CallAsync("AUTH", "ada", "correct horse"));
        Assert.Equal("1", await redis.CallAsync("GET", "a/x"));
        Assert.Equal("+OK", await redis.CallAsync("SET", "a/y", "2"));
        Assert.Equal("-NOPERM this user has no permissions to access one of the keys used as arguments", await redis.CallAsync("GET", "b"));
        Assert.Equal("-NOPERM this user has no permissions to access one of the keys used as arguments", await redis.CallAsync("SET", "b", "1"));
        Assert.Equal("-NOPERM this user has no permissions to access one of the keys used as arguments", await redis.CallAsync("MGET", "a/x", "b"));
        Assert.Equal("-NOPERM this user has no permissions to run the 'flushall' command", await redis.CallAsync("FLUSHALL"));
        Assert.Equal("ada", await redis.CallAsync("ACL", "WHOAMI"));
        Assert.Equal("+RESET", await redis.CallAsync("RESET"));
        Assert.Equal("-NOAUTH Authentication required.", await redis.CallAsync("GET", "a/x"));
        Assert.StartsWith("[server, redis", await redis.CallAsync("HELLO", "3", "AUTH", "ada", "correct horse", "SETNAME", "me"));
        Assert.Equal("me", await redis.CallAsync("CLIENT", "GETNAME"));
    }

    [Fact]
    public async Task ATokenStandsWhereverAPasswordDoes()
    {
        await using SecuredServer server = await StartAsync();
        await server.Admin.Users.AddAsync("bot", Grants("data:read"));
        string token = await server.Admin.Users.AddTokenAsync("bot", "ci");
        Assert.StartsWith(AccessToken.TextPrefix, token);
        Assert.Equal(404, await server.StatusAsync("GET", "/kv/x", Bearer(token)));
        Assert.Equal(404, await server.StatusAsync("GET", "/kv/x", Basic("bot", token)));
        Assert.Equal(401, await server.StatusAsync("GET", "/kv/x", Basic("admin", token)));
        Assert.Equal(401, await server.StatusAsync("GET", "/kv/x", Bearer(AccessToken.NewText())));
        await using (RemoteStore store = server.Connect(RemoteCredentials.Token(token)))
        {
            Assert.False((await store.GetAsync("x"u8.ToArray())).Found);
        }

        await using RespSocket redis = await server.RedisAsync();
        Assert.Equal("+OK", await redis.CallAsync("AUTH", token));
        Assert.Equal("bot", await redis.CallAsync("ACL", "WHOAMI"));

        // What the file keeps is not the token.
        string file = Encoding.UTF8.GetString(Read(server, "/data/USERS"));
        Assert.DoesNotContain(token[AccessToken.TextPrefix.Length..], file);
        Assert.DoesNotContain(AdminPassword, file);

        await server.Admin.Users.RemoveTokenAsync("bot", "ci");
        Assert.Equal(401, await server.StatusAsync("GET", "/kv/x", Bearer(token)));
        Assert.Equal("-NOAUTH Authentication required.", await redis.CallAsync("GET", "x"));
    }

    [Fact]
    public async Task ChangesCountFromTheirAnswerOn()
    {
        await using SecuredServer server = await StartAsync();
        await server.Admin.Users.AddAsync("ada", Grants("data:read"), "one");
        await using RespSocket redis = await server.RedisAsync("ada", "one");
        await using RemoteStore store = server.Connect(RemoteCredentials.Password("ada", "one"));
        Assert.Equal("-NOPERM this user has no permissions to run the 'set' command", await redis.CallAsync("SET", "k", "v"));
        Assert.Equal(Status.PermissionDenied, (await store.UpsertAsync("k"u8.ToArray(), "v"u8.ToArray())).Status);

        await server.Admin.Users.SetGrantsAsync("ada", Grants("data:write:k"));
        Assert.Equal("+OK", await redis.CallAsync("SET", "k", "v"));
        Assert.True((await store.UpsertAsync("k"u8.ToArray(), "v"u8.ToArray())).IsOk);
        Assert.Equal("-NOPERM this user has no permissions to access one of the keys used as arguments", await redis.CallAsync("GET", "j"));

        // What was queued under rights that are gone is not done.
        Assert.Equal("+OK", await redis.CallAsync("MULTI"));
        Assert.Equal("+QUEUED", await redis.CallAsync("SET", "k", "w"));
        await server.Admin.Users.SetGrantsAsync("ada", Grants("data:read:k"));
        Assert.StartsWith("-EXECABORT", await redis.CallAsync("EXEC"));
        Assert.Equal("v", await redis.CallAsync("GET", "k"));

        // Another password: whoever came in by the old one proves itself again.
        await server.Admin.Users.SetPasswordAsync("ada", "two");
        Assert.Equal("-NOAUTH Authentication required.", await redis.CallAsync("GET", "k"));
        Assert.Equal(401, await server.StatusAsync("GET", "/kv/k", Basic("ada", "one")));
        Assert.Equal(200, await server.StatusAsync("GET", "/kv/k", Basic("ada", "two")));
        await server.Admin.Users.RemoveAsync("ada");
        Assert.Equal(401, await server.StatusAsync("GET", "/kv/k", Basic("ada", "two")));
    }

    [Fact]
    public async Task AWatchEndsWithTheRightToIt()
    {
        await using SecuredServer server = await StartAsync();
        await server.Admin.Users.AddAsync("ada", Grants("data:read:a/"), "pw");
        using GrpcChannel channel = new(new Uri($"http://{server.Server.GrpcAddress}"));
        GrpcCallOptions options = new() { Metadata = new GrpcMetadata().Add("authorization", Basic("ada", "pw").ToString()) };
        WatchRequest request = new() { Prefix = Google.Protobuf.ByteString.CopyFromUtf8("a/") };
        using GrpcResponses<WatchResponse> watch = channel.ServerStreaming(Methods.Watch, request, options);
        Assert.NotNull(await watch.ReadAsync());
        using HttpRequestMessage get = new(HttpMethod.Get, "/watch?prefix=a/") { Headers = { Authorization = Basic("ada", "pw") } };
        using HttpResponseMessage events = await server.Http.SendAsync(get, HttpCompletionOption.ResponseHeadersRead);
        await using RespSocket redis = await server.RedisAsync("ada", "pw");
        Assert.Equal("[subscribe, news, :1]", await redis.CallAsync("SUBSCRIBE", "news"));

        await server.Admin.Users.SetGrantsAsync("ada", Grants("control:read"));
        await Assert.ThrowsAnyAsync<Exception>(async () =>
        {
            while (await watch.ReadAsync() is not null)
            {
            }
        });
        await Assert.ThrowsAnyAsync<Exception>(() => events.Content.ReadAsByteArrayAsync());
        Assert.Equal("end", await redis.ReadAsync());
    }

    [Fact]
    public async Task KeysThatMayNotBeReadAreNotShownToRedisClients()
    {
        await using SecuredServer server = await StartAsync();
        await server.Admin.Users.AddAsync("ada", Grants("data:read:a/", "data:write:b/"), "pw");
        for (int i = 0; i < 40; i++)
        {
            server.Server.Store.Upsert(Encoding.ASCII.GetBytes($"{"abcd"[i % 4]}/{i}"), "x"u8);
        }

        await using RespSocket redis = await server.RedisAsync("ada", "pw");
        string keys = await redis.CallAsync("KEYS", "*");
        Assert.Contains("a/0", keys);
        Assert.Contains("b/1", keys);
        Assert.DoesNotContain("c/", keys);
        Assert.Equal(":20", await redis.CallAsync("DBSIZE"));
        Assert.Matches("^[ab]/", await redis.CallAsync("RANDOMKEY"));
        string scanned = await redis.CallAsync("SCAN", "0", "COUNT", "1000");
        Assert.DoesNotContain("d/", scanned);
        Assert.Contains("a/36", scanned);
        Assert.Equal("-NOPERM this user has no permissions to access one of the channels used as arguments", await redis.CallAsync("PSUBSCRIBE", "__keyspace@0__:*"));
        Assert.Equal("-NOPERM this user has no permissions to access one of the channels used as arguments", await redis.CallAsync("PSUBSCRIBE", "*"));
        Assert.Equal("+OK", await redis.CallAsync("MULTI"));
        Assert.Equal("-NOPERM this user has no permissions to access one of the keys used as arguments", await redis.CallAsync("GET", "c/2"));
        Assert.Equal("-EXECABORT Transaction discarded because of previous errors.", await redis.CallAsync("EXEC"));
        Assert.Equal(":1", await redis.CallAsync("COPY", "a/0", "b/copied"));
        Assert.StartsWith("-NOPERM", await redis.CallAsync("COPY", "b/1", "a/copied"));
    }

    [Fact]
    public async Task AStrangerHasLittleRoom()
    {
        await using SecuredServer server = await StartAsync();
        await using RespSocket many = await server.RedisAsync();
        await many.SendRawAsync("*11\r\n");
        Assert.Equal("-ERR Protocol error: unauthenticated multibulk length", await many.ReadAsync());
        Assert.Equal("end", await many.ReadAsync());
        await using RespSocket large = await server.RedisAsync();
        await large.SendRawAsync("*2\r\n$4\r\nECHO\r\n$16385\r\n");
        Assert.Equal("-ERR Protocol error: unauthenticated bulk length", await large.ReadAsync());
    }

    [Fact]
    public async Task WrongPasswordsComeToAnEnd()
    {
        await using SecuredServer server = await StartAsync();
        Assert.Equal("admin", (await server.Admin.Users.WhoAmIAsync())!.Name);
        int refused = 0;
        for (int i = 0; i < 40; i++)
        {
            refused += await server.StatusAsync("GET", "/kv/x", Basic("admin", $"guess {i}")) == 429 ? 1 : 0;
        }

        Assert.True(refused >= 10, $"{refused} of 40 guesses were put off");

        // Whoever was right a while ago is not held up by that.
        Assert.Equal("admin", (await server.Admin.Users.WhoAmIAsync())!.Name);
    }

    [Fact]
    public async Task RestChangesUsersToo()
    {
        await using SecuredServer server = await StartAsync();
        AuthenticationHeaderValue admin = Basic("admin", AdminPassword);
        Assert.Equal(401, await server.StatusAsync("GET", "/users", null));
        using (HttpResponseMessage made = await server.SendAsync("PUT", "/users/ada", admin, ServerFixture.Json("""{"grants": ["data:read:a/"], "password": "pw"}""")))
        {
            Assert.Equal(HttpStatusCode.Created, made.StatusCode);
            Assert.DoesNotContain("pw", await made.Content.ReadAsStringAsync());
        }

        Assert.Equal(404, await server.StatusAsync("GET", "/kv/a%2Fx", Basic("ada", "pw")));
        Assert.Equal(403, await server.StatusAsync("GET", "/users", Basic("ada", "pw")));
        Assert.Equal(200, await server.StatusAsync("PUT", "/users/ada", admin, ServerFixture.Json("""{"grants": ["data:read:b/"]}""")));
        Assert.Equal(404, await server.StatusAsync("GET", "/kv/b%2Fx", Basic("ada", "pw")));
        Assert.Equal(200, await server.StatusAsync("PUT", "/users/ada/password", admin, ServerFixture.Json("""{"password": "other"}""")));
        Assert.Equal(401, await server.StatusAsync("GET", "/kv/b%2Fx", Basic("ada", "pw")));
        using (HttpResponseMessage made = await server.SendAsync("PUT", "/users/ada/tokens/ci", admin))
        {
            string token = JsonDocument.Parse(await made.Content.ReadAsStringAsync()).RootElement.GetProperty("secret").GetString()!;
            Assert.Equal(404, await server.StatusAsync("GET", "/kv/b%2Fx", Bearer(token)));
        }

        string list = await (await server.SendAsync("GET", "/users", admin)).Content.ReadAsStringAsync();
        Assert.Contains("\"data:read:b/\"", list);
        Assert.Equal(204, await server.StatusAsync("DELETE", "/users/ada", admin));
        Assert.Equal(404, await server.StatusAsync("GET", "/users/ada", admin));
        Assert.Equal(412, await server.StatusAsync("DELETE", "/users/admin", admin));
        Assert.Equal(400, await server.StatusAsync("PUT", "/users/x", admin, ServerFixture.Json("""{"grants": ["data:everything"]}""")));
    }

    [Fact]
    public async Task WithoutUsersTheStoreIsOpenUntilTheFirstAdministratorComes()
    {
        await using SecuredServer server = await StartAsync(static options => options with { AdminPassword = null });
        Assert.Equal(204, await server.StatusAsync("PUT", "/kv/x", null, new ByteArrayContent([1])));
        await using RemoteControl anybody = server.Control(null);
        Assert.Null(await anybody.Users.WhoAmIAsync());
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => anybody.Users.AddAsync("ada", Grants("data:write"), "pw").AsTask());
        Assert.Equal(Status.ConditionFailed, refused.Status);
        Assert.Contains("administer", refused.Message);
        await using RespSocket redis = await server.RedisAsync();
        Assert.Equal("+PONG", await redis.CallAsync("PING"));

        await anybody.Users.AddAsync("root", Grants("admin"), "pw");
        Assert.Equal(401, await server.StatusAsync("GET", "/kv/x", null));
        Assert.Equal("-NOAUTH Authentication required.", await redis.CallAsync("PING"));
        Assert.Equal(200, await server.StatusAsync("GET", "/kv/x", Basic("root", "pw")));
        refused = await Assert.ThrowsAsync<RefusedException>(() => anybody.Users.ListAsync().AsTask());
        Assert.Equal(Status.Unauthenticated, refused.Status);
    }

    internal static byte[] Read(SecuredServer server, string path)
    {
        using KeyVa.Io.StorageFile file = server.Files.Open(path, writable: false);
        byte[] bytes = new byte[file.Length];
        file.Read(0, bytes);
        return bytes;
    }
}
