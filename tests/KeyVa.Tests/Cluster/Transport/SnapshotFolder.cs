using KeyVa.Cluster.Transport;
using KeyVa.Io;

namespace KeyVa.Tests.Cluster.Transport;

/// <summary>Takes snapshots into folders of a file system in memory.</summary>
internal sealed class SnapshotFolder(IFileSystem files) : ISnapshotReceiver
{
    private readonly TaskCompletionSource<bool> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _number;

    public IFileSystem Files => files;

    /// <summary>Whether offers are wanted.</summary>
    public bool IsWilling { get; set; } = true;

    /// <summary>What the receiver says when all is there.</summary>
    public bool IsContent { get; set; } = true;

    /// <summary>The head of the last offer.</summary>
    public byte[]? Head { get; private set; }

    public string? Directory { get; private set; }

    /// <summary>How the first stream ended.</summary>
    public Task<bool> Ended => _ended.Task.WaitAsync(TimeSpan.FromSeconds(60));

    public string? Begin(ulong peer, ReadOnlySpan<byte> head)
    {
        Head = head.ToArray();
        if (!IsWilling)
        {
            return null;
        }

        Directory = $"/incoming-{++_number}";
        files.CreateDirectory(Directory);
        files.SyncDirectory("/");
        return Directory;
    }

    public bool End(ulong peer, string directory, bool complete)
    {
        _ended.TrySetResult(complete);
        return IsContent;
    }

    public byte[] Read(string name)
    {
        using StorageFile file = files.Open($"{Directory}/{name}", writable: false);
        byte[] bytes = new byte[file.Length];
        file.Read(0, bytes);
        return bytes;
    }

    /// <summary>Files of these sizes, with bytes that tell places apart.</summary>
    public static List<SnapshotFile> Make(MemoryFileSystem files, params int[] sizes)
    {
        files.CreateDirectory("/source");
        List<SnapshotFile> made = [];
        Random random = new(7);
        for (int i = 0; i < sizes.Length; i++)
        {
            byte[] bytes = new byte[sizes[i]];
            random.NextBytes(bytes);
            string path = $"/source/{i:D6}.sst";
            using StorageFile file = files.Create(path);
            file.Write(0, bytes);
            made.Add(new SnapshotFile($"{i:D6}.sst", path));
        }

        return made;
    }

    public static byte[] Bytes(IFileSystem files, string path)
    {
        using StorageFile file = files.Open(path, writable: false);
        byte[] bytes = new byte[file.Length];
        file.Read(0, bytes);
        return bytes;
    }
}
