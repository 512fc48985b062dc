using System.Buffers.Text;
using System.Net;
using System.Text;
using System.Text.Json;
using Xunit;

namespace KeyVa.Tests.Server;

public sealed class RestKeyTests(ServerFixture server) : IClassFixture<ServerFixture>
{
    [Fact]
    public async Task EveryByteButNulTravelsPercentEncoded()
    {
        for (int value = 1; value < 256; value++)
        {
            byte[] key = [(byte)'k', (byte)value, (byte)'e'];
            using HttpResponseMessage put = await server.PutAsync($"/kv/k%{value:X2}e", value.ToString());
            Assert.True(put.StatusCode == HttpStatusCode.NoContent, $"byte {value}: {put.StatusCode}");
            Assert.Equal(value.ToString(), Stored(key));
        }
    }

    [Fact]
    public async Task EveryByteTravelsInBase64Url()
    {
        for (int value = 0; value < 256; value++)
        {
            byte[] key = [(byte)'b', (byte)value];
            string target = $"/kv/{Base64Url.EncodeToString(key)}?encoding=base64url";
            using HttpResponseMessage put = await server.PutAsync(target, value.ToString());
            Assert.Equal(HttpStatusCode.NoContent, put.StatusCode);
            Assert.Equal(value.ToString(), Stored(key));
            Assert.Equal(value.ToString(), await server.GetTextAsync(target));
        }
    }

    [Theory]
    [InlineData("a/b//c/", "a/b//c/")]
    [InlineData("/", "/")]
    [InlineData("a%2Fb", "a/b")]
    [InlineData("a+b", "a+b")]
    [InlineData("a%2Bb", "a+b")]
    [InlineData("a%20b", "a b")]
    [InlineData("...", "...")]
    [InlineData("a%2F..%2Fb", "a/../b")]
    [InlineData("%E2%82%AC", "€")]
    [InlineData("a:b@c!$&'()*,;=~-_.", "a:b@c!$&'()*,;=~-_.")]
    [InlineData("%3F%23", "?#")]
    [InlineData("%2525", "%25")]
    public async Task APathIsTheKeyByteByByte(string path, string key)
    {
        using HttpResponseMessage put = await server.PutAsync("/kv/" + path, key);
        Assert.Equal(HttpStatusCode.NoContent, put.StatusCode);
        Assert.Equal(key, Stored(ServerFixture.Bytes(key)));
        Assert.Equal(key, await server.GetTextAsync("/kv/" + path));
        using HttpResponseMessage removed = await server.SendAsync("DELETE", "/kv/" + path);
        Assert.Equal(HttpStatusCode.NoContent, removed.StatusCode);
    }

    [Fact]
    public async Task AnAbsoluteTargetMeansTheSame()
    {
        await server.PutAsync("/kv/abs%2Folute", "yes");
        string answer = await ServerFixture.RawAsync(
            server.Server.RestAddress,
            $"GET http://{server.Server.RestAddress}/kv/abs%2Folute HTTP/1.1\r\nHost: {server.Server.RestAddress}\r\nConnection: close\r\n\r\n");
        Assert.EndsWith("yes", answer);
    }

    [Theory]
    [InlineData("/kv/%", "percent")]
    [InlineData("/kv/a%4", "percent")]
    [InlineData("/kv/%zz", "percent")]
    [InlineData("/kv/A?encoding=base64url", "base64url")]
    [InlineData("/kv/AA%2B?encoding=base64url", "base64url")]
    [InlineData("/kv/..", "base64url")]
    [InlineData("/kv/a/./b", "base64url")]
    [InlineData("/kv/%2e%2E/b", "base64url")]
    public async Task AMalformedKeyIsRefusedWithTheReason(string target, string reason)
    {
        JsonElement problem = await ServerFixture.ProblemAsync(await server.SendAsync("GET", target), 400, "invalid");
        Assert.Contains(reason, problem.GetProperty("detail").GetString());
        await ServerFixture.ProblemAsync(await server.PutAsync(target, "x"), 400, "invalid");
        await ServerFixture.ProblemAsync(await server.SendAsync("DELETE", target), 400, "invalid");
    }

    [Theory]
    [InlineData("/kv/a%00b")]
    [InlineData("/kv/a\0b")]
    [InlineData("/kv/caf\u00e9")]
    public async Task WhatAPathCannotCarryIsRefused(string target)
    {
        string answer = await ServerFixture.RawAsync(
            server.Server.RestAddress, $"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        Assert.StartsWith("HTTP/1.1 400", answer);
    }

    [Fact]
    public async Task RandomKeysComeBackUnderBothEncodings()
    {
        int seed = Environment.TickCount;
        Random random = new(seed);
        for (int i = 0; i < 200; i++)
        {
            byte[] key = new byte[random.Next(1, 40)];
            random.NextBytes(key);
            // Zeros cannot stand in a path, and dots might make a segment of their own.
            byte[] forPath = [.. key.Select(one => one is 0 or (byte)'.' ? (byte)'x' : one)];
            string path = string.Concat(forPath.Select(one =>
                char.IsAsciiLetterOrDigit((char)one) && random.Next(2) == 0 ? ((char)one).ToString() : $"%{one:X2}"));
            await server.PutAsync("/kv/" + path, $"p{i}");
            Assert.True(Stored(forPath) == $"p{i}", $"seed {seed}: {path}");
            await server.PutAsync($"/kv/{Base64Url.EncodeToString(key)}?encoding=base64url", $"b{i}");
            Assert.True(Stored(key) == $"b{i}", $"seed {seed}: {Convert.ToHexString(key)}");
        }
    }

    private string? Stored(byte[] key)
    {
        using ValueLease lease = server.Store.Get(key);
        return lease.Found ? Encoding.UTF8.GetString(lease.Value) : null;
    }
}
