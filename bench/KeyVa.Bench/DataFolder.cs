namespace KeyVa.Bench;

/// <summary>An empty folder for one target; gone, and everything on disk, when it is disposed.</summary>
internal sealed class DataFolder : IDisposable
{
    public DataFolder(string root, string name)
    {
        Path = System.IO.Path.GetFullPath(System.IO.Path.Combine(root, name));
        Remove();
        Directory.CreateDirectory(Path);
        Native.SyncDisks();
    }

    public string Path { get; }

    public void Dispose()
    {
        Remove();
        Native.SyncDisks();
    }

    /// <summary>Bytes of all its files.</summary>
    public long Bytes() => Directory
        .EnumerateFiles(Path, "*", SearchOption.AllDirectories)
        .Sum(file => new FileInfo(file).Length);

    private void Remove()
    {
        if (Directory.Exists(Path))
        {
            Directory.Delete(Path, recursive: true);
        }
    }
}
