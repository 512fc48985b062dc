using System.Net;
using System.Text.Json;
using KeyVa.Protocol.V1;
using Xunit;

namespace KeyVa.Tests.Server;

public sealed class RestListTests : IAsyncLifetime
{
    private static readonly byte[] Binary = [(byte)'b', 0xFF, 0];

    private ServerFixture _server = null!;

    public async Task InitializeAsync()
    {
        _server = await ServerFixture.StartedAsync(new StoreOptions());
        foreach (string key in new[] { "a", "b", "ba", "c d", "d" })
        {
            await _server.PutAsync("/kv/" + key.Replace(" ", "%20"), "v-" + key);
        }

        Assert.True(_server.Store.Upsert(Binary, [0xC3, 0x28]).IsOk);
    }

    public Task DisposeAsync() => _server.DisposeAsync();

    [Theory]
    [InlineData("", "a b ba b64 c+d d")]
    [InlineData("?prefix=b", "b ba b64")]
    [InlineData("?from=b&to=c+d", "b ba b64")]
    [InlineData("?from=c%20d", "c+d d")]
    [InlineData("?to=b", "a")]
    [InlineData("?reverse", "d c+d b64 ba b a")]
    [InlineData("?reverse=true&prefix=b&limit=2", "b64 ba")]
    [InlineData("?limit=0", "a b ba b64 c+d d")]
    [InlineData("?prefix=Yg&encoding=base64url", "b ba b64")]
    [InlineData("?encoding=percent&prefix=b%FF", "b64")]
    [InlineData("?prefix=zz", "")]
    [InlineData("?&prefix=a&", "a")]
    public async Task ARangeIsListedInOrder(string query, string expected)
    {
        JsonElement list = await ListAsync(query);
        Assert.Equal(expected, Keys(list));
        Assert.Equal(query.Contains("limit=2"), list.TryGetProperty("resume", out _));
        using HttpResponseMessage proto = await _server.SendAsync(
            "GET", "/kv" + query, null, headers => headers.Accept.ParseAdd("application/x-protobuf"));
        Assert.Equal(HttpStatusCode.OK, proto.StatusCode);
        ScanResponse message = ScanResponse.Parser.ParseFrom(await proto.Content.ReadAsByteArrayAsync());
        Assert.Equal(expected, string.Join(' ', message.Records.Select(record => Shown(record.Key.ToByteArray()))));
    }

    [Theory]
    [InlineData("?prefix=b", "a c+d d")]
    [InlineData("?from=b&to=c+d", "a c+d d")]
    [InlineData("?from=c%20d", "a b ba b64")]
    [InlineData("?to=b", "b ba b64 c+d d")]
    [InlineData("?all=true", "")]
    [InlineData("?prefix=Yg&encoding=base64url", "a c+d d")]
    [InlineData("?prefix=zz", "a b ba b64 c+d d")]
    public async Task ARangeIsRemoved(string query, string left)
    {
        using HttpResponseMessage answer = await _server.SendAsync("DELETE", "/kv" + query, null);
        Assert.Equal(HttpStatusCode.NoContent, answer.StatusCode);
        Assert.True(long.Parse(answer.Headers.GetValues("KeyVa-Version").Single()) > 0);
        Assert.Equal(left, Keys(await ListAsync("")));
    }

