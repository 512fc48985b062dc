using System.Diagnostics;
using System.Net;
using KeyVa.Client;
using KeyVa.Server.Identity;
using KeyVa.Tests.Resp;
using Xunit;
using static KeyVa.Tests.Server.Identity.SecuredServer;

namespace KeyVa.Tests.Server.Identity;

/// <summary>Users change their own passwords, over every front door, for the old ones.</summary>
public sealed class OwnPasswordTests
{
    [Fact]
    public async Task WhoeverKnowsTheOldOneHasAnother()
    {
        await using SecuredServer server = await StartAsync();
        await server.Admin.Users.AddAsync("ada", Grants("data:read"), "one");

        // gRPC.
        await using (RemoteControl ada = server.Control(RemoteCredentials.Password("ada", "one")))
        {
            RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => ada.Users.ChangeOwnPasswordAsync("wrong", "two").AsTask());
            Assert.Equal((Status.PermissionDenied, "the old password is wrong; nothing was changed"), (refused.Status, refused.Message));
            refused = await Assert.ThrowsAsync<RefusedException>(() => ada.Users.ChangeOwnPasswordAsync("one", "").AsTask());
            Assert.Equal(Status.Invalid, refused.Status);
            Assert.Equal("ada", (await ada.Users.ChangeOwnPasswordAsync("one", "two")).Name);

            // Whoever came in by the old one comes in anew.
            refused = await Assert.ThrowsAsync<RefusedException>(() => ada.Users.WhoAmIAsync().AsTask());
            Assert.Equal(Status.Unauthenticated, refused.Status);
        }

        // REST.
        Assert.Equal(401, await server.StatusAsync("PUT", "/password", Basic("ada", "one"), ServerFixture.Json("""{"old": "one", "password": "three"}""")));
        using (HttpResponseMessage denied = await server.SendAsync("PUT", "/password", Basic("ada", "two"), ServerFixture.Json("""{"old": "one", "password": "three"}""")))
        {
            await ServerFixture.ProblemAsync(denied, 403, "permission-denied");
        }

        Assert.Equal(400, await server.StatusAsync("PUT", "/password", Basic("ada", "two"), ServerFixture.Json("""{"password": "three"}""")));
        using (HttpResponseMessage done = await server.SendAsync("PUT", "/password", Basic("ada", "two"), ServerFixture.Json("""{"old": "two", "password": "three"}""")))
        {
            Assert.Equal(HttpStatusCode.OK, done.StatusCode);
            Assert.DoesNotContain("three", await done.Content.ReadAsStringAsync());
        }

        Assert.Equal(401, await server.StatusAsync("GET", "/kv/x", Basic("ada", "two")));
        Assert.Equal(404, await server.StatusAsync("GET", "/kv/x", Basic("ada", "three")));

        // Redis: the connection that changes it goes on, others do not.
        await using RespSocket redis = await server.RedisAsync("ada", "three");
        await using RespSocket other = await server.RedisAsync("ada", "three");
        Assert.StartsWith("-WRONGPASS", await redis.CallAsync("ACL", "SETUSER", "ada", "<two", ">four"));
        Assert.StartsWith("-ERR users are changed by", await redis.CallAsync("ACL", "SETUSER", "admin", "<three", ">four"));
        Assert.StartsWith("-ERR users are changed by", await redis.CallAsync("ACL", "SETUSER", "ada", "+@all"));
        Assert.StartsWith("-ERR users are changed by", await redis.CallAsync("ACL", "SETUSER", "ada", ">four", "+@all"));
        Assert.Equal("+OK", await redis.CallAsync("ACL", "SETUSER", "ada", "<three", ">four"));
        Assert.Equal("nil", await redis.CallAsync("GET", "x"));
        Assert.StartsWith("-NOAUTH", await other.CallAsync("GET", "x"));
        Assert.Equal("+OK", await other.CallAsync("AUTH", "ada", "four"));

