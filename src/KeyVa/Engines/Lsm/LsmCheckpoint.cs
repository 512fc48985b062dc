using KeyVa.Io;
using KeyVa.Sessions;

namespace KeyVa.Engines.Lsm;

/// <summary>Writes a copy of a superversion's tables and value files, with a manifest of their own, to a new folder.</summary>
internal static class LsmCheckpoint
{
    private const int CopyBytes = 1 << 20;

    public static CheckpointResult Write(
        EngineContext context, Superversion superversion, string directory, IProgress<CheckpointProgress>? progress, CancellationToken cancellation)
    {
        IFileSystem files = context.FileSystem;
        files.CreateDirectory(directory);
        if (files.List(directory).Count > 0)
        {
            throw new StoreException($"a checkpoint needs an empty folder, and '{directory}' is not");
        }

        ManifestState state = new() { Mark = superversion.Durable, History = context.Snapshots.Retention.IsOn ? context.History.Mark : null };
        long done = 0;
        long total = superversion.Files.Sum(file => file.FileBytes);
        foreach (ValueFile file in superversion.Values.All)
        {
            LinkOrCopy(file);
            state.ValueFiles.Add(file.Id, file.Entry);
        }

        for (int level = 0; level < Superversion.Levels; level++)
        {
            foreach (SsTable table in level == 0 ? superversion.Level0 : superversion.Deeper[level].Tables)
            {
                LinkOrCopy(table);
                state.Tables.Add(table.Id, new ManifestTable(level, table.Id, table.FileBytes, table.Properties));
            }
        }

        SessionsFile.Write(files, directory, superversion.Durable.Index, superversion.Durable.Sessions);
        files.SyncDirectory(directory);
        Manifest.Create(files, directory, state).Dispose();
        if (Path.GetDirectoryName(directory) is { Length: > 0 } parent)
        {
            files.SyncDirectory(parent);
        }

        LogMark mark = superversion.Durable;
        return new CheckpointResult(mark.Index, mark.Version, mark.Stamp);

        void LinkOrCopy(EngineFile file)
        {
            cancellation.ThrowIfCancellationRequested();
            string target = Path.Combine(directory, Path.GetFileName(file.Path));
            if (!files.TryHardLink(file.Path, target))
            {
                Copy(files, file.Path, target, cancellation);
            }

            state.NextId = Math.Max(state.NextId, file.Id + 1);
            done += file.FileBytes;
            progress?.Report(new CheckpointProgress(done, total));
        }
    }

    /// <summary>Copies a file and syncs the copy.</summary>
    public static void Copy(IFileSystem files, string from, string to, CancellationToken cancellation)
    {
        using StorageFile source = files.Open(from, writable: false);
        using StorageFile target = files.Create(to);
        using NativeBuffer buffer = new(CopyBytes);
        Span<byte> piece = buffer.Append(CopyBytes);
        long at = 0;
        while (true)
        {
            cancellation.ThrowIfCancellationRequested();
            int read = source.Read(at, piece);
            if (read == 0)
            {
                break;
            }

            target.Write(at, piece[..read]);
            at += read;
        }

        target.Sync();
    }
}
