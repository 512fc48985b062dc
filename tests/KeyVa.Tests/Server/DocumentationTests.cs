using System.Text;
using KeyVa.Server;
using KeyVa.Tests.Grpc;
using Xunit;

namespace KeyVa.Tests.Server;

/// <summary>The table of settings in the documentation is the schema's, word by word.</summary>
public sealed class DocumentationTests
{
    [Fact]
    public void TheSettingsAreDocumented()
    {
        StringBuilder table = new("| setting | default | allowed | what it does |\n|---|---|---|---|\n");
        foreach (Setting setting in SettingsSchema.All)
        {
            table.Append($"| `{setting.Name}`, `{setting.Flag}`, `{setting.EnvironmentVariable}` | `{setting.Default}` ")
                .Append($"| {setting.Allowed.Replace("*", "`*`", StringComparison.Ordinal)} | {setting.Description} |\n");
        }

        string file = Path.Combine(StockClient.Root, "docs", "interfaces.md");
        Assert.True(File.ReadAllText(file).Contains(table.ToString(), StringComparison.Ordinal), $"{file} should have:\n{table}");
    }
}
