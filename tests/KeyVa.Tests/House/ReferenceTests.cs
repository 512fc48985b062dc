using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Xml.Linq;
using Xunit;

namespace KeyVa.Tests.House;

/// <summary>Who may know whom, in the project files and in what was built from them; and what dependencies look like.</summary>
public sealed class ReferenceTests
{
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["KeyVa"] = [],
        ["KeyVa.Raft"] = [],
        ["KeyVa.Protocol"] = [],
        ["KeyVa.Client"] = ["KeyVa", "KeyVa.Protocol"],
        ["KeyVa.Hosting"] = ["KeyVa", "KeyVa.Client"],
        ["KeyVa.Cluster"] = ["KeyVa", "KeyVa.Raft"],
        ["KeyVa.Server"] = ["KeyVa.Cluster", "KeyVa.Protocol"],
        ["KeyVa.Cli"] = ["KeyVa.Client", "KeyVa.Server"],
    };

    [Fact]
    public void ProjectsReferenceWhatTheyMayAndNothingElse()
    {
        Dictionary<string, string[]> found = Repository.Files("src")
            .Where(static path => path.EndsWith(".csproj", StringComparison.Ordinal))
            .ToDictionary(static path => Path.GetFileNameWithoutExtension(path), static path => Values(path, "ProjectReference", "Include")
                .Select(static reference => Path.GetFileNameWithoutExtension(reference))
                .Order(StringComparer.Ordinal)
                .ToArray());
        Assert.Equal(Allowed.Keys.Order(StringComparer.Ordinal), found.Keys.Order(StringComparer.Ordinal));
        foreach ((string project, string[] references) in Allowed)
        {
            Assert.True(references.SequenceEqual(found[project]), $"{project} references {string.Join(", ", found[project])}");
        }
    }

    [Fact]
    public void AssembliesReferenceNothingBeyondTheirProjects()
    {
        foreach (string project in Allowed.Keys)
        {
            string[] strangers = [.. References(project)
                .Where(static name => name.StartsWith("KeyVa", StringComparison.Ordinal))
                .Except(Closure(project))];
            Assert.True(strangers.Length == 0, $"{project}.dll references {string.Join(", ", strangers)}");
        }

        // The check sees what is there.
        Assert.Contains("KeyVa.Server", References("KeyVa.Cli"));
    }

    [Theory]
    [InlineData("KeyVa")]
    [InlineData("KeyVa.Raft")]
    public void TheStoreAndTheConsensusCoreNeedTheBaseLibraryOnly(string project)
    {
        string[] strangers = [.. References(project).Where(static name => !name.StartsWith("System.", StringComparison.Ordinal))];
        Assert.True(strangers.Length == 0, $"{project}.dll references {string.Join(", ", strangers)}");
        Assert.Empty(Values($"src/{project}/{project}.csproj", "PackageReference", "Include"));
        Assert.Empty(Values($"src/{project}/{project}.csproj", "FrameworkReference", "Include"));
    }

    [Fact]
    public void EveryPackageHasOneExactVersion()
    {
        XElement[] versions = [.. XDocument.Parse(Repository.Read("Directory.Packages.props")).Descendants("PackageVersion")];
        Assert.NotEmpty(versions);
        foreach (XElement version in versions)
        {
            Assert.True(
                version.Attribute("Version")?.Value is ['[', .. var exact, ']'] && exact.All(static c => c is (>= '0' and <= '9') or '.'),
                $"{version} is no exact version; write [1.2.3]");
        }

        foreach (string project in Repository.Files().Where(static path => path.EndsWith(".csproj", StringComparison.Ordinal)))
        {
            Assert.True(!Values(project, "PackageReference", "Version").Any(), $"{project} has a version of its own");
        }
    }

    internal static string PathOf(string assembly) => Path.Combine(AppContext.BaseDirectory, assembly + ".dll");

    private static IEnumerable<string> Values(string project, string element, string attribute) =>
        XDocument.Parse(Repository.Read(project)).Descendants(element).Select(one => one.Attribute(attribute)?.Value).OfType<string>();

    private static HashSet<string> Closure(string project)
    {
        HashSet<string> all = [.. Allowed[project]];
        foreach (string reference in Allowed[project])
        {
            all.UnionWith(Closure(reference));
        }

        return all;
    }

    private static List<string> References(string assembly)
    {
        using PEReader file = new(File.OpenRead(PathOf(assembly)));
        MetadataReader metadata = file.GetMetadataReader();
        return [.. metadata.AssemblyReferences.Select(handle => metadata.GetString(metadata.GetAssemblyReference(handle).Name))];
    }
}
