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

    /// <summary>The block cache that all partitions share.</summary>
    public required BlockCache BlockCache { get; init; }

    public required TimeProvider Time { get; init; }

    /// <summary>No files at all: the partition is lost at exit, and the journal is not used for it.</summary>
    public bool Volatile { get; init; }

    /// <summary>Called, on a background thread, after the engine's durable index has risen.</summary>
    public Action? DurableAdvanced { get; init; }
}
