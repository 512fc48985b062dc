namespace KeyVa.Tests.House;

/// <summary>The repository these tests were built from. Stateless.</summary>
internal static class Repository
{
    // Built, installed or written by runs; not part of what is kept.
    private static readonly string[] NotKept = ["bin", "obj", "artifacts", "node_modules", "data", "TestResults", "__pycache__"];

    /// <summary>The folder with the solution.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>All files below a folder of the repository that are kept, by path relative to <see cref="Root"/>.</summary>
    public static IEnumerable<string> Files(string folder = ".") => Walk(Path.GetFullPath(Path.Combine(Root, folder)))
        .Select(path => Path.GetRelativePath(Root, path))
        .Order(StringComparer.Ordinal);

    /// <summary>The code of src, tests and bench.</summary>
    public static IEnumerable<string> Code(params string[] folders) => folders
        .SelectMany(Files)
        .Where(static path => path.EndsWith(".cs", StringComparison.Ordinal));

    public static string Read(string path) => File.ReadAllText(Path.Combine(Root, path));

    private static IEnumerable<string> Walk(string folder)
    {
        foreach (string path in Directory.EnumerateFiles(folder))
        {
            // In a second work tree, .git is a file.
            if (Path.GetFileName(path) != ".git")
            {
                yield return path;
            }
        }

        foreach (string inner in Directory.EnumerateDirectories(folder))
        {
            string name = Path.GetFileName(inner);
            // .ci is kept; other hidden folders belong to tools.
            if (!NotKept.Contains(name) && (name[0] != '.' || name == ".ci"))
            {
                foreach (string path in Walk(inner))
                {
                    yield return path;
                }
            }
        }
    }

    private static string FindRoot()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "KeyVa.slnx")))
        {
            folder = Path.GetDirectoryName(folder);
        }

        return folder ?? throw new InvalidOperationException($"no KeyVa.slnx above {AppContext.BaseDirectory}; run the tests where they were built");
    }
}
