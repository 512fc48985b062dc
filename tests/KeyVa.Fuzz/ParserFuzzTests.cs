using System.Text;
using KeyVa.Server;
using Microsoft.Extensions.Primitives;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>The parsers of the front door and of the configuration: an answer or a refusal with words, never an exception.</summary>
public sealed class ParserFuzzTests : Fuzzing
{
    private static readonly byte[][] Urls = Texts(
        "a%2Fb%00c", "%E4%BD%A0+x", "plain/key", "%41%", "AP8", "AP8%3D", "_-9_", "YWJj", "a/../b", "%2e%2E/x", ".");

    private static readonly byte[][] Queries = Texts(
        "prefix=a%20b&limit=10&reverse", "from=a&to=b&keys-only=true&unordered=1", "encoding=base64url&prefix=AP8&after=YQ",
        "ttl=10m&encoding=percent", "limit=0&limit=1", "a=b&&=&", "ttl=1.5s",
        "all=true&prefix=a", "all");

    private static readonly byte[][] Batches = Texts(
        """{"operations": [{"op": "merge", "key": "n", "function": "increment", "operand": "1", "ttl": 5}, {"op": "merge", "key64": "AP8=", "function": "append", "functionVersion": 1, "operand64": "AAEC", "ifAbsent": true}]}""",
        """{"operations": [{"op": "put", "key": "a", "value": "1", "ttl": "10m", "ifAbsent": true}, {"op": "remove", "key64": "AP8=", "ifVersion": 42}]}""",
        """{"operations": [{"op": "put", "key64": "AP8=", "value64": "AAEC", "expires": "2030-01-01T00:00:00Z", "ifValue64": "AA=="}]}""",
        """{"operations": [{"op": "put", "key": "\ud83d\ude00", "value": "x", "ttl": 60, "ifValue": "x"}]}""",
        """{"operations": [{"op": "\ud83d", "expires": "\ud83d", "ttl": "\ud83d", "key64": "\ud83d"}]}""",
        """{"operations": [{"op": "removeRange", "from": "a", "to64": "AP8="}, {"op": "removeRange", "prefix": "p"}, {"op": "removeRange", "all": true}]}""",
        """{"keys": ["a", {"key64": "AP8="}, "\u0000"]}""");

    private static readonly byte[][] Configurations = Texts(
        """{"data": "./data", "engine": "memory", "volatile": true, "memtable": "64MiB", "max-queued-writes": 7, }""",
        """{"rest-listen": "[::1]:7400", "durability": "interval", "sync-interval": "50ms", "log-level": "none" /* why */}""",
        """{"journal-budget": "1MiB", "journal-segment": "2MiB", "data\u0041": {}, "engine": "\ud83d\ude00"}""");

    [Fact]
    public void PercentAndBase64DecodeOrRefuse() => Run(60_000, Urls, static (input, random) =>
    {
        string text = Encoding.Latin1.GetString(input);
        byte[] bytes = new byte[UrlBytes.MaxBytes(text.Length)];
        bool plus = random.Next(2) == 0;
        if (UrlBytes.TryDecodePercent(text, bytes, plus, out int length))
        {
            Assert.Equal(input.Length - (2 * input.Count(static b => b == '%')), length);
            string again = string.Concat(bytes[..length].Select(static b => $"%{b:X2}"));
            byte[] second = new byte[again.Length];
            Assert.True(UrlBytes.TryDecodePercent(again, second, plus, out int secondLength));
            Assert.Equal(bytes[..length], second[..secondLength]);
        }

        if (UrlBytes.TryDecodeBase64(text, bytes, out length))
        {
            string again = Convert.ToBase64String(bytes, 0, length).Replace('+', '-').Replace('/', '_');
            byte[] second = new byte[again.Length];
            Assert.True(UrlBytes.TryDecodeBase64(again, second, out int secondLength));
            Assert.Equal(bytes[..length], second[..secondLength]);
        }

        _ = UrlBytes.HasDotSegment(text);
        if (RestKey.TryDecode(text, random.Next(2) == 0, out RestKey key, out Problem? problem))
        {
            key.Dispose();
        }
        else
        {
            Assert.NotNull(problem);
        }
    });

    [Fact]
    public void QueriesAreReadOrRefused() => Run(40_000, Queries, static (input, random) =>
    {
        string text = Encoding.Latin1.GetString(input);
        RestTarget target = RestTarget.Split("/kv?" + text);
        string[] known = random.Next(4) switch
        {
            0 => RestQuery.KeyParameters,
            1 => RestQuery.PutParameters,
            2 => RestQuery.RemoveParameters,
            _ => RestQuery.ListParameters,
        };
        bool read = RestQuery.TryParse(target.Query, known, out RestQuery? query, out Problem? problem);
        Assert.True(read ? query is not null && problem is null : problem is not null);
        Assert.True(!read || query!.Limit >= 0);
        RestTarget other = RestTarget.Split(text);
        Assert.True(other.Path.Length + other.Query.Length <= text.Length + 1);
    });

    [Fact]
    public void HeadersAndUnitsAreReadOrRefused() =>
        Run(40_000, Texts("\"42\", \"7\"", "W/\"1\"", "*", "\"9223372036854775808\"", "application/x-protobuf;q=1, */*", "64MiB", "1.5s", "[::1]:7400", "localhost:1"), static (input, random) =>
        {
            string text = Encoding.Latin1.GetString(input);
            Assert.Equal(
                EntityTags.TryParse("If-Match", new StringValues(text), random.Next(2) == 0, out _, out Problem? problem), problem is null);
            _ = MediaType.AcceptsProtobuf(new StringValues(text));
            _ = MediaType.IsJson(text);
            Assert.True(!Units.TryParseSize(text, out long bytes) || bytes >= 0);
            Assert.True(!Units.TryParseDuration(text, "s", out long milliseconds) || milliseconds > 0);
            _ = ListenAddress.TryParse(text, out _);
        });

    [Fact]
    public void BatchesAreReadOrRefused() => Run(40_000, Batches, static (input, _) =>
    {
        using WriteBatch batch = new();
        List<bool> removals = [];
        bool read = JsonRequest.TryReadBatch(input, batch, removals, out string wrong);
        Assert.True(read ? removals.Count == batch.Count : wrong.Length > 0);
        List<ReadOnlyMemory<byte>> keys = [];
        Assert.True(JsonRequest.TryReadKeys(input, keys, out wrong) || wrong.Length > 0);
    });

    [Fact]
    public void ConfigurationsAreReadOrRefused()
    {
        string file = Path.GetTempFileName();
        try
        {
            Run(1_500, Configurations, (input, _) =>
            {
                File.WriteAllBytes(file, input);
                try
                {
                    Assert.NotNull(ServerConfiguration.Load(new Dictionary<string, string>(), file, []));
                }
                catch (ConfigurationException refused)
                {
                    Assert.NotEmpty(refused.Message);
                }
            });
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static byte[][] Texts(params string[] texts) => [.. texts.Select(Encoding.UTF8.GetBytes)];
}