        // No secret is in what was noted.
        IReadOnlyList<string> lines = server.Log.Audit;
        Assert.Contains(lines, static line => line.Contains("user=ada", StringComparison.Ordinal) && line.Contains("ControlPlane/ChangeOwnPassword\" target=\"its own password\" outcome=ok", StringComparison.Ordinal));
        Assert.Contains(lines, static line => line.Contains("operation=\"rest PUT /password\" target=\"/password\" outcome=403", StringComparison.Ordinal));
        Assert.Contains(lines, static line => line.Contains("operation=\"resp acl|setuser\" target=\"user ada\" outcome=ok", StringComparison.Ordinal));
        Assert.Contains(lines, static line => line.Contains("operation=\"resp acl|setuser\" target=\"user ada\" outcome=permission-denied", StringComparison.Ordinal));
        Assert.DoesNotContain(server.Log.All, static line => line.Contains("three", StringComparison.Ordinal) || line.Contains("four", StringComparison.Ordinal));
    }

    [Fact]
    public async Task ATokenIsNoOldPassword()
    {
        await using SecuredServer server = await StartAsync();
        await server.Admin.Users.AddAsync("ada", Grants("data:read"), "one");
        await server.Admin.Users.AddAsync("bot", Grants("data:read"));
        string token = await server.Admin.Users.AddTokenAsync("ada", "t");
        await using RemoteControl ada = server.Control(RemoteCredentials.Token(token));
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => ada.Users.ChangeOwnPasswordAsync(token, "two").AsTask());
        Assert.Equal(Status.PermissionDenied, refused.Status);
        await ada.Users.ChangeOwnPasswordAsync("one", "two");

        // The token goes on: it is another credential.
        Assert.Equal("ada", (await ada.Users.WhoAmIAsync())!.Name);
        await using RemoteControl bot = server.Control(RemoteCredentials.Token(await server.Admin.Users.AddTokenAsync("bot", "t")));
        refused = await Assert.ThrowsAsync<RefusedException>(() => bot.Users.ChangeOwnPasswordAsync("", "two").AsTask());
        Assert.Equal(Status.ConditionFailed, refused.Status);
        Assert.Contains("has no password", refused.Message);
    }

    [Fact]
    public async Task GuessingTheOldOneIsHeldUp()
    {
        await using SecuredServer server = await StartAsync();
        await server.Admin.Users.AddAsync("ada", Grants("data:read"), "one");
        int heldUp = 0;
        int taken = 0;
        long begun = Stopwatch.GetTimestamp();
        while (heldUp < 10)
        {
            using HttpResponseMessage response = await server.SendAsync("PUT", "/password", Basic("ada", "one"), ServerFixture.Json("""{"old": "guess", "password": "mine"}"""));
            Assert.Contains((int)response.StatusCode, new[] { 403, 429 });
            if ((int)response.StatusCode == 429)
            {
                heldUp++;
                Assert.True(response.Headers.RetryAfter!.Delta > TimeSpan.Zero);
            }
            else
            {
                // Twenty, and one more for each second that this takes.
                taken++;
                Assert.True(taken <= 21 + Stopwatch.GetElapsedTime(begun).TotalSeconds, $"{taken} guesses were taken within {Stopwatch.GetElapsedTime(begun)}");
            }
        }

        Assert.Equal(404, await server.StatusAsync("GET", "/kv/x", Basic("ada", "one")));
    }

    [Fact]
    public async Task OneThatWasChangedMeanwhileIsNotChangedAgain()
    {
        await using SecuredServer server = await StartAsync();
        await server.Admin.Users.AddAsync("ada", Grants("data:read"), "one");
        UserStore users = new(server.Files, "/data", PasswordHash.MinIterations, TimeProvider.System);
        PasswordHash known = users.Current.Find("ada")!.Password!;
        Assert.Equal(Status.Ok, (await users.ChangeAsync(new UserChange.SetPassword("ada", "two"))).Status);
        Assert.Equal(Status.ConditionFailed, (await users.ChangeAsync(new UserChange.SetOwnPassword("ada", "three", known))).Status);
        Assert.True(users.Current.Find("ada")!.Password!.Matches("two"));
    }
}
