using System.Text;
using KeyVa.Cli;
using KeyVa.Cli.Shell;
using Xunit;

namespace KeyVa.Tests.Cli;

public sealed class KeyTextTests
{
    [Fact]
    public void AnyKeyCanBeWrittenInHexAndBase64()
    {
        for (int seed = 0; seed < 200; seed++)
        {
            Random random = new(seed);
            byte[] key = new byte[random.Next(1, 50)];
            random.NextBytes(key);
            foreach (KeyEncoding encoding in (KeyEncoding[])[KeyEncoding.Hex, KeyEncoding.Base64])
            {
                Assert.Equal(key, KeyText.ParseKey(KeyText.Format(key, encoding), encoding));
            }

            Assert.Equal(key, KeyText.ParseKey(Convert.ToBase64String(key).TrimEnd('=').Replace('+', '-').Replace('/', '_'), KeyEncoding.Base64));
        }
    }

    [Theory]
    [InlineData("", "Utf8", "empty")]
    [InlineData("abc", "Hex", "not hexadecimal")]
    [InlineData("zz", "Hex", "not hexadecimal")]
    [InlineData("a", "Base64", "not base64")]
    [InlineData("a*==", "Base64", "not base64")]
    [InlineData("a\uFFFD", "Utf8", "--key-encoding")]
    public void AWrongKeyIsAUsageErrorThatSaysWhatToDo(string text, string encoding, string message)
    {
        CommandException wrong = Assert.Throws<CommandException>(() => KeyText.ParseKey(text, Enum.Parse<KeyEncoding>(encoding)));
        Assert.Equal(ExitCode.Usage, wrong.Code);
        Assert.Contains(message, wrong.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AKeyHasAtMost8KiB()
    {
        Assert.Equal(8192, KeyText.ParseKey(new string('k', 8192), KeyEncoding.Utf8).Length);
        Assert.Throws<CommandException>(() => KeyText.ParseKey(new string('k', 8193), KeyEncoding.Utf8));
    }

    [Fact]
    public void EscapedTextIsOneLineAndTellsEveryByte()
    {
        Assert.Equal(@"a\n\r\t\\ü\x00\xff\xc2\x85", KeyText.Escape([.. "a\n\r\t\\ü\0"u8, 0xff, .. "\u0085"u8]));
        Assert.True(KeyText.IsPrintable("a\nb\tü漢"u8));
        Assert.False(KeyText.IsPrintable("\e[2J"u8));
        Assert.False(KeyText.IsPrintable([0xff]));
    }

    [Fact]
    public void EveryWordCanBeQuoted()
    {
        string[] pieces = ["a", " ", "\"", "'", "\\", "\n", "\t", "#", "ü", "\x01", "-", "x41"];
        for (int seed = 0; seed < 500; seed++)
        {
            Random random = new(seed);
            List<string> words = [];
            for (int i = random.Next(1, 4); i > 0; i--)
            {
                words.Add(string.Concat(Enumerable.Range(0, random.Next(6)).Select(_ => pieces[random.Next(pieces.Length)])));
            }

            List<string> read = [];
            Assert.Null(WordSplitter.Split(string.Join("  ", words.Select(WordSplitter.Quote)), read));
            Assert.Equal(words, read);
        }
    }

    [Fact]
    public void WordsAreSplitAsInAShell()
    {
        List<string> words = [];
        Assert.Null(WordSplitter.Split(@"set 'a b'c ""x \""y\"" \x41\n"" d\ e ''", words));
        Assert.Equal(["set", "a bc", "x \"y\" A\n", "d e", ""], words);
        Assert.NotNull(WordSplitter.Split("set 'a", words));
        Assert.NotNull(WordSplitter.Split("set \"a", words));
        Assert.NotNull(WordSplitter.Split("set \"\\xff\"", words));
    }

    [Theory]
    [InlineData("500ms", 500)]
    [InlineData("90s", 90_000)]
    [InlineData("1.5h", 5_400_000)]
    [InlineData("7d", 604_800_000)]
    public void TimesHaveUnits(string text, int milliseconds) =>
        Assert.Equal(milliseconds, TimeText.Parse(text, "--ttl").TotalMilliseconds);

    [Theory]
    [InlineData("90")]
    [InlineData("0s")]
    [InlineData("-1s")]
    [InlineData("1w")]
    [InlineData("s")]
    [InlineData("1e9d")]
    public void OtherTimesAreRefused(string text) => Assert.Throws<CommandException>(() => TimeText.Parse(text, "--ttl"));

    [Fact]
    public void ARecordInJsonIsTextOrBase64()
    {
        using MemoryStream stream = new();
        using System.Text.Json.Utf8JsonWriter json = new(stream, RecordJson.Options);
        json.WriteStartObject();
        RecordJson.WriteRecord(json, new Record { Key = "kü\""u8.ToArray(), Value = new byte[] { 0xff }, Version = 3, ModifiedUnixMilliseconds = 4, ExpiresAtUnixMilliseconds = 5 });
        json.WriteEndObject();
        json.Flush();
        Assert.Equal("{\"key\":\"kü\\\"\",\"value64\":\"/w==\",\"version\":3,\"modified\":4,\"expires\":5}", Encoding.UTF8.GetString(stream.ToArray()));
    }
}
