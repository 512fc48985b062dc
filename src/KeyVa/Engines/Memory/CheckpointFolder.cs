using System.Globalization;
using System.Text;
using KeyVa.Io;
using KeyVa.Sessions;

namespace KeyVa.Engines.Memory;

/// <summary>
/// The files of a memory engine's folder: <c>checkpoint-INDEX</c>, the state up to that log index in 20 digits, and
/// <c>checkpoint-INDEX.tmp</c>, one that is being written. A file gets its final name when it is complete and synced, so
/// a final name always stands for a whole checkpoint. <c>CURRENT</c> names a checkpoint that was complete; the newest one
/// is never older than that, unless a file is missing. (Without CURRENT, the newest one counts.)
/// </summary>
internal static class CheckpointFolder
{
    public const string CurrentName = "CURRENT";
    public const string TemporarySuffix = ".tmp";
    private const string Prefix = "checkpoint-";
    private const int MaxCurrentBytes = 256;
    private const int IndexDigits = 20;

    /// <summary>Entries between two looks at the cancellation.</summary>
    private const int CheckEvery = 256;

    public static string NameOf(long index) =>
        Prefix + index.ToString(CultureInfo.InvariantCulture).PadLeft(IndexDigits, '0');

    /// <summary>Opens the newest complete checkpoint, or returns null if there is none.</summary>
    public static CheckpointReader? OpenNewest(IFileSystem files, string directory)
    {
        long newest = NewestIndex(files, directory);
        long named = ReadCurrent(files, directory);
        if (newest < named)
        {
            throw new CorruptionException(Path.Combine(directory, NameOf(named)), 0, $"the checkpoint that {CurrentName} names is missing");
        }

        if (newest < 0)
        {
            return null;
        }

        CheckpointReader reader = OpenWhole(files, Path.Combine(directory, NameOf(newest)));
        if (reader.Header.Index == newest)
        {
            return reader;
        }

        reader.Dispose();
        throw new CorruptionException(reader.Path, 16, $"the file holds the state up to index {reader.Header.Index}");
    }

    /// <summary>The index of the newest complete checkpoint; -1 if there is none.</summary>
    public static long NewestIndex(IFileSystem files, string directory)
    {
        long newest = -1;
        foreach (string name in files.List(directory))
        {
            if (TryParse(name, out long index))
            {
                newest = Math.Max(newest, index);
            }
        }

        return newest;
    }

    /// <summary>Removes older checkpoints and what interrupted ones left behind.</summary>
    public static void RemoveAllBut(IFileSystem files, string directory, long index)
    {
        string keep = NameOf(index);
        foreach (string name in files.List(directory))
        {
            bool ours = TryParse(name, out _)
                || name == CurrentName + TemporarySuffix
                || (name.EndsWith(TemporarySuffix, StringComparison.Ordinal) && TryParse(name[..^TemporarySuffix.Length], out _));
            if ((ours && name != keep) || (SessionsFile.IsName(name) && name != SessionsFile.NameOf(index)))
            {
                files.DeleteFile(Path.Combine(directory, name));
            }
        }
    }

    /// <summary>
    /// Writes a captured state to a folder; when it returns, file and name are synced. Returns the file's bytes. If it
    /// fails or is cancelled, no file is left, as far as the disk allows.
    /// </summary>
    public static long Write(
        IFileSystem files,
        string directory,
        CheckpointCapture capture,
        MemoryEngine engine,
        IProgress<CheckpointProgress>? progress,
        CancellationToken cancellation)
    {
        string path = Path.Combine(directory, NameOf(capture.Index));
        string temporary = path + TemporarySuffix;
        if (files.FileExists(temporary))
        {
            files.DeleteFile(temporary);
        }

        long bytes;
        try
        {
            using StorageFile file = files.Create(temporary);
            using CheckpointWriter writer = new(file, new CheckpointHeader(capture.Index, capture.Version, capture.Stamp) { History = capture.History });
            WriteEntries(writer, capture, engine, progress, cancellation);
            bytes = writer.Complete();
            file.Sync();
        }
        catch (Exception failure) when (failure is StorageFullException or OperationCanceledException)
        {
            if (files.FileExists(temporary))
            {
                files.DeleteFile(temporary);
            }

            throw;
        }

        engine.Context.SyncLogBeforeFiles();
        SessionsFile.Write(files, directory, capture.Index, capture.Sessions);
        files.Rename(temporary, path);
        files.SyncDirectory(directory);
        WriteCurrent(files, directory, NameOf(capture.Index));
        progress?.Report(new CheckpointProgress(bytes, bytes));
        return bytes;
    }

    /// <summary>Reads the newest checkpoint of a folder that no engine has open, and returns what is damaged.</summary>
    public static IReadOnlyList<CorruptionException> Verify(
        IFileSystem files, string directory, CancellationToken cancellation) =>
        Verify(() => OpenNewest(files, directory), cancellation);

