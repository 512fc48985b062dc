using KeyVa.Io;

namespace KeyVa.Tests.Stores;

/// <summary>The files of a folder, to be damaged and written into fresh file systems. Immutable.</summary>
internal sealed class FolderImage
{
    private readonly List<string> _directories = [];
    private readonly SortedDictionary<string, byte[]> _files = new(StringComparer.Ordinal);

    public FolderImage(IFileSystem files, string directory, Func<string, bool>? leaveOut = null) => Take(files, directory, leaveOut ?? (static _ => false));

    public IReadOnlyCollection<string> Files => _files.Keys;

    public byte[] this[string path] => _files[path];

    /// <summary>A file system with these files; <paramref name="change"/> gives other bytes for a path, or null to leave it out.</summary>
    public MemoryFileSystem Write(Func<string, byte[], byte[]?>? change = null)
    {
        MemoryFileSystem files = new();
        foreach (string directory in _directories)
        {
            files.CreateDirectory(directory);
        }

        foreach ((string path, byte[] original) in _files)
        {
            if ((change is null ? original : change(path, original)) is { } bytes)
            {
                int end = bytes.AsSpan().LastIndexOfAnyExcept((byte)0) + 1;
                using StorageFile file = files.Create(path);
                file.Write(0, bytes.AsSpan(0, end));
                file.SetLength(bytes.Length);
            }
        }

        return files;
    }

    private void Take(IFileSystem files, string directory, Func<string, bool> leaveOut)
    {
        _directories.Add(directory);
        foreach (string name in files.List(directory))
        {
            string path = $"{directory}/{name}";
            if (files.DirectoryExists(path))
            {
                Take(files, path, leaveOut);
            }
            else if (!leaveOut(name))
            {
                using StorageFile file = files.Open(path, writable: false);
                byte[] bytes = new byte[file.Length];
                file.Read(0, bytes);
                _files[path] = bytes;
            }
        }
    }
}
