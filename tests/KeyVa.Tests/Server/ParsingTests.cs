using System.Text;
using KeyVa.Measurements;
using KeyVa.Server;
using Xunit;

namespace KeyVa.Tests.Server;

public sealed class ParsingTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("17", 17)]
    [InlineData("17B", 17)]
    [InlineData("4 KiB", 4096)]
    [InlineData("64MiB", 64L << 20)]
    [InlineData("8388607TiB", 8388607L << 40)]
    [InlineData("8388608TiB", -1)]
    [InlineData("1.5MiB", -1)]
    [InlineData("MiB", -1)]
    [InlineData("1mib", -1)]
    [InlineData("-1", -1)]
    [InlineData("", -1)]
    public void Sizes(string text, long expected) =>
        Assert.Equal(expected, Units.TryParseSize(text, out long bytes) ? bytes : -1);

    [Theory]
    [InlineData("100ms", 100)]
    [InlineData("1.5s", 1500)]
    [InlineData("2m", 120_000)]
    [InlineData("1h", 3_600_000)]
    [InlineData("1d", 86_400_000)]
    [InlineData("60", 60_000)]
    [InlineData("0.0001", 1)]
    [InlineData("0", -1)]
    [InlineData("0ms", -1)]
    [InlineData("-1s", -1)]
    [InlineData("1e3s", -1)]
    [InlineData("1us", -1)]
    [InlineData("999999999999d", -1)]
    [InlineData("NaN", -1)]
    [InlineData("", -1)]
    public void Durations(string text, long expected) =>
        Assert.Equal(expected, Units.TryParseDuration(text, "s", out long milliseconds) ? milliseconds : -1);

    [Fact]
    public void ADurationMayHaveToNameItsUnit() => Assert.False(Units.TryParseDuration("100", "", out _));

    [Theory]
    [InlineData("/kv/a?x=1?y", "/kv/a", "x=1?y")]
    [InlineData("/kv//", "/kv//", "")]
    [InlineData("http://host:1/kv/a%2F", "/kv/a%2F", "")]
    [InlineData("http://host", "/", "")]
    [InlineData("http://host?a", "", "a")]
    [InlineData("*", "*", "")]
    public void Targets(string raw, string path, string query)
    {
        RestTarget target = RestTarget.Split(raw);
        Assert.Equal(path, target.Path.ToString());
        Assert.Equal(query, target.Query.ToString());
    }

    [Fact]
    public void EveryByteSurvivesPercentEncoding()
    {
        for (int value = 0; value < 256; value++)
        {
            byte[] bytes = new byte[8];
            Assert.True(UrlBytes.TryDecodePercent($"a%{value:x2}%{value:X2}", bytes, plusIsSpace: false, out int length));
            Assert.Equal([(byte)'a', (byte)value, (byte)value], bytes[..length]);
        }
    }

    [Theory]
    [InlineData("%")]
    [InlineData("a%")]
    [InlineData("a%4")]
    [InlineData("%G1")]
    [InlineData("%1G")]
    [InlineData("%%41")]
    [InlineData("\u00e9")]
    public void MalformedPercentEncodingIsRefused(string text) =>
        Assert.False(UrlBytes.TryDecodePercent(text, new byte[16], plusIsSpace: false, out _));

    [Fact]
    public void PlusIsASpaceOnlyWhereFormsAreWritten()
    {
        byte[] bytes = new byte[3];
        Assert.True(UrlBytes.TryDecodePercent("a+b", bytes, plusIsSpace: false, out _));
        Assert.Equal("a+b", Encoding.ASCII.GetString(bytes));
        Assert.True(UrlBytes.TryDecodePercent("a+b", bytes, plusIsSpace: true, out _));
        Assert.Equal("a b", Encoding.ASCII.GetString(bytes));
    }

    [Theory]
    [InlineData("AAEC", "000102")]
    [InlineData("_-8", "FFEF")]
    [InlineData("_w==", "FF")]
    [InlineData("_w%3D%3d", "FF")]
    [InlineData("", "")]
    [InlineData("A", null)]
    [InlineData("AA+/", null)]
    [InlineData("AA A", null)]
    [InlineData("AA\nAA", null)]
    [InlineData("AA%41", null)]
    [InlineData("A=AA", null)]
    public void Base64Url(string text, string? expected)
    {
        byte[] bytes = new byte[text.Length];
        Assert.Equal(expected, UrlBytes.TryDecodeBase64(text, bytes, out int length) ? Convert.ToHexString(bytes, 0, length) : null);
    }

    [Theory]
    [InlineData("..", true)]
    [InlineData("a/./b", true)]
    [InlineData("a/%2e%2E", true)]
    [InlineData(".%2e/a", true)]
    [InlineData("...", false)]
    [InlineData("a..", false)]
    [InlineData("a%2F..%2Fb", false)]
    [InlineData(".a/b.", false)]
    public void DotSegments(string path, bool expected) => Assert.Equal(expected, UrlBytes.HasDotSegment(path));

    [Theory]
    [InlineData("*", true, "*")]
    [InlineData("\"1\"", true, "1")]
    [InlineData(" \"1\" ,\"2\",\"x\"", true, "1 2")]
    [InlineData("W/\"1\", \"2\"", true, "1 2")]
    [InlineData("W/\"1\", \"2\"", false, "2")]
    [InlineData("\"\"", true, "")]
    [InlineData("1", true, null)]
    [InlineData("\"1", true, null)]
    [InlineData("\"1\" \"2\"", true, null)]
    [InlineData("\"1\",", true, null)]
    [InlineData("\"1\",*", true, null)]
    [InlineData("", true, null)]
    public void EntityTagLists(string header, bool weak, string? expected)
    {
        bool valid = EntityTags.TryParse("If-Match", header, weak, out EntityTags tags, out Problem? problem);
        Assert.Equal(expected is not null, valid);
        Assert.Equal(expected is null, problem is not null);
        if (expected is not null)
        {
            Assert.True(tags.Given);
            Assert.Equal(expected == "*", tags.IsAny);
            Assert.Equal(expected == "*" || expected.Contains('1'), tags.Matches(1));
            Assert.Equal(expected == "*" || expected.Contains('2'), tags.Matches(2));
            Assert.Equal(expected == "*", tags.Matches(3));
        }
    }

    [Theory]
    [InlineData(0, "1970-01-01T00:00:00.000Z")]
    [InlineData(1_700_000_000_123, "2023-11-14T22:13:20.123Z")]
    [InlineData(951_782_399_999, "2000-02-28T23:59:59.999Z")]
    [InlineData(long.MaxValue, "9999-12-31T23:59:59.999Z")]
    public void Moments(long milliseconds, string expected) => Assert.Equal(expected, IsoTime.Format(milliseconds));

    [Theory]
    [InlineData("application/x-protobuf", true)]
    [InlineData("application/protobuf; q=0.9", true)]
    [InlineData("application/json, application/x-protobuf", false)]
    [InlineData("text/html, application/x-protobuf", true)]
    [InlineData("application/x-protobuffer", false)]
    [InlineData("*/*", false)]
    [InlineData("", false)]
    public void Accept(string header, bool protobuf) => Assert.Equal(protobuf, MediaType.AcceptsProtobuf(header));

    [Fact]
    public void PrometheusTextEscapesHelpAndLabels()
    {
        MetricFamily family = new("m", MetricKind.Summary, "back\\slash\nnew line");
        string text = PrometheusText.Render(
        [
            new Metric(family, 0.5, [new("a", "q\"b\\n\n"), new("quantile", "0.5")]),
            new Metric(family, 3, [], "_count"),
        ]);
        Assert.Equal("# HELP m back\\\\slash\\nnew line\n# TYPE m summary\nm{a=\"q\\\"b\\\\n\\n\",quantile=\"0.5\"} 0.5\nm_count 3\n", text);
    }
}