    [Theory]
    [InlineData("", "has no bounds")]
    [InlineData("?all=false", "has no bounds")]
    [InlineData("?prefix=", "has no bounds")]
    [InlineData("?from=&to=", "has no bounds")]
    [InlineData("?all&prefix=b", "not both")]
    [InlineData("?prefix=b&to=c", "not both")]
    [InlineData("?from=c&to=b", "ends where or before it begins")]
    [InlineData("?from=b&limit=1", "limit")]
    public async Task ARemovalWithoutClearBoundsIsRefused(string query, string reason)
    {
        using HttpResponseMessage answer = await _server.SendAsync("DELETE", "/kv" + query, null);
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        Assert.Contains(reason, await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.Equal("a b ba b64 c+d d", Keys(await ListAsync("")));
        using HttpResponseMessage tagged = await _server.SendAsync("DELETE", "/kv?all=true", null, headers => headers.TryAddWithoutValidation("If-Match", "\"1\""));
        Assert.Equal(HttpStatusCode.BadRequest, tagged.StatusCode);
    }

    [Fact]
    public async Task TextIsTextAndOtherBytesAreBase64()
    {
        JsonElement list = await ListAsync("?prefix=b");
        JsonElement text = list.GetProperty("records")[0];
        Assert.Equal("b", text.GetProperty("key").GetString());
        Assert.Equal("v-b", text.GetProperty("value").GetString());
        Assert.True(text.GetProperty("version").GetInt64() > 0);
        Assert.Equal(_server.Time.UnixMilliseconds, text.GetProperty("modified").GetDateTimeOffset().ToUnixTimeMilliseconds());
        Assert.False(text.TryGetProperty("expires", out _));
        JsonElement binary = list.GetProperty("records")[2];
        Assert.Equal(Binary, binary.GetProperty("key64").GetBytesFromBase64());
        Assert.Equal([0xC3, 0x28], binary.GetProperty("value64").GetBytesFromBase64());
        JsonElement all64 = await ListAsync("?prefix=YQ&encoding=base64url");
        Assert.Equal("v-a"u8.ToArray(), all64.GetProperty("records")[0].GetProperty("value64").GetBytesFromBase64());
        Assert.False((await ListAsync("?keys-only")).GetProperty("records")[0].TryGetProperty("value", out _));
    }

    [Fact]
    public async Task PagesGoOnWhereTheLastOneEnded()
    {
        foreach (string reverse in new[] { "", "&reverse=1" })
        {
            List<string> pages = [];
            string after = "";
            while (true)
            {
                JsonElement page = await ListAsync($"?limit=4{reverse}{after}");
                pages.Add(Keys(page));
                if (!page.TryGetProperty("resume", out JsonElement resume))
                {
                    break;
                }

                after = "&after=" + resume.GetString();
            }

            Assert.Equal(reverse.Length == 0 ? ["a b ba b64", "c+d d"] : ["d c+d b64 ba", "b a"], pages);
        }
    }

    [Fact]
    public async Task APageThatEndsWithTheRangeHasNoToken()
    {
        Assert.False((await ListAsync("?limit=6")).TryGetProperty("resume", out _));
        Assert.True((await ListAsync("?limit=5")).TryGetProperty("resume", out _));
    }

    [Fact]
    public async Task WithoutALimitAThousandComeAtATime()
    {
        for (int i = 0; i < 1001; i++)
        {
            Assert.True(_server.Store.Upsert(ServerFixture.Bytes($"many/{i:d4}"), new byte[200]).IsOk);
        }

        JsonElement page = await ListAsync("?prefix=many/");
        Assert.Equal(1000, page.GetProperty("records").GetArrayLength());
        JsonElement rest = await ListAsync("?prefix=many/&after=" + page.GetProperty("resume").GetString());
        Assert.Equal(1, rest.GetProperty("records").GetArrayLength());
        Assert.Equal(1001, (await ListAsync("?prefix=many/&limit=0")).GetProperty("records").GetArrayLength());
    }

    [Fact]
    public async Task LargeValuesAreStreamed()
    {
        byte[] value = new byte[1 << 20];
        new Random(1).NextBytes(value);
        for (int i = 0; i < 8; i++)
        {
            Assert.True(_server.Store.Upsert(ServerFixture.Bytes($"large/{i}"), value).IsOk);
        }

        JsonElement list = await ListAsync("?prefix=large/");
        Assert.Equal(8, list.GetProperty("records").GetArrayLength());
        Assert.Equal(value, list.GetProperty("records")[7].GetProperty("value64").GetBytesFromBase64());
        using HttpResponseMessage proto = await _server.SendAsync(
            "GET", "/kv?prefix=large/&limit=7", null, headers => headers.Accept.ParseAdd("application/x-protobuf"));
        ScanResponse message = ScanResponse.Parser.ParseFrom(await proto.Content.ReadAsByteArrayAsync());
        Assert.Equal(7, message.Records.Count);
        Assert.Equal(value, message.Records[6].Value.ToByteArray());
        Assert.Equal("large/6", message.Resume.ToStringUtf8());
    }

    [Theory]
    [InlineData("?from=b&to=a")]
    [InlineData("?limit=-1")]
    [InlineData("?limit=")]
    [InlineData("?limit=99999999999999999999")]
    [InlineData("?reverse=yes")]
    [InlineData("?prefix=%zz")]
    [InlineData("?prefix=A&encoding=base64url")]
    [InlineData("?after=*")]
    [InlineData("?ttl=1")]
    [InlineData("?key=a")]
    [InlineData("?prefix=a&prefix=b")]
    public async Task AWrongQueryIsRefused(string query) =>
        await ServerFixture.ProblemAsync(await _server.SendAsync("GET", "/kv" + query), 400, "invalid");

    [Fact]
    public async Task AnUnorderedPartitionIsListedOnlyWhenThatIsAccepted()
    {
        ServerFixture memory = await ServerFixture.StartedAsync(new StoreOptions { Engine = EngineKind.Memory });
        await memory.PutAsync("/kv/a", "1");
        await memory.PutAsync("/kv/b", "2");
        JsonElement problem = await ServerFixture.ProblemAsync(await memory.SendAsync("GET", "/kv"), 501, "unsupported");
        Assert.NotEmpty(problem.GetProperty("detail").GetString()!);
        JsonElement list = JsonDocument.Parse(await memory.GetTextAsync("/kv?unordered")).RootElement;
        Assert.Equal(["a", "b"], list.GetProperty("records").EnumerateArray().Select(one => one.GetProperty("key").GetString()).Order());
        await memory.DisposeAsync();
    }

    [Fact]
    public async Task AClientThatGoesAwayReleasesItsSnapshot()
    {
        for (int i = 0; i < 64; i++)
        {
            Assert.True(_server.Store.Upsert(ServerFixture.Bytes($"slow/{i:d2}"), new byte[1 << 20]).IsOk);
        }

        using (HttpRequestMessage request = new(HttpMethod.Get, "/kv?prefix=slow/"))
        using (HttpResponseMessage response = await _server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead))
        {
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            Assert.Equal(1, _server.Store.GetStatistics().OpenSnapshots);
        }

        await UntilAsync(() => _server.Store.GetStatistics().OpenSnapshots == 0);
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(20));
        using PeriodicTimer timer = new(TimeSpan.FromMilliseconds(10));
        while (!condition())
        {
            await timer.WaitForNextTickAsync(limit.Token);
        }
    }

    private async Task<JsonElement> ListAsync(string query) =>
        JsonDocument.Parse(await _server.GetTextAsync("/kv" + query)).RootElement;

    private static string Keys(JsonElement list) => string.Join(' ', list.GetProperty("records").EnumerateArray().Select(record =>
        Shown(record.TryGetProperty("key", out JsonElement key) ? ServerFixture.Bytes(key.GetString()!) : record.GetProperty("key64").GetBytesFromBase64())));

    private static string Shown(byte[] key) => key.AsSpan().SequenceEqual(Binary) ? "b64" : ServerFixture.Text(key).Replace(' ', '+');
}
