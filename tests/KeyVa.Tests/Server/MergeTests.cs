using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using Xunit;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Tests.Server;

/// <summary>Merges over REST and gRPC.</summary>
public sealed class MergeTests(ServerFixture server) : IClassFixture<ServerFixture>
{
    [Fact]
    public async Task APatchMergesTheBodyAndAnswersWithTheValue()
    {
        using HttpResponseMessage first = await PatchAsync("/kv/rest%2Fn?function=increment", "5");
        Assert.Equal((HttpStatusCode.OK, "5", "application/octet-stream"), (first.StatusCode, await first.Content.ReadAsStringAsync(), first.Content.Headers.ContentType!.MediaType));
        using HttpResponseMessage second = await PatchAsync("/kv/rest%2Fn?function=increment&ttl=10s", "-7");
        Assert.Equal("-2", await second.Content.ReadAsStringAsync());
        (long version, long expires) = Stamps("rest/n"u8);
        Assert.Equal(($"\"{version}\"", server.Time.UnixMilliseconds + 10_000), (second.Headers.ETag!.Tag, expires));
        using HttpResponseMessage binary = await PatchAsync("/kv/_wA?encoding=base64url&function=append", "x");
        Assert.Equal("x", await binary.Content.ReadAsStringAsync());
        using HttpResponseMessage merge = await PatchAsync("/kv/a:merge?function=json-merge-patch", """{"a":[1]}""");
        Assert.Equal("""{"a":[1]}""", await merge.Content.ReadAsStringAsync());
        using HttpResponseMessage patch = await server.SendAsync(
            "PATCH", "/kv/a:merge", new ByteArrayContent("""{"b":2}"""u8.ToArray()) { Headers = { ContentType = new MediaTypeHeaderValue("application/merge-patch+json") } });
        Assert.Equal("""{"a":[1],"b":2}""", await patch.Content.ReadAsStringAsync());
    }

