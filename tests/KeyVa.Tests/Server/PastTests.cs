using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using KeyVa.Server;
using Xunit;

namespace KeyVa.Tests.Server;

/// <summary>Versions over REST and gRPC, on a store of each test's own that keeps them for an hour.</summary>
public sealed class PastTests : IAsyncLifetime
{
    private ServerFixture _server = null!;

    public async Task InitializeAsync() =>
        _server = await ServerFixture.StartedAsync(new StoreOptions { RetainVersionsFor = TimeSpan.FromHours(1) });

    public Task DisposeAsync() => _server.DisposeAsync();

    [Fact]
    public async Task AValueIsReadAsItWas()
    {
        long start = _server.Time.UnixMilliseconds;
        await WriteAsync("/kv/a%2Fhistory", "1", "22");
        Assert.Equal("1", await _server.GetTextAsync("/kv/a/history?version=1"));
        Assert.Equal("22", await _server.GetTextAsync("/kv/a/history?version=2"));
        Assert.Equal("1", await _server.GetTextAsync("/kv/YS9oaXN0b3J5?encoding=base64url&version=1"));
        Assert.Equal("1", await _server.GetTextAsync("/kv/a%2Fhistory?time=" + IsoTime.Format(start)));
        Assert.Equal("1", await _server.GetTextAsync("/kv/a%2Fhistory?time=" + Uri.EscapeDataString(IsoTime.Format(start + 59_999))));
        Assert.Equal("22", await _server.GetTextAsync("/kv/a%2Fhistory?time=" + IsoTime.Format(start + 60_000)));
        Assert.Equal("22", await _server.GetTextAsync("/kv/a%2Fhistory?time=2100-01-01"));
        using HttpResponseMessage head = await _server.SendAsync("HEAD", "/kv/a%2Fhistory?version=1");
        Assert.Equal((HttpStatusCode.OK, "\"1\"", 1L), (head.StatusCode, head.Headers.ETag!.Tag, head.Content.Headers.ContentLength));
        Assert.Equal(IsoTime.Format(start), head.Headers.GetValues("KeyVa-Modified").Single());
        using HttpResponseMessage same = await _server.SendAsync("GET", "/kv/a/history?version=1", null, headers => headers.IfNoneMatch.Add(new EntityTagHeaderValue("\"1\"")));
        Assert.Equal(HttpStatusCode.NotModified, same.StatusCode);
        await ServerFixture.ProblemAsync(
            await _server.SendAsync("GET", "/kv/a/history?version=1", null, headers => headers.IfMatch.Add(new EntityTagHeaderValue("\"2\""))), 412, "condition-failed");
        await ServerFixture.ProblemAsync(await _server.SendAsync("GET", "/kv/none?version=1"), 404, "not-found");
        JsonElement list = await JsonAsync("GET", "/kv?version=1");
        Assert.Equal("1", list.GetProperty("records")[0].GetProperty("value").GetString());
        list = await JsonAsync("GET", "/kv?time=" + IsoTime.Format(start + 120_000));
        Assert.Equal("22", list.GetProperty("records")[0].GetProperty("value").GetString());
    }

    [Fact]
    public async Task SeveralKeysAreReadAsTheyWere()
    {
        long start = _server.Time.UnixMilliseconds;
        await WriteAsync("/kv/a", "1", "22");
        await WriteAsync("/kv/b", "x");
        async Task<string> Values(string target, HttpContent body)
        {
            using HttpResponseMessage response = await _server.SendAsync("POST", target, body);
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            JsonElement records = JsonDocument.Parse(await response.Content.ReadAsStringAsync()).RootElement.GetProperty("records");
            return string.Join(' ', records.EnumerateArray().Select(static one => one.TryGetProperty("value", out JsonElement value) ? value.GetString() : "-"));
        }

        const string Keys = """{"keys": ["a", "b"]}""";
        Assert.Equal("1 -", await Values("/kv:get?version=1", ServerFixture.Json(Keys)));
        Assert.Equal("22 -", await Values("/kv:get?version=2", ServerFixture.Json(Keys)));
        Assert.Equal("1 -", await Values("/kv:get?time=" + IsoTime.Format(start), ServerFixture.Json(Keys)));
        Assert.Equal("22 x", await Values("/kv:get?time=2100-01-01", ServerFixture.Json(Keys)));
        Assert.Equal("22 x", await Values("/kv:get", ServerFixture.Json(Keys)));
        GetRequest request = new() { Keys = { ByteString.CopyFromUtf8("b"), ByteString.CopyFromUtf8("a") }, AtVersion = 1 };
        Assert.Equal("- 1", await Values("/kv:get", ServerFixture.Proto(request.ToByteArray())));
        await ServerFixture.ProblemAsync(await _server.SendAsync("POST", "/kv:get?version=2", ServerFixture.Proto(request.ToByteArray())), 400, "invalid");
        await ServerFixture.ProblemAsync(await _server.SendAsync("POST", "/kv:get?version=2&time=2100-01-01", ServerFixture.Json(Keys)), 400, "invalid");
        await ServerFixture.ProblemAsync(await _server.SendAsync("POST", "/kv:get?at=2", ServerFixture.Json(Keys)), 400, "invalid");
        await ServerFixture.ProblemAsync(await _server.SendAsync("POST", "/kv:get?version=99", ServerFixture.Json(Keys)), 400, "invalid");
    }

