using KeyVa.Engines.Lsm;
using KeyVa.Io;
using KeyVa.Partitions;

namespace KeyVa.Engines;

/// <summary>What an engine gets from the store that opens it. Immutable.</summary>
internal sealed class EngineContext
{
    public required IFileSystem FileSystem { get; init; }

    /// <summary>The engine's own folder; it exists.</summary>
    public required string Directory { get; init; }

    public required EngineOptions Options { get; init; }

    public required IBackgroundWork Background { get; init; }

    /// <summary>Open snapshots of the whole store: the oldest bounds what the engine may forget.</summary>
    public required SnapshotList Snapshots { get; init; }

    /// <summary>What of the past the engine still has.</summary>
    public HistoryFloor History { get; } = new();

    /// <summary>The block cache that all partitions share.</summary>
    public required BlockCache BlockCache { get; init; }

    public required TimeProvider Time { get; init; }

    /// <summary>No files at all: the partition is lost at exit, and the journal is not used for it.</summary>
    public bool Volatile { get; init; }

    /// <summary>
    /// Makes durable everything the log was given so far. An engine calls it, on a background thread, before it puts new
    /// files into effect: files must never hold what the log could still lose, or a power loss would leave a state that
    /// is no prefix of the log (and half of a commit over several partitions). Throws if the log has stopped.
    /// </summary>
    public Action? SyncLog { get; init; }

    /// <summary>
    /// Called on the writer, before the engine sets aside what it has applied so far in order to write it to its files: whatever
    /// follows the engine does the same.
    /// </summary>
    public Action? Rotating { get; init; }

    /// <summary>
    /// Called on a background thread before files take effect that hold the log up to this index: what follows the engine must
    /// not be behind it, and moves as much into files of its own. Throws if it cannot.
    /// </summary>
    public Action<long>? BeforeDurable { get; init; }

    /// <summary>Of an engine that follows another one: the oldest that may be asked for beside open snapshots. Null: what it shows itself.</summary>
    public Func<Horizon>? Retained { get; init; }

    /// <summary>
    /// Whether new files may hold what the log could still lose: where no other partition shares the log, the files
    /// of the only one are themselves a prefix of it, and the log goes on behind them. Null: they may not.
    /// </summary>
    public Func<bool>? FilesMayPassLog { get; init; }

    /// <summary>Does what has to be done to the log before new files of the engine take effect. On a background thread; throws if the log has stopped.</summary>
    public void SyncLogBeforeFiles()
    {
        if (FilesMayPassLog?.Invoke() != true)
        {
            SyncLog?.Invoke();
        }
    }

    /// <summary>What compactions may write per second, all partitions together; null: no limit.</summary>
    public CompactionRate? CompactionRate { get; init; }

    /// <summary>
    /// Calls <see cref="Engine.Settle"/> on the partition's writer; if told so, after it has logged and applied an empty group,
    /// so that the log's stamp moves though nobody writes. On a background thread; it may wait for the disk. Null: nobody does that.
    /// </summary>
    public Action<bool>? Settle { get; init; }

    /// <summary>
    /// Has the partition's writer call <see cref="Engine.BeginFlush"/> as soon as it can; never blocks. Called on a
    /// background thread, when this engine's memtable is the one to go so that the store stays within its memory.
    /// </summary>
    public Action? RequestFlush { get; init; }

    /// <summary>Called, on a background thread, after the engine's durable index has risen.</summary>
    public Action? DurableAdvanced { get; init; }
}
