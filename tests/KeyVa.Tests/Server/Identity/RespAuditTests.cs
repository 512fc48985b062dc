using KeyVa.Server;
using KeyVa.Tests.Resp;
using Xunit;
using static KeyVa.Tests.Server.Identity.SecuredServer;

namespace KeyVa.Tests.Server.Identity;

/// <summary>Commands of Redis clients that are of the control plane: noted with target and outcome, and under that plane's limits.</summary>
public sealed class RespAuditTests
{
    [Fact]
    public async Task EachLineHasTargetAndOutcome()
    {
        await using SecuredServer server = await StartAsync();
        await server.Admin.Users.AddAsync("ada", Grants("data:write", "control:read"), "pw");
        await using RespSocket admin = await server.RedisAsync("admin", AdminPassword);
        await using RespSocket ada = await server.RedisAsync("ada", "pw");
        await using RespSocket stranger = await server.RedisAsync();
        await admin.CallAsync("CONFIG", "SET", "slowlog-max-len", "77", "maxclients", "9000");
        await admin.CallAsync("CONFIG", "SET", "port", "1");
        await admin.CallAsync("CONFIG", "SET", "port");
        await admin.CallAsync("CONFIG", "GET", "max*", "a\"b");
        await ada.CallAsync("CONFIG", "SET", "maxclients", "1");
        await stranger.CallAsync("CLIENT", "LIST");
        await admin.CallAsync("CLIENT", "KILL", "ID", "123456");
        await admin.CallAsync("ACL", "GETUSER", "ada");
        await admin.CallAsync("ACL", "SETUSER", "eve", "on", ">secret");
        await admin.CallAsync("FLUSHALL");
        await ada.CallAsync("FLUSHDB");
        await admin.CallAsync("GET", "k");

        // Inside a transaction: when it is done, or is not.
        await admin.CallAsync("MULTI");
        await admin.CallAsync("CONFIG", "SET", "timeout", "100");
        await admin.CallAsync("FLUSHALL");
        await admin.CallAsync("EXEC");
        await admin.CallAsync("WATCH", "w");
        await ada.CallAsync("SET", "w", "1");
        await admin.CallAsync("MULTI");
        await admin.CallAsync("FLUSHDB");
        await admin.CallAsync("EXEC");
        Assert.Equal(
        [
            """user=admin operation="resp config|set" target="setting slowlog-max-len maxclients" outcome=ok""",
            """user=admin operation="resp config|set" target="setting port" outcome=ERR""",
            """user=admin operation="resp config|set" target="setting port" outcome=ERR""",
            """user=admin operation="resp config|get" target="setting max* a'b" outcome=ok""",
            """user=ada operation="resp config|set" target="setting maxclients" outcome=permission-denied""",
            """user=- operation="resp client|list" target="-" outcome=unauthenticated""",
            """user=admin operation="resp client|kill" target="client ID 123456" outcome=ok""",
            """user=admin operation="resp acl|getuser" target="user ada" outcome=ok""",
            """user=admin operation="resp acl|setuser" target="user eve" outcome=ERR""",
            """user=admin operation="resp flushall" target="all keys" outcome=ok""",
            """user=ada operation="resp flushdb" target="all keys" outcome=permission-denied""",
            """user=admin operation="resp config|set" target="setting timeout" outcome=ok""",
            """user=admin operation="resp flushall" target="all keys" outcome=ok""",
            """user=admin operation="resp flushdb" target="all keys" outcome=aborted""",
        ],
        server.Log.Audit.Where(static line => line.Contains("\"resp ", StringComparison.Ordinal)).Select(Shortened));
        Assert.DoesNotContain(server.Log.All, static line => line.Contains("secret", StringComparison.Ordinal));
    }

    [Fact]
    public async Task TheyComeUnderTheLimitsOfTheControlPlane()
    {
        await using SecuredServer server = await StartAsync(static options => options with { ControlLimits = new PlaneLimits { UserRequests = 5 }, DataLimits = new PlaneLimits { UserRequests = 100_000 } });
        await using RespSocket redis = await server.RedisAsync("admin", AdminPassword);
        string reply = "";
        int done = 0;
        for (int i = 0; i < 200 && !reply.StartsWith("-BUSY", StringComparison.Ordinal); i++, done++)
        {
            reply = await redis.CallAsync("CONFIG", "SET", "slowlog-max-len", "77");
        }

        Assert.Matches("^-BUSY a limit of requests or bytes is reached, retry after [0-9]+ ms$", reply);
        Assert.True(done >= 5, $"{done} were done");
        Assert.Contains("outcome=rate-limited", server.Log.Audit[^1]);

        // Keys have limits of their own, and it is one budget for all doors.
        for (int i = 0; i < 50; i++)
        {
            Assert.Equal("+OK", await redis.CallAsync("SET", "k", "v"));
        }

        reply = "";
        for (int i = 0; i < 200 && !reply.StartsWith("-BUSY", StringComparison.Ordinal); i++)
        {
            reply = await redis.CallAsync("FLUSHALL");
        }

        Assert.StartsWith("-BUSY", reply);
        Assert.Equal("+PONG", await redis.CallAsync("PING"));
    }

    [Fact]
    public async Task TheyCostNothingOfWhatKeysMayHave()
    {
        await using SecuredServer server = await StartAsync(static options => options with { DataLimits = new PlaneLimits { UserRequests = 20, UserBytes = 4_000 } });
        await using RespSocket redis = await server.RedisAsync("admin", AdminPassword);
        for (int i = 0; i < 200; i++)
        {
            Assert.StartsWith("[", await redis.CallAsync("CONFIG", "GET", "*"));
        }

        Assert.Equal("nil", await redis.CallAsync("GET", "k"));
    }

    private static string Shortened(string line) =>
        System.Text.RegularExpressions.Regex.Replace(line, "^audit | address=[^ ]*| ms=.*$", "");
}