    [Fact]
    public async Task AHistoryIsListedInPages()
    {
        await WriteAsync("/kv/k", "1", "22");
        using HttpResponseMessage removed = await _server.SendAsync("DELETE", "/kv/k");
        JsonElement history = await JsonAsync("GET", "/history/k?limit=2");
        Assert.Equal(("k", 3L), (history.GetProperty("key").GetString(), history.GetProperty("versions")[0].GetProperty("version").GetInt64()));
        Assert.True(history.GetProperty("versions")[0].GetProperty("removed").GetBoolean());
        Assert.Equal("22", history.GetProperty("versions")[1].GetProperty("value").GetString());
        Assert.Equal(2, history.GetProperty("before").GetInt64());
        history = await JsonAsync("GET", "/history/k?before=2&keys-only");
        Assert.Equal(1, history.GetProperty("versions").GetArrayLength());
        Assert.False(history.GetProperty("versions")[0].TryGetProperty("value", out _));
        Assert.False(history.TryGetProperty("before", out _));
        using HttpResponseMessage proto = await _server.SendAsync("GET", "/history/k", null, headers => headers.Accept.Add(new("application/x-protobuf")));
        Assert.Equal([3, 2, 1], HistoryResponse.Parser.ParseFrom(await proto.Content.ReadAsByteArrayAsync()).Versions.Select(static one => one.Version));
        Assert.Equal(0, (await JsonAsync("GET", "/history/none")).GetProperty("versions").GetArrayLength());
    }

    [Fact]
    public async Task WhatWasIsBroughtBack()
    {
        long start = _server.Time.UnixMilliseconds;
        await WriteAsync("/kv/a", "1", "2");
        await WriteAsync("/kv/b", "x");
        JsonElement done = await RollBackAsync("""{"key": "a", "version": 1}""");
        Assert.Equal((4L, 1L, 1L), (done.GetProperty("version").GetInt64(), done.GetProperty("toVersion").GetInt64(), done.GetProperty("keysChanged").GetInt64()));
        Assert.Equal("1", await _server.GetTextAsync("/kv/a"));
        done = await RollBackAsync("""{"prefix64": "Yg==", "version": 2}""");
        Assert.Equal(1, done.GetProperty("keysChanged").GetInt64());
        await RollBackAsync("""{"from": "a", "to": "c", "version": 3}""");
        Assert.Equal(("2", "x"), (await _server.GetTextAsync("/kv/a"), await _server.GetTextAsync("/kv/b")));
        await RollBackAsync($$"""{"key": "a", "time": "{{IsoTime.Format(start)}}"}""");
        Assert.Equal("1", await _server.GetTextAsync("/kv/a"));
        await RollBackAsync("""{"partition": 1, "version": 3}""");
        Assert.Equal("2", await _server.GetTextAsync("/kv/a"));
        using HttpResponseMessage proto = await _server.SendAsync(
            "POST", "/kv:rollback", ServerFixture.Proto(new RevertRequest { All = true, ToVersion = 1 }.ToByteArray()), headers => headers.Accept.Add(new("application/x-protobuf")));
        Assert.Equal((1, 2), Numbers(RevertResponse.Parser.ParseFrom(await proto.Content.ReadAsByteArrayAsync())));
        Assert.Equal("1", await _server.GetTextAsync("/kv/a"));
    }

