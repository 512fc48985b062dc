using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using KeyVa.Server;
using Xunit;

namespace KeyVa.Tests.Server;

public sealed class RestValueTests(ServerFixture server) : IClassFixture<ServerFixture>
{
    [Fact]
    public async Task AValueIsWrittenReadAndRemoved()
    {
        using HttpResponseMessage put = await server.PutAsync("/kv/greeting", "hello");
        Assert.Equal(HttpStatusCode.NoContent, put.StatusCode);
        using HttpResponseMessage get = await server.SendAsync("GET", "/kv/greeting");
        Assert.Equal(HttpStatusCode.OK, get.StatusCode);
        Assert.Equal("hello", await get.Content.ReadAsStringAsync());
        Assert.Equal(put.Headers.ETag, get.Headers.ETag);
        Assert.False(get.Headers.ETag!.IsWeak);
        Assert.Equal("application/octet-stream", get.Content.Headers.ContentType!.MediaType);
        Assert.Equal(5, get.Content.Headers.ContentLength);
        Assert.Equal(IsoTime.Format(server.Time.UnixMilliseconds), get.Headers.GetValues("KeyVa-Modified").Single());
        Assert.False(get.Headers.Contains("KeyVa-Expires"));
        using HttpResponseMessage removed = await server.SendAsync("DELETE", "/kv/greeting");
        Assert.Equal(HttpStatusCode.NoContent, removed.StatusCode);
        Assert.True(long.Parse(removed.Headers.GetValues("KeyVa-Version").Single()) > VersionOf(put));
        await ServerFixture.ProblemAsync(await server.SendAsync("GET", "/kv/greeting"), 404, "not-found");
        await ServerFixture.ProblemAsync(await server.SendAsync("DELETE", "/kv/greeting"), 404, "not-found");
    }

    [Fact]
    public async Task HeadAnswersTheHeadersAlone()
    {
        await server.PutAsync("/kv/head", "12345");
        using HttpResponseMessage head = await server.SendAsync("HEAD", "/kv/head");
        Assert.Equal(HttpStatusCode.OK, head.StatusCode);
        Assert.Equal(5, head.Content.Headers.ContentLength);
        Assert.NotNull(head.Headers.ETag);
        Assert.Empty(await head.Content.ReadAsByteArrayAsync());
        using HttpResponseMessage missing = await server.SendAsync("HEAD", "/kv/head-missing");
        Assert.Equal(HttpStatusCode.NotFound, missing.StatusCode);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(4095)]
    [InlineData(70_000)]
    [InlineData(1 << 20)]
    public async Task ValuesOfAnySizeComeBackByteByByte(int size)
    {
        byte[] value = new byte[size];
        new Random(size).NextBytes(value);
        using HttpResponseMessage put = await server.SendAsync("PUT", $"/kv/size-{size}", new ByteArrayContent(value));
        Assert.Equal(HttpStatusCode.NoContent, put.StatusCode);
        Assert.Equal(value, await server.Http.GetByteArrayAsync($"/kv/size-{size}"));
        // Chunked, and in pieces.
        using HttpResponseMessage chunked = await server.SendAsync("PUT", $"/kv/chunked-{size}", new ChunkedContent(value, 10_000));
        Assert.Equal(HttpStatusCode.NoContent, chunked.StatusCode);
        Assert.Equal(value, await server.Http.GetByteArrayAsync($"/kv/chunked-{size}"));
    }

    [Fact]
    public async Task AValueAboveTheLimitIsRefusedDeclaredOrChunked()
    {
        byte[] value = new byte[(1 << 20) + 1];
        JsonElement problem = await ServerFixture.ProblemAsync(
            await server.SendAsync("PUT", "/kv/large", new ByteArrayContent(value)), 413, "too-large");
        Assert.Contains("max-value-bytes", problem.GetProperty("detail").GetString());
        await ServerFixture.ProblemAsync(await server.SendAsync("PUT", "/kv/large", new ChunkedContent(value, 100_000)), 413, "too-large");
        await ServerFixture.ProblemAsync(await server.SendAsync("GET", "/kv/large"), 404, "not-found");
    }

    [Fact]
    public async Task ADeclaredLengthAboveTheLimitIsRefusedBeforeTheBodyIsThere()
    {
        string answer = await ServerFixture.RawAsync(
            server.Server.RestAddress, "PUT /kv/declared HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n", until: "}");
        Assert.StartsWith("HTTP/1.1 413", answer);
        Assert.Contains("\"keyva-status\":\"too-large\"", answer);
    }

