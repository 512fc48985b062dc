using KeyVa.Io;

namespace KeyVa.Fuzz;

/// <summary>A file: its bytes without the zeros at the end, and its whole length.</summary>
internal readonly record struct FileBytes(byte[] Bytes, long Length);

/// <summary>The files of a data folder, to be damaged and written into fresh file systems. Immutable.</summary>
internal sealed class DataFolder
{
    public const string Path = "/data";

    private readonly List<string> _directories = [];
    private readonly SortedDictionary<string, FileBytes> _files = new(StringComparer.Ordinal);

    public DataFolder(MemoryFileSystem files, string path = Path) => Take(files, path);

    /// <summary>The paths of all files.</summary>
    public IReadOnlyList<string> Files => [.. _files.Keys];

    public FileBytes this[string path] => _files[path];

    public static byte[] ReadAll(MemoryFileSystem files, string path)
    {
        using StorageFile file = files.Open(path, writable: false);
        byte[] bytes = new byte[file.Length];
        file.Read(0, bytes);
        return bytes;
    }

    /// <summary>A file system with these files, some of them replaced; null: the file is gone.</summary>
    public MemoryFileSystem Write(IReadOnlyDictionary<string, FileBytes?> replaced)
    {
        MemoryFileSystem files = new();
        foreach (string directory in _directories)
        {
            files.CreateDirectory(directory);
        }

        foreach ((string path, FileBytes original) in _files)
        {
            if ((replaced.TryGetValue(path, out FileBytes? other) ? other : original) is { } bytes)
            {
                using StorageFile file = files.Create(path);
                file.Write(0, bytes.Bytes);
                file.SetLength(bytes.Length);
            }
        }

        return files;
    }

    private void Take(MemoryFileSystem files, string directory)
    {
        _directories.Add(directory);
        foreach (string name in files.List(directory))
        {
            string path = $"{directory}/{name}";
            if (files.DirectoryExists(path))
            {
                Take(files, path);
            }
            else
            {
                byte[] bytes = ReadAll(files, path);
                int end = bytes.AsSpan().LastIndexOfAnyExcept((byte)0) + 1;
                _files[path] = new FileBytes(bytes[..end], bytes.Length);
            }
        }
    }
}