    [Fact]
    public async Task APatchIsRefusedAsItShouldBe()
    {
        await server.PutAsync("/kv/refused", "text");
        JsonElement problem = await ServerFixture.ProblemAsync(await PatchAsync("/kv/refused?function=increment", "1"), 422, "merge-refused");
        Assert.Contains("'text'", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        problem = await ServerFixture.ProblemAsync(await PatchAsync("/kv/refused", "1"), 400, "invalid");
        Assert.Contains("?function=", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        problem = await ServerFixture.ProblemAsync(await PatchAsync("/kv/refused?function=nothing", "1"), 400, "invalid");
        Assert.Contains("'nothing' is not known; known are: increment,", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        await ServerFixture.ProblemAsync(await PatchAsync("/kv/refused?function=append&function-version=2", "1"), 400, "invalid");
        await ServerFixture.ProblemAsync(await PatchAsync("/kv/refused?function=append&function-version=x", "1"), 400, "invalid");
        await ServerFixture.ProblemAsync(await PatchAsync("/kv/refused?function=append", "1", headers => headers.IfNoneMatch.Add(EntityTagHeaderValue.Any)), 412, "condition-failed");
        await ServerFixture.ProblemAsync(await PatchAsync("/kv/refused?function=append", new string('x', (1 << 20) + 1)), 413, "too-large");
        await ServerFixture.ProblemAsync(await PatchAsync("/kv/refused?function=append", new string('x', 1 << 20)), 413, "too-large");
        Assert.Equal("text", await server.GetTextAsync("/kv/refused"));
        using HttpResponseMessage done = await PatchAsync("/kv/refused?function=append&function-version=1", "!");
        Assert.Equal("text!", await done.Content.ReadAsStringAsync());
    }

    [Fact]
    public async Task AJsonBatchMerges()
    {
        await server.PutAsync("/kv/jb-old", "1");
        JsonElement done = await BatchAsync("""
            {"operations": [
              {"op": "merge", "key": "jb-n", "function": "increment", "operand": "2", "ttl": "1m"},
              {"op": "put", "key": "jb-a", "value": "1"},
              {"op": "remove", "key": "jb-old"},
              {"op": "merge", "key": "jb-bytes", "function": "append", "functionVersion": 1, "operand64": "/wA=", "ifAbsent": true}]}
            """);
        Assert.Equal("[true]", done.GetProperty("removed").GetRawText());
        Assert.Equal("""[{"value":"2"},{"value64":"/wA="}]""", done.GetProperty("merged").GetRawText());
        JsonElement problem = await ServerFixture.ProblemAsync(
            await server.SendAsync("POST", "/kv:batch", ServerFixture.Json("""
                {"operations": [{"op": "put", "key": "jb-new", "value": "x"}, {"op": "merge", "key": "jb-bytes", "function": "max", "operand": "1"}]}
                """)),
            422, "merge-refused");
        Assert.Equal(1, problem.GetProperty("operation").GetInt32());
        Assert.False(server.Store.Get("jb-new"u8).Found);
    }

    [Theory]
    [InlineData("""{"op": "merge", "key": "k", "operand": "1"}""", "operations[0] has no function")]
    [InlineData("""{"op": "merge", "key": "k", "function": "append"}""", "operations[0] has neither operand nor operand64")]
    [InlineData("""{"op": "merge", "function": "append", "operand": "1"}""", "operations[0] has neither key nor key64")]
    [InlineData("""{"op": "merge", "key": "k", "function": "none", "operand": "1"}""", "'none' is not known")]
    [InlineData("""{"op": "merge", "key": "k", "function": "append", "functionVersion": 9, "operand": "1"}""", "'append' version 9 is not known")]
    [InlineData("""{"op": "merge", "key": "k", "function": "append", "functionVersion": 0, "operand": "1"}""", "operations[0].functionVersion must be")]
    [InlineData("""{"op": "merge", "key": "k", "function": 1, "operand": "1"}""", "operations[0].function must be")]
    [InlineData("""{"op": "merge", "key": "k", "function": "append", "operand": "1", "value": "2"}""", "takes no value")]
    [InlineData("""{"op": "put", "key": "k", "value": "1", "operand": "2"}""", "go with \"op\": \"merge\"")]
    [InlineData("""{"op": "removeRange", "prefix": "k", "function": "append"}""", "operations[0] removes a range")]
    public async Task AMalformedMergeIsRefusedByItsPlace(string operation, string because)
    {
        JsonElement problem = await ServerFixture.ProblemAsync(
            await server.SendAsync("POST", "/kv:batch", ServerFixture.Json($"{{\"operations\": [{operation}]}}")), 400, "invalid");
        Assert.Contains(because, problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ABatchOfMessagesMerges()
    {
        WriteRequest request = new()
        {
            Operations =
            {
                Merge("g-n", "increment", "7"),
                new Wire.Operation { Put = new Put { Key = Utf8("g-a"), Value = Utf8("1") } },
                Merge("g-set", "set-union", "[1]"),
            },
        };
        request.Operations[0].Merge.TtlMs = 5000;
        WriteResponse done = (await server.Data.CallAsync(Methods.Write, request)).GetMessage();
        Assert.Equal(["7", "[1]"], done.Merged.Select(static value => value.ToStringUtf8()));
        Assert.Empty(done.Removed);
        Assert.Equal((done.Version, server.Time.UnixMilliseconds + 5000), Stamps("g-n"u8));
    }

    [Fact]
    public async Task ARefusedMessageNamesTheOperationInItsTrailers()
    {
        await server.PutAsync("/kv/g-text", "text");
        GrpcReply<WriteResponse> refused = await server.Data.CallAsync(
            Methods.Write, new WriteRequest { Operations = { Merge("g-ok", "increment", "1"), Merge("g-text", "increment", "1") } });
        Assert.Equal((GrpcStatusCode.FailedPrecondition, "merge-refused", "1"), (refused.Status.Code, refused.Trailers.Get("keyva-status"), refused.Trailers.Get("keyva-failed-operation")));
        Assert.False(server.Store.Get("g-ok"u8).Found);
        foreach (Wire.Operation wrong in new[] { Merge("k", "none", ""), Merge("k", "append", "", -1), Merge("k", "append", "", 2), WithExpiry(Merge("k", "append", ""), -1) })
        {
            refused = await server.Data.CallAsync(Methods.Write, new WriteRequest { Operations = { wrong } });
            Assert.Equal((GrpcStatusCode.InvalidArgument, "invalid"), (refused.Status.Code, refused.Trailers.Get("keyva-status")));
        }
    }

    private (long Version, long Expires) Stamps(ReadOnlySpan<byte> key)
    {
        using ValueLease lease = server.Store.Get(key);
        return (lease.Version, lease.ExpiresAtUnixMilliseconds);
    }

    private static Wire.Operation Merge(string key, string function, string operand, int version = 0) =>
        new() { Merge = new Wire.Merge { Key = Utf8(key), Function = function, FunctionVersion = version, Operand = Utf8(operand) } };

    private static Wire.Operation WithExpiry(Wire.Operation operation, long ttl)
    {
        operation.Merge.TtlMs = ttl;
        return operation;
    }

    private static ByteString Utf8(string text) => ByteString.CopyFromUtf8(text);

    private Task<HttpResponseMessage> PatchAsync(string target, string body, Action<HttpRequestHeaders>? headers = null) =>
        server.SendAsync("PATCH", target, new ByteArrayContent(ServerFixture.Bytes(body)), headers);

    private async Task<JsonElement> BatchAsync(string json)
    {
        using HttpResponseMessage response = await server.SendAsync("POST", "/kv:batch", ServerFixture.Json(json));
        string text = await response.Content.ReadAsStringAsync();
        Assert.True(response.StatusCode == HttpStatusCode.OK, text);
        return JsonDocument.Parse(text).RootElement;
    }
}
