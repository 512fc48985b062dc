using KeyVa.Engines;
using KeyVa.Io;
using KeyVa.Log;

namespace KeyVa;

/// <summary>What a store takes from its surroundings; tests put a crashing disk, a clock of their own and jobs by hand here.</summary>
internal sealed record StoreEnvironment
{
    public IFileSystem FileSystem { get; init; } = new DiskFileSystem();

    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Null: threads of the store's own.</summary>
    public IBackgroundWork? Background { get; init; }

    /// <summary>None but in a test of the tests.</summary>
    public Defects Defects { get; init; }

    /// <summary>Changes engine options that <see cref="StoreOptions"/> does not offer.</summary>
    public Func<EngineOptions, EngineOptions>? Engine { get; init; }

    /// <summary>Changes the journal's settings, or null.</summary>
    public Func<JournalOptions, JournalOptions>? Journal { get; init; }
}
