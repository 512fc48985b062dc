using System.Text;
using Xunit;

namespace KeyVa.Tests.Merges;

public sealed class JsonMergeTests
{
    /// <summary>The examples of RFC 7396, appendix A.</summary>
    [Theory]
    [InlineData("""{"a":"b"}""", """{"a":"c"}""", """{"a":"c"}""")]
    [InlineData("""{"a":"b"}""", """{"b":"c"}""", """{"a":"b","b":"c"}""")]
    [InlineData("""{"a":"b"}""", """{"a":null}""", """{}""")]
    [InlineData("""{"a":"b","b":"c"}""", """{"a":null}""", """{"b":"c"}""")]
    [InlineData("""{"a":["b"]}""", """{"a":"c"}""", """{"a":"c"}""")]
    [InlineData("""{"a":"c"}""", """{"a":["b"]}""", """{"a":["b"]}""")]
    [InlineData("""{"a":{"b":"c"}}""", """{"a":{"b":"d","c":null}}""", """{"a":{"b":"d"}}""")]
    [InlineData("""{"a":[{"b":"c"}]}""", """{"a":[1]}""", """{"a":[1]}""")]
    [InlineData("""["a","b"]""", """["c","d"]""", """["c","d"]""")]
    [InlineData("""{"a":"b"}""", """["c"]""", """["c"]""")]
    [InlineData("""{"a":"foo"}""", """null""", """null""")]
    [InlineData("""{"a":"foo"}""", "\"bar\"", "\"bar\"")]
    [InlineData("""{"e":null}""", """{"a":1}""", """{"e":null,"a":1}""")]
    [InlineData("""[1,2]""", """{"a":"b","c":null}""", """{"a":"b"}""")]
    [InlineData("""{}""", """{"a":{"bb":{"ccc":null}}}""", """{"a":{"bb":{}}}""")]
    public void TheExamplesOfTheStandard(string existing, string patch, string result) =>
        Assert.Equal(result, MergeCall.Of(MergeFunction.JsonMergePatch, existing, patch));

    /// <summary>The example of RFC 7396, section 3.</summary>
    [Fact]
    public void TheDocumentOfTheStandard()
    {
        const string Existing = """
            {"title":"Goodbye!","author":{"givenName":"John","familyName":"Doe"},"tags":["example","sample"],"content":"This will be unchanged"}
            """;
        const string Patch = """
            {"title":"Hello!","phoneNumber":"+01-123-456-7890","author":{"familyName":null},"tags":["example"]}
            """;
        Assert.Equal(
            """{"title":"Hello!","author":{"givenName":"John"},"tags":["example"],"content":"This will be unchanged","phoneNumber":"+01-123-456-7890"}""",
            MergeCall.Of(MergeFunction.JsonMergePatch, Existing, Patch));
    }

    [Theory]
    [InlineData(null, """{"a":{"b":null,"c":1}}""", """{"a":{"c":1}}""")]
    [InlineData(null, "1", "1")]
    [InlineData("""{"n": 1e400, "big":123456789012345678901234567890, "s":"\u00e9"}""", """{"x":1}""", """{"n":1e400,"big":123456789012345678901234567890,"s":"\u00e9","x":1}""")]
    [InlineData("""{"a":1,"b":2,"a":3}""", """{"b":null}""", """{"a":3}""")]
    [InlineData("""{"a":{"a":1,"a":2}}""", """{"b":0}""", """{"a":{"a":1,"a":2},"b":0}""")]
    [InlineData("""{"ä\n":1}""", """{"\u00e4\n":2}""", """{"ä\n":2}""")]
    [InlineData("""{"a":1}""", """{"a":1,"a":null}""", """{}""")]
    public void WhatThePatchDoesNotNameKeepsItsText(string? existing, string patch, string result) =>
        Assert.Equal(result, MergeCall.Of(MergeFunction.JsonMergePatch, existing, patch));

    [Theory]
    [InlineData("{}", "", "!the operand is no JSON")]
    [InlineData("{}", "{", "!the operand is no JSON")]
    [InlineData("{}", "{} {}", "!the operand is no JSON")]
    [InlineData("", "{}", "!the key's value is no JSON")]
    [InlineData("text", "{}", "!the key's value is no JSON")]
    [InlineData("""{"\ud800":1}""", "{}", "!the name of a member")]
    [InlineData("{}", """{"\ud800":1}""", "!the name of a member")]
    public void WhatIsNoJsonIsRefused(string existing, string patch, string because) =>
        Assert.StartsWith(because, MergeCall.Of(MergeFunction.JsonMergePatch, existing, patch), StringComparison.Ordinal);

