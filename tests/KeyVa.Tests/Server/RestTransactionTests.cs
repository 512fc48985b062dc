using System.Net;
using System.Text.Json;
using Google.Protobuf;
using KeyVa.Protocol.V1;
using Xunit;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Tests.Server;

public sealed class RestTransactionTests(ServerFixture server) : IClassFixture<ServerFixture>
{
    [Fact]
    public async Task ATransactionOfSeveralRequests()
    {
        await server.PutAsync("/kv/t1-a", "old");
        await server.PutAsync("/kv/t1-b", "old");
        string txn = await BeginAsync("""{"name": "t1", "timeLimit": "30s", "isolation": "repeatable-read"}""");
        JsonElement written = await OkAsync(Post(txn + "/write", """
            {"operations": [{"op": "put", "key": "t1-a", "value": "new"}, {"op": "remove", "key": "t1-none"}, {"op": "check", "key": "t1-b", "ifPresent": true},
                            {"op": "put", "key": "t1-c", "value": "1"}, {"op": "put", "key": "t1-c", "value": "2"}]}
            """));
        Assert.Equal("""{"version":0,"removed":[false]}""", written.GetRawText());
        Assert.Equal("""{"savepoint":1}""", (await OkAsync(Post(txn + "/savepoint", null))).GetRawText());
        await OkAsync(Post(txn + "/write", """{"operations": [{"op": "removeRange", "prefix": "t1-"}]}"""));
        JsonElement list = await OkAsync(server.SendAsync("GET", txn + "/scan?prefix=t1-"));
        Assert.Equal(0, list.GetProperty("records").GetArrayLength());
        Assert.Equal(HttpStatusCode.NoContent, (await Post(txn + "/rollback-to", """{"savepoint": 1}""")).StatusCode);
        list = await OkAsync(server.SendAsync("GET", txn + "/scan?prefix=t1-&limit=2"));
        Assert.Equal(["t1-a=new", "t1-b=old"], Records(list));
        list = await OkAsync(server.SendAsync("GET", txn + "/scan?prefix=t1-&limit=2&after=" + list.GetProperty("resume").GetString()));
        Assert.Equal(["t1-c=2"], Records(list));
        Assert.False(list.TryGetProperty("resume", out _));
        list = await OkAsync(Post(txn + "/get", """{"keys": ["t1-c", {"key64": "dDEtbm9uZQ=="}], "forUpdate": true}"""));
        Assert.Equal([true, false], list.GetProperty("records").EnumerateArray().Select(one => one.GetProperty("found").GetBoolean()));
        JsonElement state = await OkAsync(server.SendAsync("GET", txn));
        Assert.Equal(("active", "repeatable-read", "optimistic", "t1", 30), (
            state.GetProperty("state").GetString(), state.GetProperty("isolation").GetString(), state.GetProperty("concurrency").GetString(),
            state.GetProperty("name").GetString(), state.GetProperty("timeLimit").GetInt32()));
        Assert.Equal("old", await server.GetTextAsync("/kv/t1-a"));
        long version = (await OkAsync(Post(txn + "/commit", null))).GetProperty("version").GetInt64();
        Assert.True(version > 0);
        Assert.Equal("new", await server.GetTextAsync("/kv/t1-a"));
        foreach ((string method, string path) in new[] { ("GET", ""), ("DELETE", ""), ("POST", "/commit"), ("POST", "/get") })
        {
            JsonElement gone = await ServerFixture.ProblemAsync(await server.SendAsync(method, txn + path), 404, "not-found");
            Assert.Equal("There is no such transaction", gone.GetProperty("title").GetString());
        }
    }