    [Fact]
    public async Task ConditionalWrites()
    {
        using HttpResponseMessage first = await server.PutAsync("/kv/cas", "1", headers => headers.IfNoneMatch.Add(EntityTagHeaderValue.Any));
        Assert.Equal(HttpStatusCode.NoContent, first.StatusCode);
        JsonElement exists = await ServerFixture.ProblemAsync(
            await server.PutAsync("/kv/cas", "x", headers => headers.IfNoneMatch.Add(EntityTagHeaderValue.Any)), 412, "condition-failed");
        Assert.Equal(VersionOf(first), exists.GetProperty("currentVersion").GetInt64());
        using HttpResponseMessage second = await server.PutAsync("/kv/cas", "2", headers => headers.IfMatch.Add(first.Headers.ETag!));
        Assert.Equal(HttpStatusCode.NoContent, second.StatusCode);
        JsonElement stale = await ServerFixture.ProblemAsync(
            await server.PutAsync("/kv/cas", "x", headers => headers.IfMatch.Add(first.Headers.ETag!)), 412, "condition-failed");
        Assert.Equal(VersionOf(second), stale.GetProperty("currentVersion").GetInt64());
        using HttpResponseMessage any = await server.PutAsync("/kv/cas", "3", headers => headers.IfMatch.Add(EntityTagHeaderValue.Any));
        Assert.Equal(HttpStatusCode.NoContent, any.StatusCode);
        using HttpResponseMessage several = await server.PutAsync("/kv/cas", "4", headers =>
        {
            headers.IfMatch.Add(first.Headers.ETag!);
            headers.IfMatch.Add(any.Headers.ETag!);
        });
        Assert.Equal(HttpStatusCode.NoContent, several.StatusCode);
        Assert.Equal("4", await server.GetTextAsync("/kv/cas"));
        await ServerFixture.ProblemAsync(
            await server.PutAsync("/kv/cas", "x", headers => headers.IfMatch.Add(new EntityTagHeaderValue("\"abc\""))), 412, "condition-failed");
        await ServerFixture.ProblemAsync(
            await server.PutAsync("/kv/cas-none", "x", headers => headers.IfMatch.Add(EntityTagHeaderValue.Any)), 412, "condition-failed");
    }

    [Fact]
    public async Task ConditionalRemovals()
    {
        using HttpResponseMessage put = await server.PutAsync("/kv/cad", "1");
        await ServerFixture.ProblemAsync(
            await server.SendAsync("DELETE", "/kv/cad", null, headers => headers.IfMatch.Add(new EntityTagHeaderValue("\"1000000\""))),
            412, "condition-failed");
        using HttpResponseMessage removed = await server.SendAsync("DELETE", "/kv/cad", null, headers => headers.IfMatch.Add(put.Headers.ETag!));
        Assert.Equal(HttpStatusCode.NoContent, removed.StatusCode);
    }

    [Fact]
    public async Task ConditionalReads()
    {
        using HttpResponseMessage put = await server.PutAsync("/kv/etag", "1");
        EntityTagHeaderValue tag = put.Headers.ETag!;
        using HttpResponseMessage same = await server.SendAsync("GET", "/kv/etag", null, headers => headers.IfNoneMatch.Add(tag));
        Assert.Equal(HttpStatusCode.NotModified, same.StatusCode);
        Assert.Equal(tag, same.Headers.ETag);
        using HttpResponseMessage weak = await server.SendAsync(
            "GET", "/kv/etag", null, headers => headers.IfNoneMatch.Add(new EntityTagHeaderValue(tag.Tag, isWeak: true)));
        Assert.Equal(HttpStatusCode.NotModified, weak.StatusCode);
        using HttpResponseMessage other = await server.SendAsync(
            "GET", "/kv/etag", null, headers => headers.IfNoneMatch.Add(new EntityTagHeaderValue("\"1000000\"")));
        Assert.Equal("1", await other.Content.ReadAsStringAsync());
        await ServerFixture.ProblemAsync(
            await server.SendAsync("GET", "/kv/etag", null, headers => headers.IfMatch.Add(new EntityTagHeaderValue("\"1000000\""))),
            412, "condition-failed");
        await ServerFixture.ProblemAsync(
            await server.SendAsync("GET", "/kv/etag-none", null, headers => headers.IfMatch.Add(EntityTagHeaderValue.Any)),
            412, "condition-failed");
        await ServerFixture.ProblemAsync(
            await server.SendAsync("GET", "/kv/etag-none", null, headers => headers.IfNoneMatch.Add(EntityTagHeaderValue.Any)),
            404, "not-found");
    }

    [Theory]
    [InlineData("PUT", "If-Match", "1")]
    [InlineData("PUT", "If-None-Match", "\"1\"")]
    [InlineData("DELETE", "If-None-Match", "\"1")]
    [InlineData("GET", "If-None-Match", "\"1\" \"2\"")]
    public async Task AMalformedConditionIsRefused(string method, string header, string value)
    {
        await server.PutAsync("/kv/malformed", "1");
        HttpContent? body = method == "PUT" ? new ByteArrayContent([]) : null;
        await ServerFixture.ProblemAsync(
            await server.SendAsync(method, "/kv/malformed", body, headers => headers.TryAddWithoutValidation(header, value)), 400, "invalid");
        Assert.Equal("1", await server.GetTextAsync("/kv/malformed"));
    }