    [Theory]
    [InlineData(null, "[1,2,1]", "[1,2]")]
    [InlineData("[]", "[]", "[]")]
    [InlineData("[3,1]", "[1,2,3]", "[3,1,2]")]
    [InlineData("[1]", "[1.0,1e0,10e-1,0.1E+1,-1]", "[1,-1]")]
    [InlineData("[0]", "[-0,0.0,0e99999999999999999999]", "[0]")]
    [InlineData("[9007199254740993]", "[9007199254740992]", "[9007199254740993,9007199254740992]")]
    [InlineData("""["é"]""", """["\u00e9","e"]""", """["é","e"]""")]
    [InlineData("""[{"a":1,"b":[2]}]""", """[{"b":[2.0],"a":1},{"a":1}]""", """[{"a":1,"b":[2]},{"a":1}]""")]
    [InlineData("""[[1,2]]""", """[[2,1],[1,2]]""", """[[1,2],[2,1]]""")]
    [InlineData("""["1","null","[]"]""", """[1,null,[],"1",true,false]""", """["1","null","[]",1,null,[],true,false]""")]
    [InlineData("[1e999999999999999999999]", "[1e999999999999999999999,1e99999999999999999999]", "[1e999999999999999999999,1e99999999999999999999]")]
    [InlineData("""[{"a":"1\"b"}]""", """[{"a":"1"},{"a":"1\"b"}]""", """[{"a":"1\"b"},{"a":"1"}]""")]
    public void AUnionHasEachValueOnce(string? existing, string operand, string union)
    {
        Assert.Equal(union, MergeCall.Of(MergeFunction.SetUnion, existing, operand));
        Assert.Equal(union, MergeCall.Of(MergeFunction.SetUnion, union, operand));
    }

    [Theory]
    [InlineData("{}", "[]", "!the key's value is no JSON array")]
    [InlineData("[", "[]", "!the key's value is no JSON array")]
    [InlineData("[]", "1", "!the operand is no JSON array")]
    [InlineData("[]", "[1]]", "!the operand is no JSON array")]
    [InlineData("[]", """["\udc00"]""", "!a text")]
    public void WhatIsNoArrayIsRefused(string existing, string operand, string because) =>
        Assert.StartsWith(because, MergeCall.Of(MergeFunction.SetUnion, existing, operand), StringComparison.Ordinal);

    [Fact]
    public void DepthIsBounded()
    {
        foreach ((int depth, bool fits) in new[] { (64, true), (65, false), (100_000, false) })
        {
            string nested = new string('[', depth) + new string(']', depth);
            Assert.Equal(fits, MergeCall.Of(MergeFunction.SetUnion, "[]", nested)[0] != '!');
            string patch = string.Concat(Enumerable.Repeat("{\"a\":", depth)) + "1" + new string('}', depth);
            Assert.Equal(fits, MergeCall.Of(MergeFunction.JsonMergePatch, "{}", patch)[0] != '!');
            Assert.Equal(fits, MergeCall.Of(MergeFunction.JsonMergePatch, patch, "{}")[0] != '!');
        }
    }

    [Fact]
    public void ManyMembersAndElementsTakeTimeInProportion()
    {
        // Quadratic work would take minutes here, not a moment.
        const int Count = 60_000;
        string members = "{" + string.Join(',', Enumerable.Range(0, Count).Select(static i => $"\"member{i}\":{i}")) + "}";
        Assert.Equal(members, MergeCall.Of(MergeFunction.JsonMergePatch, members, members));
        string elements = "[" + string.Join(',', Enumerable.Range(0, Count)) + "]";
        Assert.Equal(elements, MergeCall.Of(MergeFunction.SetUnion, elements, elements));
        string zeros = "[1" + new string('0', 500_000) + "e-500000]";
        Assert.Equal("[1]", MergeCall.Of(MergeFunction.SetUnion, "[1]", zeros));
    }

    [Fact]
    public void BytesThatAreNoTextAreRefused()
    {
        byte[] invalid = [.. "{\"a\":\""u8, 0xFF, .. "\"}"u8];
        Assert.Contains("UTF-8", MergeCall.Of(MergeFunction.JsonMergePatch, invalid, "{}"u8.ToArray()), StringComparison.Ordinal);
        Assert.Contains("UTF-8", MergeCall.Of(MergeFunction.SetUnion, Encoding.UTF8.GetBytes("[]"), [(byte)'[', (byte)'"', 0xC0, (byte)'"', (byte)']']), StringComparison.Ordinal);
    }
}
