using System.Text.RegularExpressions;
using Xunit;

namespace KeyVa.Tests.House;

/// <summary>Rules that the compiler does not know. Each names the files that break it.</summary>
public sealed partial class SourceTests
{
    private const int MostLines = 800;

    private static readonly string[] BannedWords =
        ["Manager", "Helper", "Helpers", "Util", "Utils", "Utility", "Utilities", "Common", "Wrapper"];

    // In two parts, so that this file keeps its own rules.
    private static readonly string[] Waits = ["Thread" + ".Sleep(", "Task" + ".Delay("];

    [Fact]
    public void NoFileIsLong() =>
        Check(["src", "tests", "bench"], static text => text.AsSpan().Count('\n') > MostLines, $"has more than {MostLines} lines");

    [Fact]
    public void NamesAreTermsOfTheField()
    {
        foreach (string path in Repository.Code("src", "tests", "bench"))
        {
            foreach (string part in path.Split('/', '.'))
            {
                Assert.False(WordsOf(part).Intersect(BannedWords).Any(), $"{path}: '{part}' says nothing");
            }
        }

        Assert.Equal(["Lsm", "Helper", "Type2"], WordsOf("LsmHelperType2"));
    }

    [Fact]
    public void TestsNeverSleep() =>
        Check(["tests"], static text => Waits.Any(wait => text.Contains(wait, StringComparison.Ordinal)), "waits for time to pass");

    [Fact]
    public void NothingIsLeftToDo()
    {
        Check(["src", "tests", "bench"], static text => ToDo().IsMatch(text), "has something to do in it");
        Assert.Matches(ToDo(), "// " + "TO" + "DO: later");
        Assert.DoesNotMatch(ToDo(), "what to do next");
    }

    [Fact]
    public void NoFailureIsSwallowed()
    {
        Check(["src"], static text => Swallows(text), "catches every exception and goes on as if nothing had happened");
        Assert.True(Swallows("try { } catch { }"));
        Assert.True(Swallows("try { } catch (Exception) { return; }"));
        Assert.True(Swallows("try { } catch (Exception e) { Log(1); }"));
        Assert.False(Swallows("try { } catch (Exception e) { Log(e); }"));
        Assert.False(Swallows("try { } catch { if (x) { y(); } throw; }"));
        Assert.False(Swallows("try { } catch (Exception e) when (e is IOException) { }"));
    }

    [Fact]
    public void NoPathOfAMachineStandsInAFile()
    {
        foreach (string path in Repository.Files().Where(static path => !path.EndsWith(".gz", StringComparison.Ordinal)))
        {
            Match found = MachinePath().Match(Repository.Read(path));
            Assert.False(found.Success, $"{path}: '{found.Value}'");
        }

        Assert.Matches(MachinePath(), "see /ho" + "me/ada/keyva");
    }

    // Catch-all blocks must throw on, or do something with the exception; what has a filter names what it means.
    private static bool Swallows(string text)
    {
        foreach (Match match in CatchAll().Matches(text))
        {
            string block = BlockAt(text, match.Index + match.Length - 1);
            string name = match.Groups["name"].Value;
            bool used = name.Length > 0 && Regex.IsMatch(block, $@"\b{name}\b");
            if (!used && !Regex.IsMatch(block, @"\bthrow\b"))
            {
                return true;
            }
        }

        return false;
    }

    private static string BlockAt(string text, int open)
    {
        int depth = 0;
        for (int i = open; i < text.Length; i++)
        {
            depth += text[i] switch { '{' => 1, '}' => -1, _ => 0 };
            if (depth == 0)
            {
                return text[open..i];
            }
        }

        return text[open..];
    }

    private static IEnumerable<string> WordsOf(string name) => Word().Matches(name).Select(static match => match.Value);

    private static void Check(string[] folders, Func<string, bool> isBad, string what)
    {
        string[] bad = [.. Repository.Code(folders).Where(path => isBad(Repository.Read(path)))];
        Assert.True(bad.Length == 0, $"{what}: {string.Join(", ", bad)}");
    }

    [GeneratedRegex(@"[A-Z]+[a-z0-9]*|[a-z0-9]+")]
    private static partial Regex Word();

    [GeneratedRegex(@"\b(TO[D]O|FIX[M]E|XX[X]|HA[C]K)\b")]
    private static partial Regex ToDo();

    [GeneratedRegex(@"\bcatch\s*(\(\s*(System\.)?Exception(\s+(?<name>\w+))?\s*\))?\s*\{")]
    private static partial Regex CatchAll();

    [GeneratedRegex(@"(?<![\w.$}~-])(/(?:home|root|Users|work)/\w|[A-Z]:\\\\?Users)")]
    private static partial Regex MachinePath();
}
