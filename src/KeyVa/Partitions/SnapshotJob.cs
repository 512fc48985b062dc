using KeyVa.Engines;
using KeyVa.Io;

namespace KeyVa.Partitions;

/// <summary>
/// Writes a partition's checkpoint to a folder, on a background thread, and makes the folder a data folder by itself.
/// The catalog comes last, when all else is synced: a folder whose snapshot was broken off is no store.
/// </summary>
internal sealed class SnapshotJob : BackgroundJob
{
    private readonly StoreContext _context;
    private readonly Partition _partition;
    private readonly Catalog _catalog;
    private readonly string _directory;
    private readonly PartitionSnapshot _snapshot;
    private readonly CancellationToken _cancellation;

    /// <summary>The partition is pinned by the caller; the job lets go of it.</summary>
    public SnapshotJob(StoreContext context, Partition partition, Catalog catalog, string directory, PartitionSnapshot snapshot, CancellationToken cancellation)
        : base(JobPriority.Checkpoint)
    {
        _context = context;
        _partition = partition;
        _catalog = catalog;
        _directory = directory;
        _snapshot = snapshot;
        _cancellation = cancellation;
    }

    /// <summary>Notes, in the partition's order of writes, what the snapshot must contain, and queues the job.</summary>
    public void Begin() => _partition.Writer.Enter(new ExclusiveAction(writer =>
    {
        if (!_partition.Definition.IsVolatile)
        {
            writer.Engine.BeginFlush();
        }

        _context.Background.Schedule(this);
    }));

    public override void Run()
    {
        try
        {
            if (Prepare() is { } refusal)
            {
                _snapshot.Complete(new PartitionSnapshotResult(Status.Invalid, 0, 0, refusal));
                return;
            }

            _snapshot.Complete(Write());
        }
        catch (Exception failure) when (failure is StoreException or OperationCanceledException)
        {
            _snapshot.Fail(failure);
        }
        finally
        {
            _partition.Unpin();
        }
    }

    /// <summary>Null, or why the folder will not do.</summary>
    private string? Prepare()
    {
        IFileSystem files = _context.FileSystem;
        if (!Path.IsPathRooted(_directory))
        {
            return $"'{_directory}' is not an absolute path on the server's machine";
        }

        if (files.FileExists(_directory))
        {
            return $"'{_directory}' is a file; name a folder that does not exist yet or is empty";
        }

        if (files.DirectoryExists(_directory) && files.List(_directory).Count > 0)
        {
            return $"'{_directory}' is not empty; name a folder that does not exist yet or is empty";
        }

        return null;
    }

    private PartitionSnapshotResult Write()
    {
        IFileSystem files = _context.FileSystem;
        string engineDirectory = StoreContext.PartitionDirectoryOf(_directory, _partition.Id);
        files.CreateDirectory(StoreContext.JournalDirectoryOf(_directory));
        files.CreateDirectory(engineDirectory);
        var progress = new Progress(_snapshot);
        CheckpointResult result = _partition.Engine.Checkpoint(engineDirectory, progress, _cancellation);
        files.SyncDirectory(engineDirectory);
        files.SyncDirectory(StoreContext.PartitionsDirectoryOf(_directory));
        var catalog = new Catalog
        {
            StoreId = _catalog.StoreId,
            NextPartitionId = _partition.Id + 1,
            Version = result.Version,
            Stamp = result.Stamp,
            Partitions = [_partition.Definition with { IsVolatile = false }],

            // The copy has no files of them: opening it fills them again.
            NextIndexId = _catalog.NextIndexId,
            Indexes = [.. _catalog.Indexes.Where(static index => index.State != Indexes.IndexState.Dropping).Select(static index => index with { State = Indexes.IndexState.Building })],
        };
        catalog.Write(files, _directory);
        string? parent = Path.GetDirectoryName(_directory);
        if (parent is not null)
        {
            files.SyncDirectory(parent);
        }

        return new PartitionSnapshotResult(Status.Ok, result.Version, result.Index, null);
    }

    private sealed class Progress(PartitionSnapshot snapshot) : IProgress<CheckpointProgress>
    {
        public void Report(CheckpointProgress value) => snapshot.Report(value.BytesDone, value.BytesTotal);
    }
}
