using System.Text.RegularExpressions;
using Xunit;

namespace KeyVa.Tests.House;

/// <summary>The crash matrix of docs/durability.md: each row has a cell for every durability, and names tests that exist.</summary>
public sealed partial class CrashMatrixTests
{
    [Fact]
    public void EveryRowNamesTestsThatExist()
    {
        string[] rows = [.. Repository.Read("docs/durability.md").Split('\n').SkipWhile(static line => !line.StartsWith("| fault |", StringComparison.Ordinal)).Skip(2).TakeWhile(static line => line.StartsWith('|'))];
        Assert.True(rows.Length >= 12, $"{rows.Length} rows");
        HashSet<string> tests = [.. Tests()];
        foreach (string row in rows)
        {
            string[] cells = [.. row.Split('|').Skip(1).SkipLast(1).Select(static cell => cell.Trim())];
            Assert.True(cells.Length == 7, row);
            Assert.All(cells[..4], cell => Assert.NotEmpty(cell));
            string[] named = [.. Name().Matches(cells[6]).Select(static match => match.Groups[1].Value)];
            Assert.NotEmpty(named);
            Assert.All(named, name => Assert.Contains(name, tests));
        }
    }

    /// <summary>Class.Method of every method with [Fact] or [Theory] in the tests.</summary>
    private static IEnumerable<string> Tests() => Repository.Code("tests").SelectMany(static path =>
        Test().Matches(Repository.Read(path)).Select(match => $"{Path.GetFileNameWithoutExtension(path)}.{match.Groups[1].Value}"));

    [GeneratedRegex(@"`(\w+\.\w+)`")]
    private static partial Regex Name();

    [GeneratedRegex(@"\[(?:Fact|Theory)\](?:\s*\[[^\n]*\])*\s*public (?:async Task|void) (\w+)\(")]
    private static partial Regex Test();
}