    /// <summary>Reads a checkpoint to its end and returns what is damaged.</summary>
    public static IReadOnlyList<CorruptionException> Verify(Func<CheckpointReader?> open, CancellationToken cancellation)
    {
        try
        {
            using CheckpointReader? reader = open();
            for (int entries = 0; reader is not null && reader.MoveNext(); entries++)
            {
                if (entries % CheckEvery == 0)
                {
                    cancellation.ThrowIfCancellationRequested();
                }
            }

            return [];
        }
        catch (CorruptionException damage)
        {
            return [damage];
        }
    }

    /// <summary>Makes CURRENT name a checkpoint that is complete, durably.</summary>
    public static void WriteCurrent(IFileSystem files, string directory, string name)
    {
        string path = Path.Combine(directory, CurrentName);
        string temporary = path + TemporarySuffix;
        if (files.FileExists(temporary))
        {
            files.DeleteFile(temporary);
        }

        try
        {
            using StorageFile file = files.Create(temporary);
            file.Write(0, Encoding.ASCII.GetBytes($"{name} {Checksum(name)}\n"));
            file.Sync();
        }
        catch (StorageFullException)
        {
            if (files.FileExists(temporary))
            {
                files.DeleteFile(temporary);
            }

            throw;
        }

        files.Rename(temporary, path);
        files.SyncDirectory(directory);
    }

    /// <summary>The index of the checkpoint that CURRENT names; -1 if there is no CURRENT.</summary>
    public static long ReadCurrent(IFileSystem files, string directory)
    {
        string path = Path.Combine(directory, CurrentName);
        if (!files.FileExists(path))
        {
            return -1;
        }

        using StorageFile file = files.Open(path, writable: false);
        Span<byte> bytes = stackalloc byte[MaxCurrentBytes];
        string[] parts = Encoding.ASCII.GetString(bytes[..file.Read(0, bytes)]).Split(' ');
        return file.Length < MaxCurrentBytes && parts.Length == 2 && TryParse(parts[0], out long index) && parts[1] == Checksum(parts[0]) + "\n"
            ? index
            : throw new CorruptionException(path, 0, "it does not name a checkpoint");
    }

    private static string Checksum(string name) =>
        Crc32C.Compute(Encoding.ASCII.GetBytes(name)).ToString("x8", CultureInfo.InvariantCulture);

    /// <summary>Reads one checkpoint to its end; null: it is intact.</summary>
    public static CorruptionException? FindDamage(IFileSystem files, string path, CancellationToken cancellation)
    {
        IReadOnlyList<CorruptionException> damages = Verify(() => OpenWhole(files, path), cancellation);
        return damages.Count > 0 ? damages[0] : null;
    }

    private static CheckpointReader OpenWhole(IFileSystem files, string path)
    {
        CheckpointReader reader = new(files.Open(path, writable: false));
        try
        {
            reader.ReadEnds();
            return reader;
        }
        catch
        {
            reader.Dispose();
            throw;
        }
    }

    private static void WriteEntries(
        CheckpointWriter writer,
        CheckpointCapture capture,
        MemoryEngine engine,
        IProgress<CheckpointProgress>? progress,
        CancellationToken cancellation)
    {
        EngineStatistics statistics = engine.GetStatistics();
        long expected = statistics.ValueBytes + (statistics.Keys * CheckpointFormat.TypicalKeyAndHead);
        if (capture.History is { } history)
        {
            using HistoryCursor versions = new(engine.Index, capture.Version, history.From, history.Count);
            for (long entries = 0; versions.MoveNext(); entries++)
            {
                VersionWalk entry = versions.Entry;
                writer.Add(versions.Key, entry.Value, entry.IsRemoval, entry.Version, entry.Stamp, entry.ExpiresAt);
                Look(entries);
            }

            return;
        }

        using MemoryCursor cursor = new(engine.Index, capture.Version);
        for (long entries = 0; cursor.MoveNext(); entries++)
        {
            if (cursor.ExpiresAt == 0 || cursor.ExpiresAt > capture.Stamp)
            {
                writer.Add(cursor);
            }

            Look(entries);
        }

        void Look(long entries)
        {
            if (entries % CheckEvery == 0)
            {
                cancellation.ThrowIfCancellationRequested();
                progress?.Report(new CheckpointProgress(writer.BytesSoFar, Math.Max(expected, writer.BytesSoFar)));
            }
        }
    }

    public static bool TryParse(string name, out long index)
    {
        index = 0;
        return name.StartsWith(Prefix, StringComparison.Ordinal)
            && name.Length == Prefix.Length + IndexDigits
            && long.TryParse(name.AsSpan(Prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out index);
    }
}
