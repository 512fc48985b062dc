using System.Net;
using System.Text;
using System.Text.Json;
using Google.Protobuf;
using KeyVa.Protocol.V1;
using KeyVa.Server;
using Xunit;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Tests.Server;

public sealed class RestBatchTests(ServerFixture server) : IClassFixture<ServerFixture>
{
    [Fact]
    public async Task AJsonBatchHappensAsAWhole()
    {
        await server.PutAsync("/kv/j-old", "old");
        JsonElement done = await PostAsync("/kv:batch", """
            {"operations": [
              {"op": "put", "key": "j-a", "value": "grüß \u0000 dich"},
              {"op": "put", "key64": "ai3/", "value64": "/wA=", "ttl": "10m", "ifAbsent": true},
              {"op": "put", "key": "j-b", "value": "", "expires": "2100-01-01T00:00:00Z"},
              {"op": "remove", "key": "j-old", "ifPresent": true},
              {"op": "remove", "key": "j-none"}]}
            """);
        Assert.Equal("[true,false]", done.GetProperty("removed").GetRawText());
        Assert.Equal("grüß \0 dich", await server.GetTextAsync("/kv/j-a"));
        using ValueLease binary = server.Store.Get([(byte)'j', (byte)'-', 0xFF]);
        Assert.Equal([0xFF, 0], binary.Value.ToArray());
        Assert.Equal(server.Time.UnixMilliseconds + 600_000, binary.ExpiresAtUnixMilliseconds);
        Assert.Equal(done.GetProperty("version").GetInt64(), binary.Version);
        using ValueLease moment = server.Store.Get("j-b"u8);
        Assert.Equal(4_102_444_800_000, moment.ExpiresAtUnixMilliseconds);
        Assert.False(server.Store.Get("j-old"u8).Found);
    }

    [Fact]
    public async Task ABatchRemovesRanges()
    {
        await server.PutAsync("/kv/r-a", "1");
        await server.PutAsync("/kv/r-b", "1");
        JsonElement done = await PostAsync("/kv:batch", """
            {"operations": [
              {"op": "put", "key": "r-a", "value": "new"},
              {"op": "remove", "key": "r-b"},
              {"op": "removeRange", "prefix": "r-"},
              {"op": "removeRange", "from64": "ci14", "to": "r-y"}]}
            """);
        Assert.Equal("[true]", done.GetProperty("removed").GetRawText());
        Assert.Equal("new", await server.GetTextAsync("/kv/r-a"));
        Assert.False(server.Store.Get("r-b"u8).Found);
    }

    [Fact]
    public async Task AFailedConditionLeavesNothing()
    {
        await server.PutAsync("/kv/c-here", "1");
        JsonElement problem = await ServerFixture.ProblemAsync(
            await SendAsync("/kv:batch", """
                {"operations": [{"op": "put", "key": "c-new", "value": "x"}, {"op": "put", "key": "c-here", "value": "x", "ifValue": "2"}]}
                """),
            412, "condition-failed");
        Assert.Equal(1, problem.GetProperty("operation").GetInt32());
        Assert.True(problem.GetProperty("currentVersion").GetInt64() > 0);
        Assert.False(server.Store.Get("c-new"u8).Found);
        await PostAsync("/kv:batch", """{"operations": [{"op": "put", "key": "c-here", "value": "2", "ifValue64": "MQ=="}]}""");
        Assert.Equal("2", await server.GetTextAsync("/kv/c-here"));
    }