    [Theory]
    [InlineData("10", 10_000)]
    [InlineData("1500ms", 1500)]
    [InlineData("2m", 120_000)]
    public async Task AKeyExpires(string ttl, int milliseconds)
    {
        string target = "/kv/ttl-" + ttl;
        await server.PutAsync($"{target}?ttl={ttl}", "soon gone");
        using HttpResponseMessage get = await server.SendAsync("GET", target);
        string expires = IsoTime.Format(server.Time.UnixMilliseconds + milliseconds);
        Assert.Equal(expires, get.Headers.GetValues("KeyVa-Expires").Single());
        server.Time.Advance(TimeSpan.FromMilliseconds(milliseconds - 1));
        Assert.Equal("soon gone", await server.GetTextAsync(target));
        server.Time.Advance(TimeSpan.FromMilliseconds(1));
        await ServerFixture.ProblemAsync(await server.SendAsync("GET", target), 404, "not-found");
    }

    [Theory]
    [InlineData("?ttl=0")]
    [InlineData("?ttl=")]
    [InlineData("?ttl=soon")]
    [InlineData("?ttl=1&ttl=2")]
    [InlineData("?tll=1")]
    [InlineData("?encoding=base64")]
    [InlineData("?prefix=a")]
    public async Task AWrongParameterIsRefusedByName(string query)
    {
        JsonElement problem = await ServerFixture.ProblemAsync(await server.PutAsync("/kv/parameter" + query, "x"), 400, "invalid");
        string name = query[1..].Split('=')[0];
        Assert.Contains(name, problem.GetProperty("detail").GetString());
    }

    [Fact]
    public async Task ARequestLineOf32KiBFits()
    {
        string longest = string.Concat(Enumerable.Repeat("%41", 8192));
        using HttpResponseMessage put = await server.PutAsync("/kv/" + longest + "?ttl=1h", "long");
        Assert.Equal(HttpStatusCode.NoContent, put.StatusCode);
        Assert.Equal("long", await server.GetTextAsync("/kv/" + longest));
        JsonElement problem = await ServerFixture.ProblemAsync(await server.PutAsync("/kv/" + longest + "A", "x"), 413, "too-large");
        Assert.Contains("8192", problem.GetProperty("detail").GetString());
        string line = new('a', (32 * 1024) - "GET /kv/ HTTP/1.1\r\n".Length);
        Assert.StartsWith("HTTP/1.1 413", await RawGetAsync("/kv/" + line));
        Assert.StartsWith("HTTP/1.1 414", await RawGetAsync("/kv/" + line + "a"));
    }

    [Fact]
    public async Task AnEmptyKeyIsRefused()
    {
        await ServerFixture.ProblemAsync(await server.SendAsync("GET", "/kv/"), 400, "invalid");
        await ServerFixture.ProblemAsync(await server.PutAsync("/kv/", "x"), 400, "invalid");
        await ServerFixture.ProblemAsync(await server.SendAsync("DELETE", "/kv/"), 400, "invalid");
    }

    [Fact]
    public async Task ABodyThatIsNoValidHttpIsRefused()
    {
        string answer = await ServerFixture.RawAsync(
            server.Server.RestAddress,
            "PUT /kv/broken HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\nhello\r\n0\r\n\r\n");
        Assert.StartsWith("HTTP/1.1 400", answer);
        Assert.Contains("problem+json", answer);
        await ServerFixture.ProblemAsync(await server.SendAsync("GET", "/kv/broken"), 404, "not-found");
    }

    [Fact]
    public async Task PipelinedRequestsAreAnsweredInOrder()
    {
        string answer = await ServerFixture.RawAsync(
            server.Server.RestAddress,
            "PUT /kv/pipe HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /kv/pipe HTTP/1.1\r\nHost: x\r\n\r\n"
            + "DELETE /kv/pipe HTTP/1.1\r\nHost: x\r\n\r\nGET /kv/pipe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        string[] statuses = [.. answer.Split("HTTP/1.1 ").Skip(1).Select(one => one[..3])];
        Assert.Equal(["204", "200", "204", "404"], statuses);
        Assert.Contains("\r\n\r\nabc", answer);
    }

    private Task<string> RawGetAsync(string target) =>
        ServerFixture.RawAsync(server.Server.RestAddress, $"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

    private static long VersionOf(HttpResponseMessage response) => long.Parse(response.Headers.ETag!.Tag.Trim('"'));

    /// <summary>A body of unknown length, sent in pieces.</summary>
    private sealed class ChunkedContent(byte[] bytes, int piece) : HttpContent
    {
        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            for (int at = 0; at < bytes.Length; at += piece)
            {
                await stream.WriteAsync(bytes.AsMemory(at, Math.Min(piece, bytes.Length - at)));
                await stream.FlushAsync();
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