    [Theory]
    [InlineData("/kv/k?version=0", "versions are whole numbers from 1")]
    [InlineData("/kv/k?version=x", "version is 'x'")]
    [InlineData("/kv/k?version=1&time=2026-01-01", "not both")]
    [InlineData("/kv/k?time=yesterday", "time is 'yesterday'; allowed is: a moment in ISO 8601")]
    [InlineData("/kv/k?time=1960-01-01", "1970-01-01 or before")]
    [InlineData("/kv/k?version=99", "there is no version 99 yet; the newest is 1")]
    [InlineData("/kv?version=99", "there is no version 99 yet; the newest is 1")]
    [InlineData("/kv?version=1&time=2026-01-01", "not both")]
    [InlineData("/history/k?limit=0", "the limit must be 1 to 10000")]
    [InlineData("/history/k?limit=99999999999", "the limit must be 1 to 10000")]
    [InlineData("/history/k?before=0", "before is '0'")]
    [InlineData("/history/k?before=1", "there is none before it")]
    [InlineData("/history/k?version=1", "unknown query parameter 'version'")]
    [InlineData("/history/", "")]
    public async Task AWrongReadOfThePastIsAProblem(string target, string because)
    {
        await WriteAsync("/kv/k", "1");
        JsonElement problem = await ServerFixture.ProblemAsync(await _server.SendAsync("GET", target), 400, "invalid");
        Assert.Contains(because, problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"version": 1}""", "say what to roll back")]
    [InlineData("""{"key": "k"}""", "say which version or time")]
    [InlineData("""{"key": "k", "prefix": "k", "version": 1}""", "roll back one of these")]
    [InlineData("""{"prefix": "k", "from": "a", "version": 1}""", "the range takes a prefix, or from and to, not both")]
    [InlineData("""{"prefix": "k", "all": true, "version": 1}""", "the range takes all = true or bounds, not both")]
    [InlineData("""{"partition": 1, "all": true, "version": 1}""", "roll back one of these")]
    [InlineData("""{"key": "k", "key64": "aw==", "version": 1}""", "a second time")]
    [InlineData("""{"key": "", "version": 1}""", "key is empty")]
    [InlineData("""{"key": "k", "version": 1, "time": "2026-01-01"}""", "not both")]
    [InlineData("""{"key": "k", "time": "then"}""", "time must be a moment in ISO 8601")]
    [InlineData("""{"key": "k", "version": 0}""", "version must be a whole number from 1")]
    [InlineData("""{"key": "k", "version": "1"}""", "version must be a whole number from 1")]
    [InlineData("""{"all": false, "version": 1}""", "all must be true")]
    [InlineData("""{"key": "k", "version64": 1}""", "version64 is not known")]
    [InlineData("""{"key": 1, "version": 1}""", "key must be a string")]
    [InlineData("""{"from": "b", "to": "a", "version": 1}""", "the range is empty")]
    [InlineData("""{"key": "k", "version": 99}""", "there is no version 99 yet; the newest is 1")]
    [InlineData("""[1]""", "the body must be an object")]
    [InlineData("""{"key": "k", "version": 1} 2""", "")]
    [InlineData("""{"key": "k", """, "")]
    public async Task AWrongRollBackIsAProblem(string body, string because)
    {
        await WriteAsync("/kv/k", "1");
        JsonElement problem = await ServerFixture.ProblemAsync(await _server.SendAsync("POST", "/kv:rollback", ServerFixture.Json(body)), 400, "invalid");
        Assert.Contains(because, problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Equal("1", await _server.GetTextAsync("/kv/k"));
    }

    [Fact]
    public async Task OtherRefusalsSayWhatTheyAre()
    {
        await ServerFixture.ProblemAsync(await _server.SendAsync("POST", "/kv:rollback", new StringContent("{}")), 415, "invalid");
        await ServerFixture.ProblemAsync(await _server.SendAsync("POST", "/kv:rollback", ServerFixture.Json(new string(' ', 300_000))), 413, "too-large");
        await ServerFixture.ProblemAsync(await _server.SendAsync("POST", "/kv:rollback", ServerFixture.Proto([0x0A, 0xFF])), 400, "invalid");
        await WriteAsync("/kv/k", "1");
        await ServerFixture.ProblemAsync(await _server.SendAsync("POST", "/kv:rollback", ServerFixture.Json("""{"partition": 7, "version": 1}""")), 404, "not-found");
        await ServerFixture.ProblemAsync(await _server.SendAsync("PUT", "/history/k", ServerFixture.Json("1")), 405, "invalid");
        await ServerFixture.ProblemAsync(await _server.SendAsync("GET", "/kv:rollback"), 405, "invalid");
        await ServerFixture.ProblemAsync(await _server.SendAsync("DELETE", "/kv/k?version=1"), 400, "invalid");
    }

    [Fact]
    public async Task WhatIsForgottenNamesTheVersionToStartAt()
    {
        ServerFixture own = await ServerFixture.StartedAsync(new StoreOptions());
        for (int i = 0; i < 4; i++)
        {
            own.Store.Upsert("k"u8, "v"u8);
        }

        Assert.Equal(Status.Ok, (await own.Store.CompactAsync(KeyRange.All)).Status);
        long begins = (await own.Store.GetAtAsync("k"u8.ToArray(), AsOf.AtVersion(2))).BeginsAtVersion;
        Assert.InRange(begins, 3, 5);
        HttpResponseMessage[] refused =
        [
            await own.SendAsync("GET", "/kv/k?version=2"), await own.SendAsync("GET", "/kv?version=2"),
            await own.SendAsync("POST", "/kv:rollback", ServerFixture.Json("""{"key": "k", "version": 2}""")),
        ];
        foreach (HttpResponseMessage response in refused)
        {
            JsonElement problem = await ServerFixture.ProblemAsync(response, 410, "compacted");
            Assert.Equal(begins, problem.GetProperty("beginsAtVersion").GetInt64());
            response.Dispose();
        }

        GrpcReply<GetResponse> reply = await own.Data.CallAsync(Methods.Get, new GetRequest { Keys = { ByteString.CopyFromUtf8("k") }, AtVersion = 2 });
        Assert.Equal((GrpcStatusCode.OutOfRange, "compacted", begins.ToString(CultureInfo.InvariantCulture)), (reply.Status.Code, reply.Trailers.Get("keyva-status"), reply.Trailers.Get("keyva-begins-at-version")));
        await own.DisposeAsync();
    }

    [Fact]
    public async Task CurlReadsThePastAndGoesBackToIt()
    {
        await WriteAsync("/kv/k", "old", "new");
        Assert.Equal("old", await CurlAsync("/kv/k?version=1"));
        Assert.Equal("""{"version":3,"toVersion":1,"keysChanged":1}""", await CurlAsync("/kv:rollback", "-H", "Content-Type: application/json", "-d", """{"prefix": "k", "version": 1}"""));
        Assert.StartsWith("""{"key":"k","beginsAtVersion":""", await CurlAsync("/history/k"), StringComparison.Ordinal);
        Assert.Equal("old", await CurlAsync("/kv/k"));
    }

    [Fact]
    public async Task SeveralKeysAreReadAtOneMomentOverGrpc()
    {
        await WriteAsync("/kv/a", "1", "2");
        await WriteAsync("/kv/b", "x");
        GetRequest request = new() { Keys = { ByteString.CopyFromUtf8("a"), ByteString.CopyFromUtf8("b") }, AtVersion = 2 };
        GetResponse read = (await _server.Data.CallAsync(Methods.Get, request)).GetMessage();
        Assert.Equal([("2", true), ("", false)], read.Records.Select(static one => (one.Value.ToStringUtf8(), one.Found)));
        foreach (GetRequest wrong in new[] { request.Clone(), new GetRequest { AtVersion = 1 } })
        {
            wrong.AtVersion = wrong.Keys.Count == 0 ? 1 : 0;
            GrpcReply<GetResponse> refused = await _server.Data.CallAsync(Methods.Get, wrong);
            Assert.Equal((GrpcStatusCode.InvalidArgument, "invalid"), (refused.Status.Code, refused.Trailers.Get("keyva-status")));
        }

        foreach (RevertRequest wrong in new[] { new RevertRequest { All = true }, new RevertRequest { ToVersion = 1 }, new RevertRequest { All = true, ToVersion = -1 }, new RevertRequest { All = true, ToUnixMs = 0 } })
        {
            GrpcReply<RevertResponse> refused = await _server.Data.CallAsync(Methods.Revert, wrong);
            Assert.Equal((GrpcStatusCode.InvalidArgument, "invalid"), (refused.Status.Code, refused.Trailers.Get("keyva-status")));
        }
    }

    /// <summary>Writes values one minute apart.</summary>
    private async Task WriteAsync(string target, params string[] values)
    {
        foreach (string value in values)
        {
            using HttpResponseMessage done = await _server.PutAsync(target, value);
            Assert.Equal(HttpStatusCode.NoContent, done.StatusCode);
            _server.Time.Advance(TimeSpan.FromMinutes(1));
        }
    }

    private Task<JsonElement> RollBackAsync(string body) => JsonAsync("POST", "/kv:rollback", ServerFixture.Json(body));

    private async Task<JsonElement> JsonAsync(string method, string target, HttpContent? body = null)
    {
        using HttpResponseMessage response = await _server.SendAsync(method, target, body);
        string text = await response.Content.ReadAsStringAsync();
        Assert.True(response.StatusCode == HttpStatusCode.OK, text);
        return JsonDocument.Parse(text).RootElement;
    }

    private async Task<string> CurlAsync(string target, params string[] arguments)
    {
        using Process curl = Process.Start(new ProcessStartInfo("curl", ["-s", "--noproxy", "*", "--max-time", "100", .. arguments, $"http://{_server.Server.RestAddress}{target}"])
        {
            RedirectStandardOutput = true,
        })!;
        string output = await curl.StandardOutput.ReadToEndAsync();
        await curl.WaitForExitAsync();
        Assert.Equal(0, curl.ExitCode);
        return output;
    }

    private static (long To, long Changed) Numbers(RevertResponse done) => (done.ToVersion, done.KeysChanged);
}