    [Theory]
    [InlineData("", "JSON")]
    [InlineData("[]", "operations")]
    [InlineData("{}", "operations")]
    [InlineData("{\"operations\": {}}", "operations")]
    [InlineData("{\"operations\": []}", "at least one")]
    [InlineData("{\"operations\": [1]}", "operations[0]")]
    [InlineData("{\"operations\": [{\"op\": \"removeRange\"}]}", "operations[0] has no bounds")]
    [InlineData("{\"operations\": [{\"op\": \"removeRange\", \"all\": true, \"to\": \"b\"}]}", "not both")]
    [InlineData("{\"operations\": [{\"op\": \"removeRange\", \"prefix\": \"a\", \"key\": \"b\"}]}", "operations[0] removes a range")]
    [InlineData("{\"operations\": [{\"op\": \"remove\", \"prefix\": \"a\", \"key\": \"b\"}]}", "operations[0] is about one key")]
    [InlineData("{\"operations\": [{\"op\": \"removeRange\", \"from\": \"b\", \"to\": \"b\"}]}", "ends where or before it begins")]
    [InlineData("{\"operations\": [{}]}", "operations[0]")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": \"x\"}, {\"op\": \"put\", \"key\": \"n\"}]}", "operations[1]")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": \"x\", \"color\": 1}]}", "operations[0].color")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"key64\": \"AA==\", \"value\": \"x\"}]}", "operations[0].key64")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": 1, \"value\": \"x\"}]}", "operations[0].key")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value64\": \"*\"}]}", "operations[0].value64")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"\\ud800\", \"value\": \"x\"}]}", "operations[0].key")]
    [InlineData("{\"operations\": [{\"\\ud800\": 1}]}", "Unicode")]
    [InlineData("{\"\\ud800operations\": []}", "Unicode")]
    [InlineData("{\"operations\": [{\"op\": \"\\ud800\"}]}", "Unicode")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": \"x\", \"expires\": \"2030-01-01T\\ud83d\"}]}", "Unicode")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": \"x\", \"ttl\": \"\\ud800\"}]}", "Unicode")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key64\": \"\\ud800\"}]}", "Unicode")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": \"x\", \"ttl\": 0}]}", "operations[0].ttl")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": \"x\", \"ttl\": 1, \"expires\": \"2100-01-01\"}]}", "operations[0].expires")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": \"x\", \"expires\": \"soon\"}]}", "operations[0].expires")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": \"x\", \"ifAbsent\": false}]}", "operations[0].ifAbsent")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": \"x\", \"ifVersion\": \"1\"}]}", "operations[0].ifVersion")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": \"x\", \"ifAbsent\": true, \"ifVersion\": 1}]}", "operations[0].ifVersion")]
    [InlineData("{\"operations\": [{\"op\": \"remove\", \"key\": \"m\", \"value\": \"x\"}]}", "operations[0]")]
    [InlineData("{\"operations\": [{\"op\": \"append\", \"key\": \"m\", \"value\": \"x\"}]}", "operations[0].op")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"\", \"value\": \"x\"}]}", "key")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": \"x\"}, {\"op\": \"remove\", \"key\": \"m\"}]}", "already")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": \"x\"}", "")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": \"x\"}], \"more\": 1}", "one array")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": \"x\"}]} {}", "")]
    [InlineData("{\"operations\": [{\"op\": \"put\", \"key\": \"m\", \"value\": [[[[[[[[[[1]]]]]]]]]]}]}", "")]
    public async Task AMalformedJsonBatchNamesThePlaceAndLeavesNothing(string body, string expected)
    {
        JsonElement problem = await ServerFixture.ProblemAsync(await SendAsync("/kv:batch", body), 400, "invalid");
        Assert.Contains(expected, problem.GetProperty("detail").GetString());
        Assert.False(server.Store.Get("m"u8).Found);
        Assert.False(server.Store.Get("n"u8).Found);
    }

    [Fact]
    public async Task InvalidUtf8InJsonIsRefused()
    {
        byte[] body = [.. "{\"operations\": [{\"op\": \"put\", \"key\": \""u8, 0xC3, 0x28, .. "\", \"value\": \"x\"}]}"u8];
        ByteArrayContent content = new(body);
        content.Headers.ContentType = new("application/json");
        await ServerFixture.ProblemAsync(await server.SendAsync("POST", "/kv:batch", content), 400, "invalid");
    }

    [Fact]
    public async Task JsonAndProtobufMeanTheSame()
    {
        WriteRequest request = new()
        {
            Operations =
            {
                new Wire.Operation { Put = new Put { Key = ByteString.CopyFromUtf8("p-a"), Value = ByteString.CopyFrom(0, 255), TtlMs = 1000 } },
                new Wire.Operation { Put = new Put { Key = ByteString.CopyFromUtf8("p-b"), Condition = new Wire.Condition { IfAbsent = true } } },
                new Wire.Operation { Remove = new Removal { Key = ByteString.CopyFromUtf8("p-none") } },
            },
        };
        using HttpResponseMessage json = await server.SendAsync("POST", "/kv:batch", ServerFixture.Proto(request.ToByteArray()));
        Assert.Equal("application/json", json.Content.Headers.ContentType!.MediaType);
        JsonElement done = JsonDocument.Parse(await json.Content.ReadAsStringAsync()).RootElement;
        Assert.Equal("[false]", done.GetProperty("removed").GetRawText());
        request.Operations[1].Put.Condition = new Wire.Condition { IfVersion = done.GetProperty("version").GetInt64() };
        WriteResponse again = WriteResponse.Parser.ParseFrom(await PostProtoAsync("/kv:batch", request));
        Assert.True(again.Version > done.GetProperty("version").GetInt64());
        Assert.Equal([false], again.Removed);

        GetRequest get = new() { Keys = { ByteString.CopyFromUtf8("p-a"), ByteString.CopyFromUtf8("p-none"), ByteString.CopyFromUtf8("p-b") } };
        GetResponse proto = GetResponse.Parser.ParseFrom(await PostProtoAsync("/kv:get", get));
        JsonElement records = (await PostAsync("/kv:get", """{"keys": ["p-a", {"key64": "cC1ub25l"}, {"key": "p-b"}]}""")).GetProperty("records");
        for (int i = 0; i < 3; i++)
        {
            JsonElement one = records[i];
            Wire.Record other = proto.Records[i];
            Assert.Equal(other.Key.ToStringUtf8(), one.GetProperty("key").GetString());
            Assert.Equal(other.Found, one.GetProperty("found").GetBoolean());
            if (other.Found)
            {
                Assert.Equal(other.Version, one.GetProperty("version").GetInt64());
                Assert.Equal(other.ModifiedUnixMs, one.GetProperty("modified").GetDateTimeOffset().ToUnixTimeMilliseconds());
                Assert.Equal(other.ExpiresAtUnixMs, one.TryGetProperty("expires", out JsonElement at) ? at.GetDateTimeOffset().ToUnixTimeMilliseconds() : 0);
                byte[] value = one.TryGetProperty("value", out JsonElement text)
                    ? Encoding.UTF8.GetBytes(text.GetString()!) : one.GetProperty("value64").GetBytesFromBase64();
                Assert.Equal(other.Value.ToByteArray(), value);
            }
        }

        Assert.Equal([true, false, true], proto.Records.Select(record => record.Found));
    }

    [Fact]
    public async Task MalformedProtobufIsRefused()
    {
        await ServerFixture.ProblemAsync(await server.SendAsync("POST", "/kv:batch", ServerFixture.Proto([0x0A, 0xFF])), 400, "invalid");
        await ServerFixture.ProblemAsync(await server.SendAsync("POST", "/kv:get", ServerFixture.Proto([0x07])), 400, "invalid");
        WriteRequest empty = new() { Operations = { new Wire.Operation() } };
        JsonElement problem = await ServerFixture.ProblemAsync(
            await server.SendAsync("POST", "/kv:batch", ServerFixture.Proto(empty.ToByteArray())), 400, "invalid");
        Assert.Contains("operations[0]", problem.GetProperty("detail").GetString());
        foreach (Put put in new[]
        {
            new Put { Key = ByteString.CopyFromUtf8("x"), TtlMs = -1 },
            new Put { Key = ByteString.CopyFromUtf8("x"), ExpiresAtUnixMs = 0 },
            new Put { Key = ByteString.CopyFromUtf8("x"), Condition = new Wire.Condition { IfPresent = false } },
        })
        {
            WriteRequest wrong = new() { Operations = { new Wire.Operation { Put = put } } };
            await ServerFixture.ProblemAsync(
                await server.SendAsync("POST", "/kv:batch", ServerFixture.Proto(wrong.ToByteArray())), 400, "invalid");
        }
    }

    [Fact]
    public async Task AnotherContentTypeIsRefused()
    {
        JsonElement problem = await ServerFixture.ProblemAsync(
            await server.SendAsync("POST", "/kv:batch", new StringContent("{\"operations\": []}")), 415, "invalid");
        Assert.Contains("application/x-protobuf", problem.GetProperty("detail").GetString());
    }

    [Fact]
    public async Task BatchesHaveLimits()
    {
        StringBuilder body = new("{\"operations\": [");
        for (int i = 0; i < 3; i++)
        {
            body.Append(i == 0 ? "" : ",").Append($$"""{"op": "put", "key": "l{{i}}", "value": "{{new string('x', 400_000)}}"}""");
        }

        JsonElement problem = await ServerFixture.ProblemAsync(await SendAsync("/kv:batch", body + "]}"), 413, "too-large");
        Assert.Contains("max-batch-bytes", problem.GetProperty("detail").GetString());
        Assert.False(server.Store.Get("l0"u8).Found);
        await ServerFixture.ProblemAsync(await SendAsync("/kv:batch", new string(' ', 9 << 20)), 413, "too-large");
        string keys = string.Join(',', Enumerable.Repeat("\"k\"", RestBatches.MaxGetKeys + 1));
        await ServerFixture.ProblemAsync(await SendAsync("/kv:get", $$"""{"keys": [{{keys}}]}"""), 413, "too-large");
    }

    [Theory]
    [InlineData("{\"keys\": [1]}", "keys[0]")]
    [InlineData("{\"keys\": [{\"\\ud800\": \"a\"}]}", "Unicode")]
    [InlineData("{\"keys\": [\"a\", {}]}", "keys[1]")]
    [InlineData("{\"keys\": [{\"key\": \"a\", \"key64\": \"AA==\"}]}", "keys[0]")]
    [InlineData("{\"keys\": \"a\"}", "keys")]
    [InlineData("{\"keys\": [\"\"]}", "key")]
    public async Task AMalformedGetIsRefused(string body, string expected)
    {
        JsonElement problem = await ServerFixture.ProblemAsync(await SendAsync("/kv:get", body), 400, "invalid");
        Assert.Contains(expected, problem.GetProperty("detail").GetString());
    }

    [Fact]
    public async Task ARemovalThatFindsNothingIsDone()
    {
        JsonElement done = await PostAsync("/kv:batch", """{"operations": [{"op": "remove", "key": "r-none"}]}""");
        Assert.Equal("[false]", done.GetProperty("removed").GetRawText());
    }

    private Task<HttpResponseMessage> SendAsync(string target, string json) => server.SendAsync("POST", target, ServerFixture.Json(json));

    private async Task<JsonElement> PostAsync(string target, string json)
    {
        using HttpResponseMessage response = await SendAsync(target, json);
        string text = await response.Content.ReadAsStringAsync();
        Assert.True(response.StatusCode == HttpStatusCode.OK, text);
        return JsonDocument.Parse(text).RootElement;
    }

    private async Task<byte[]> PostProtoAsync(string target, IMessage message)
    {
        using HttpResponseMessage response = await server.SendAsync(
            "POST", target, ServerFixture.Proto(message.ToByteArray()), headers => headers.Accept.ParseAdd("application/x-protobuf"));
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("application/x-protobuf", response.Content.Headers.ContentType!.MediaType);
        return await response.Content.ReadAsByteArrayAsync();
    }
}