    [Fact]
    public async Task ARollBackLeavesNothing()
    {
        string txn = await BeginAsync("");
        await OkAsync(Post(txn + "/write", """{"operations": [{"op": "put", "key": "t2", "value": "x"}]}"""));
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync("DELETE", txn)).StatusCode);
        await ServerFixture.ProblemAsync(await server.SendAsync("GET", "/kv/t2"), 404, "not-found");
    }

    [Fact]
    public async Task AConflictIsAProblemWithItsKey()
    {
        string txn = await BeginAsync("{}");
        await OkAsync(Post(txn + "/get", """{"keys": [{"key64": "dDMA/w=="}]}"""));
        await OkAsync(Post(txn + "/write", """{"operations": [{"op": "put", "key": "t3-x", "value": "x"}]}"""));
        Assert.True(server.Store.Upsert([(byte)'t', (byte)'3', 0, 255], "x"u8).IsOk);
        JsonElement conflict = await ServerFixture.ProblemAsync(await Post(txn + "/commit", null), 409, "conflict");
        Assert.Equal("dDMA/w==", conflict.GetProperty("conflictKey64").GetString());
        await ServerFixture.ProblemAsync(await server.SendAsync("GET", txn), 404, "not-found");
    }

    [Fact]
    public async Task ATransactionLeftAloneEndsAtItsLimitAndItsLocksAreFree()
    {
        // The write comes in time on a machine that is busy with others, too; who waits for the lock waits for five seconds.
        string txn = await BeginAsync("""{"concurrency": "pessimistic", "timeLimit": "3s"}""");
        await OkAsync(Post(txn + "/write", """{"operations": [{"op": "put", "key": "t4", "value": "never"}]}"""));

        // Waits until the lock is free, which nobody but the time limit sees to.
        Assert.Equal(HttpStatusCode.NoContent, (await server.PutAsync("/kv/t4", "mine")).StatusCode);
        await ServerFixture.ProblemAsync(await Post(txn + "/get", """{"keys": ["t4"]}"""), 410, "expired");
        Assert.Equal("expired", (await OkAsync(server.SendAsync("GET", txn))).GetProperty("state").GetString());
        await ServerFixture.ProblemAsync(await Post(txn + "/savepoint", null), 410, "expired");
        await ServerFixture.ProblemAsync(await Post(txn + "/commit", null), 410, "expired");
        Assert.Equal("mine", await server.GetTextAsync("/kv/t4"));
    }

    [Fact]
    public async Task ALockThatIsNotToBeHadIsTriedAgainLater()
    {
        string first = await BeginAsync("""{"concurrency": "pessimistic"}""");
        string second = await BeginAsync("""{"concurrency": "pessimistic", "lockTimeout": "1ms"}""");
        await OkAsync(Post(first + "/get", """{"keys": ["t5"], "forUpdate": true}"""));
        using HttpResponseMessage late = await Post(second + "/write", """{"operations": [{"op": "put", "key": "t5", "value": "2"}]}""");
        await ServerFixture.ProblemAsync(late, 503, "lock-timeout");
        Assert.NotNull(late.Headers.RetryAfter);
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync("DELETE", first)).StatusCode);
        await OkAsync(Post(second + "/write", """{"operations": [{"op": "put", "key": "t5", "value": "2"}]}"""));
        await OkAsync(Post(second + "/commit", null));
        Assert.Equal("2", await server.GetTextAsync("/kv/t5"));
    }

    [Fact]
    public async Task AWholeTransactionInOneRequest()
    {
        const string Body = """
            {"conditions": [{"key": "t6-a", "ifAbsent": true}, {"key": "t6-b", "ifAbsent": true}],
             "then": [{"op": "put", "key": "t6-a", "value": "1"}, {"op": "get", "key": "t6-a"}, {"op": "check", "key": "t6-c", "ifAbsent": true}],
             "otherwise": [{"op": "get", "key": "t6-a"}, {"op": "remove", "key": "t6-a"}, {"op": "get", "key": "t6-a"}]}
            """;
        JsonElement first = await OkAsync(Post("/txn:transact", Body));
        Assert.True(first.GetProperty("succeeded").GetBoolean());
        Assert.Equal(["t6-a=1"], Records(first));
        JsonElement second = await OkAsync(Post("/txn:transact", Body));
        Assert.False(second.GetProperty("succeeded").GetBoolean());
        Assert.True(second.GetProperty("version").GetInt64() > first.GetProperty("version").GetInt64());
        Assert.Equal([true, false], second.GetProperty("records").EnumerateArray().Select(one => one.GetProperty("found").GetBoolean()));
        JsonElement refused = await ServerFixture.ProblemAsync(
            await Post("/txn:transact", """{"then": [{"op": "get", "key": "x"}, {"op": "put", "key": "t6-d", "value": "1", "ifPresent": true}]}"""), 412, "condition-failed");
        Assert.Equal(1, refused.GetProperty("operation").GetInt32());
        TransactRequest request = new() { Then = { new Step { Write = new Wire.Operation { Put = new Put { Key = ByteString.CopyFromUtf8("t6-p") } } } } };
        using HttpResponseMessage proto = await server.SendAsync(
            "POST", "/txn:transact", ServerFixture.Proto(request.ToByteArray()), headers => headers.Accept.ParseAdd("application/x-protobuf"));
        Assert.True(TransactResponse.Parser.ParseFrom(await proto.Content.ReadAsByteArrayAsync()).Succeeded);
    }

    [Fact]
    public async Task MergesGoWithTransactions()
    {
        await server.PutAsync("/kv/t8-n", "1");
        await server.PutAsync("/kv/t8-t", "words");
        string txn = await BeginAsync("{}");
        JsonElement written = await OkAsync(Post(txn + "/write", """
            {"operations": [{"op": "merge", "key": "t8-n", "function": "increment", "operand": "2"}, {"op": "merge", "key": "t8-n", "function": "append", "operand": "0"}]}
            """));
        Assert.Equal("""{"version":0,"removed":[]}""", written.GetRawText());
        JsonElement list = await OkAsync(server.SendAsync("GET", txn + "/scan?prefix=t8-"));
        Assert.Equal(["t8-n=30", "t8-t=words"], Records(list));
        await OkAsync(Post(txn + "/commit", null));
        Assert.Equal("30", await server.GetTextAsync("/kv/t8-n"));
        txn = await BeginAsync("{}");
        await OkAsync(Post(txn + "/write", """{"operations": [{"op": "merge", "key": "t8-t", "function": "increment", "operand": "2"}]}"""));
        JsonElement refused = await ServerFixture.ProblemAsync(await Post(txn + "/get", """{"keys": ["t8-t"]}"""), 422, "merge-refused");
        Assert.StartsWith("increment: ", refused.GetProperty("detail").GetString(), StringComparison.Ordinal);
        await ServerFixture.ProblemAsync(await server.SendAsync("GET", txn + "/scan?prefix=t8-t"), 422, "merge-refused");
        await ServerFixture.ProblemAsync(await Post(txn + "/commit", null), 422, "merge-refused");
        list = await OkAsync(Post("/txn:transact", """
            {"then": [{"op": "merge", "key": "t8-n", "function": "min", "operand": "7"}, {"op": "get", "key": "t8-n"}]}
            """));
        Assert.Equal(["t8-n=7"], Records(list));
    }

    [Fact]
    public async Task ABatchChecksKeysThatItDoesNotWrite()
    {
        await server.PutAsync("/kv/t7", "1");
        await OkAsync(Post("/kv:batch", """{"operations": [{"op": "check", "key": "t7", "ifValue": "1"}, {"op": "put", "key": "t7-b", "value": "1"}]}"""));
        JsonElement refused = await ServerFixture.ProblemAsync(
            await Post("/kv:batch", """{"operations": [{"op": "put", "key": "t7-b", "value": "2"}, {"op": "check", "key": "t7", "ifAbsent": true}]}"""), 412, "condition-failed");
        Assert.Equal(1, refused.GetProperty("operation").GetInt32());
        Assert.Equal("1", await server.GetTextAsync("/kv/t7-b"));
    }

    [Theory]
    [InlineData("/txn", """{"isolation": "chaos"}""")]
    [InlineData("/txn", """{"isolation": "serializable", "isolation": "serializable"}""")]
    [InlineData("/txn", """{"timeLimit": "2d"}""")]
    [InlineData("/txn", """{"timeLimit": -1}""")]
    [InlineData("/txn", """{"readOnly": 1}""")]
    [InlineData("/txn", """{"other": 1}""")]
    [InlineData("/txn", "[]")]
    [InlineData("/txn", "{} x")]
    [InlineData("/txn:transact", """{"conditions": [{"key": "a"}]}""")]
    [InlineData("/txn:transact", """{"conditions": [{"op": "put", "key": "a", "ifAbsent": true}]}""")]
    [InlineData("/txn:transact", """{"then": [{"op": "get"}]}""")]
    [InlineData("/txn:transact", """{"then": [{"op": "get", "key": "a", "value": "b"}]}""")]
    [InlineData("/txn:transact", """{"then": {"op": "get", "key": "a"}}""")]
    [InlineData("/txn:transact", """{"else": []}""")]
    [InlineData("/kv:batch", """{"operations": [{"op": "check", "key": "a"}]}""")]
    [InlineData("/kv:batch", """{"operations": [{"op": "get", "key": "a"}]}""")]
    public async Task WhatCannotBeReadIsInvalid(string path, string body) =>
        await ServerFixture.ProblemAsync(await Post(path, body), 400, "invalid");

    [Theory]
    [InlineData("/get", "{}")]
    [InlineData("/get", """{"keys": "a"}""")]
    [InlineData("/get", """{"keys": [], "forupdate": true}""")]
    [InlineData("/rollback-to", "{}")]
    [InlineData("/rollback-to", """{"savepoint": -1}""")]
    [InlineData("/rollback-to", """{"savepoint": 3}""")]
    [InlineData("/write", """{"operations": [{"op": "put", "key": ""}]}""")]
    public async Task WhatCannotBeReadIsInvalidInATransaction(string path, string body)
    {
        string txn = await BeginAsync("{}");
        await ServerFixture.ProblemAsync(await Post(txn + path, body), 400, "invalid");
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync("DELETE", txn)).StatusCode);
    }

    [Fact]
    public async Task MetricsCountTransactions()
    {
        string txn = await BeginAsync("{}");
        string text = await server.GetTextAsync("/metrics");
        foreach (string name in new[] { "keyva_transactions_live", "keyva_transaction_commits_total", "keyva_transaction_conflicts_total", "keyva_transaction_deadlocks_total", "keyva_locks_held", "keyva_locks_waited_for", "keyva_lock_waits_total", "keyva_lock_timeouts_total" })
        {
            Assert.Contains($"\n{name} ", text, StringComparison.Ordinal);
        }

        Assert.DoesNotContain("\nkeyva_transactions_live 0\n", text, StringComparison.Ordinal);
        await server.SendAsync("DELETE", txn);
    }

    [Fact]
    public async Task AnotherMediaTypeIsRefused() =>
        await ServerFixture.ProblemAsync(await server.SendAsync("POST", "/txn", ServerFixture.Proto([])), 415, "invalid");

    private static IEnumerable<string> Records(JsonElement list) =>
        list.GetProperty("records").EnumerateArray().Select(one => $"{one.GetProperty("key").GetString()}={one.GetProperty("value").GetString()}");

    private Task<HttpResponseMessage> Post(string path, string? body) => server.SendAsync("POST", path, body is null ? null : ServerFixture.Json(body));

    private async Task<string> BeginAsync(string body)
    {
        using HttpResponseMessage response = await Post("/txn", body);
        string text = await response.Content.ReadAsStringAsync();
        Assert.True(response.StatusCode == HttpStatusCode.Created, text);
        string id = JsonDocument.Parse(text).RootElement.GetProperty("id").GetString()!;
        Assert.Equal("/txn/" + id, response.Headers.Location!.OriginalString);
        return "/txn/" + id;
    }

    private static async Task<JsonElement> OkAsync(Task<HttpResponseMessage> sent)
    {
        using HttpResponseMessage response = await sent;
        string text = await response.Content.ReadAsStringAsync();
        Assert.True(response.StatusCode == HttpStatusCode.OK, text);
        return JsonDocument.Parse(text).RootElement;
    }
}
