using System.Text.Json;
using System.Text.RegularExpressions;
using KeyVa.Measurements;
using KeyVa.Server;
using KeyVa.Tests.House;
using Xunit;

namespace KeyVa.Tests.Server;

/// <summary>
/// The pages that follow from tables of the program are what the program prints, word by word. After a change that is meant,
/// <c>KEYVA_REWRITE=1</c> (or <c>make docs</c>) writes them anew.
/// </summary>
public sealed partial class DocumentationTests
{
    [Fact]
    public void TheSettingsAreDocumented() => Check("docs/configuration.md", ConfigurationReference.Markdown());

    [Fact]
    public void TheMetricsAreDocumented() => Check("docs/metrics.md", MetricsReference.Markdown());

    [Fact]
    public void TheDashboardAsksForMetricsThatThereAre()
    {
        HashSet<string> names = [.. MetricList.Catalogue().Select(static metric => metric.Name)];
        JsonElement dashboard = JsonDocument.Parse(Repository.Read("deploy/grafana/keyva.json")).RootElement;
        string[] queries = [.. Queries(dashboard)];
        Assert.True(queries.Length >= 15, $"{queries.Length} queries");
        foreach (string query in queries)
        {
            string[] asked = [.. MetricName().Matches(query).Select(static match => match.Value)];
            Assert.NotEmpty(asked);
            Assert.All(asked, name => Assert.True(names.Contains(name), $"'{query}': there is no metric {name}"));
        }
    }

    [Fact]
    public void InstrumentsHaveNamesOfTheirOwn()
    {
        string[] names = [.. MetricList.Catalogue().GroupBy(static metric => metric.Name)
            .Select(static group => group.First().Suffix.Length > 0 ? MetricInstruments.CountOf(group.First().Family) : group.First().Family.Instrument)];
        Assert.Equal(names.Length, names.Distinct().Count());
        Assert.All(names, static name => Assert.Matches("^keyva(\\.[a-z][a-z0-9_]*)+$", name));
    }

    private static void Check(string file, string expected)
    {
        string path = Path.Combine(Repository.Root, file);
        if (Environment.GetEnvironmentVariable("KEYVA_REWRITE") == "1")
        {
            File.WriteAllText(path, expected);
        }

        Assert.True(File.Exists(path), $"{file} is missing; 'make docs' writes it");
        Assert.Equal(expected, File.ReadAllText(path));
    }

    private static IEnumerable<string> Queries(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => element.EnumerateObject().SelectMany(static member =>
            member.Name == "expr" ? [member.Value.GetString()!] : Queries(member.Value)),
        JsonValueKind.Array => element.EnumerateArray().SelectMany(Queries),
        _ => [],
    };

    [GeneratedRegex("keyva_[a-z0-9_]+")]
    private static partial Regex MetricName();
}
