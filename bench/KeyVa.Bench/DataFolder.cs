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
    public long Bytes() => Files().Sum(file => new FileInfo(file).Length);

    /// <summary>Bytes of disk its files take, as the file system counts them: what is preallocated counts, a hole does not.</summary>
    public long AllocatedBytes() => Files().Sum(Native.AllocatedBytes);

    /// <summary>Writes its files to disk and drops them from the page cache.</summary>
    public void DropFromPageCache()
    {
        Native.SyncDisks();
        foreach (string file in Files())
        {
            Native.DropFromPageCache(file);
        }
    }

    /// <summary>Copies its files and folders, empty ones too, into another.</summary>
    public void CopyTo(DataFolder other)
    {
        foreach (string folder in Directory.EnumerateDirectories(Path, "*", SearchOption.AllDirectories))
        {
            Directory.CreateDirectory(In(other, folder));
        }

        foreach (string file in Files())
        {
            File.Copy(file, In(other, file), overwrite: true);
        }
    }

    /// <summary>Every file, even while a store removes some of them.</summary>
    public IEnumerable<string> Files() => Directory.EnumerateFiles(
        Path,
        "*",
        new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.None });

    private string In(DataFolder other, string path) => System.IO.Path.Combine(other.Path, System.IO.Path.GetRelativePath(Path, path));

    private void Remove()
    {
        if (Directory.Exists(Path))
        {
            Directory.Delete(Path, recursive: true);
        }
    }
}
