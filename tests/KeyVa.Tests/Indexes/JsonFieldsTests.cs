using System.Text;
using KeyVa.Indexes;
using Xunit;

namespace KeyVa.Tests.Indexes;

public sealed class JsonFieldsTests
{
    [Theory]
    [InlineData("a", "{\"a\":1}", "1")]
    [InlineData("a", "{\"a\":\"x\\u0041\\n\"}", "\"xA\\n\"")]
    [InlineData("$.a.b", "{\"a\":{\"c\":5,\"b\":true},\"b\":7}", "true")]
    [InlineData("a.b[1].c", "{\"a\":{\"b\":[{\"c\":1},{\"c\":2},{\"c\":3}]}}", "2")]
    [InlineData("['a.b'][\"c\"]", "{\"a.b\":{\"c\":null}}", "null")]
    [InlineData("a[*].b", "{\"a\":[{\"b\":2},{\"x\":0},{\"b\":1},{\"b\":2}]}", "1; 2")]
    [InlineData("a[*][*]", "{\"a\":[[1,2],[],[3]]}", "1; 2; 3")]
    [InlineData("[0]", "[false,true]", "false")]
    [InlineData("$", "\"alone\"", "\"alone\"")]
    [InlineData("a,b", "{\"b\":2,\"a\":1}", "1, 2")]
    [InlineData("a,b", "{\"b\":2}", "null, 2")]
    [InlineData("a[*]", "{\"a\":[]}", "null")]
    [InlineData("a[*]", "{\"a\":5}", "null")]
    [InlineData("a", "{\"a\":[1]}", "rejected")]
    [InlineData("a", "{\"a\":1", "rejected")]
    [InlineData("a", "{\"a\":1}x", "rejected")]
    [InlineData("a", "no json", "rejected")]
    [InlineData("a", "", "rejected")]
    [InlineData("a", "{\"a\":\"\\ud800\"}", "rejected")]
    [InlineData("a", "{\"a\":1e999999}", "rejected")]
    [InlineData("a,a.b", "{\"a\":{\"b\":1}}", "rejected")]
    [InlineData("a.b", "{\"a\":[{\"b\":1}]}", "null")]
    public void FieldsAreFound(string fields, string value, string expected) => Assert.Equal(expected, Read(fields, sparse: false, value));

    [Theory]
    [InlineData("a,b", "{\"b\":2}", "")]
    [InlineData("a,b", "{\"b\":2,\"a\":null}", "null, 2")]
    [InlineData("a[*]", "{\"a\":[]}", "")]
    public void ASparseIndexLeavesOutWhatIsMissing(string fields, string value, string expected) => Assert.Equal(expected, Read(fields, sparse: true, value));

    [Theory]
    [InlineData("")]
    [InlineData(".a")]
    [InlineData("a..b")]
    [InlineData("a[")]
    [InlineData("a[-1]")]
    [InlineData("a['b]")]
    [InlineData("a['b'")]
    [InlineData("a]b")]
    [InlineData("a*")]
    [InlineData("$a")]
    public void APathThatCannotBeReadIsRefused(string path) => Assert.NotNull(IndexPath.Parse(path, out _));

    [Theory]
    [InlineData("a", "rejected")]
    [InlineData("b", "1")]
    public void AStringThatIsNoUtf8IsRejectedWhereItIsIndexed(string field, string expected)
    {
        foreach (string escape in new[] { "", "\\n" })
        {
            byte[] value = [.. "{\"a\":\"x"u8, 0xff, .. Encoding.UTF8.GetBytes(escape), .. "\",\"b\":1}"u8];
            Assert.Equal(expected, Read(field, sparse: false, value));
        }
    }

    [Fact]
    public void DeepJsonIsRejected()
    {
        string deep = string.Concat(Enumerable.Repeat("{\"a\":", 100)) + "1" + new string('}', 100);
        Assert.Equal("rejected", Read("b", sparse: false, deep));
    }

    [Fact]
    public void AnyBytesGiveEntriesOrARejection()
    {
        int seed = Environment.TickCount;
        var random = new Random(seed);
        byte[] sample = Encoding.UTF8.GetBytes("{\"a\":{\"b\":[1,2.5e3,\"x\\u00e9\\ud83d\\ude00\",null,true,{\"c\":[[]]}]},\"t\":[\"p\",\"q\"],\"n\":-12}");
        IndexDefinition definition = new() { Name = "x", Fields = ["a.b[2]", "t[*]", "n"] };
        RecordReader reader = new(definition, null);
        IndexEntries entries = new();
        for (int round = 0; round < 20_000; round++)
        {
            byte[] mutated = [.. sample];
            for (int change = random.Next(4); change >= 0; change--)
            {
                mutated[random.Next(mutated.Length)] = random.Next(3) == 0 ? (byte)random.Next(256) : sample[random.Next(sample.Length)];
            }

            ReadOnlySpan<byte> value = mutated.AsSpan(0, random.Next(5) == 0 ? random.Next(mutated.Length) : mutated.Length);
            reader.Read("key"u8, value, entries);
            Assert.True(entries.Count >= 1, $"seed {seed}, round {round}");
            for (int i = 0; i < entries.Count; i++)
            {
                Assert.True(entries[i].EndsWith("key"u8), $"seed {seed}, round {round}");
                Assert.True(i == 0 || entries[i - 1].SequenceCompareTo(entries[i]) < 0, $"seed {seed}, round {round}");
            }
        }
    }

    private static string Read(string fields, bool sparse, string value) => Read(fields, sparse, Encoding.UTF8.GetBytes(value));

    private static string Read(string fields, bool sparse, byte[] value)
    {
        IndexDefinition definition = new() { Name = "x", Fields = fields.Split(','), Sparse = sparse };
        Assert.Null(StoredIndex.Check(definition));
        IndexEntries entries = new();
        new RecordReader(definition, null).Read("k"u8, value, entries);
        return entries.IsRejected ? "rejected" : string.Join("; ", Enumerable.Range(0, entries.Count).Select(i => IndexValueText.OfTuple(entries[i][..^1])));
    }
}
