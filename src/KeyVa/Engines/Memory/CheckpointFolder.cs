using System.Globalization;
using KeyVa.Io;

namespace KeyVa.Engines.Memory;

/// <summary>
/// The files of a memory engine's folder: <c>checkpoint-INDEX</c>, the state up to that log index in 20 digits, and
/// <c>checkpoint-INDEX.tmp</c>, one that is being written. A file gets its final name when it is complete and synced, so
/// a final name always stands for a whole checkpoint.
/// </summary>
internal static class CheckpointFolder
{
    private const string Prefix = "checkpoint-";
    private const string TemporarySuffix = ".tmp";
    private const int IndexDigits = 20;

    /// <summary>Entries between two looks at the cancellation.</summary>
    private const int CheckEvery = 256;

    public static string NameOf(long index) =>
        Prefix + index.ToString(CultureInfo.InvariantCulture).PadLeft(IndexDigits, '0');

    /// <summary>Opens the newest complete checkpoint, or returns null if there is none.</summary>
    public static CheckpointReader? OpenNewest(IFileSystem files, string directory)
    {
        long newest = -1;
        foreach (string name in files.List(directory))
        {
            if (TryParse(name, out long index) && index > newest)
            {
                newest = index;
            }
        }

        if (newest < 0)
        {
            return null;
        }

        CheckpointReader reader = new(files.Open(Path.Combine(directory, NameOf(newest)), writable: false));
        try
        {
            reader.ReadEnds();
            if (reader.Header.Index != newest)
            {
                throw new CorruptionException(reader.Path, 16, $"the file holds the state up to index {reader.Header.Index}");
            }

            return reader;
        }
        catch
        {
            reader.Dispose();
            throw;
        }
    }

    /// <summary>Removes older checkpoints and what interrupted ones left behind.</summary>
    public static void RemoveAllBut(IFileSystem files, string directory, long index)
    {
        string keep = NameOf(index);
        foreach (string name in files.List(directory))
        {
            bool ours = TryParse(name, out _)
                || (name.EndsWith(TemporarySuffix, StringComparison.Ordinal) && TryParse(name[..^TemporarySuffix.Length], out _));
            if (ours && name != keep)
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
            using CheckpointWriter writer = new(file, new CheckpointHeader(capture.Index, capture.Version, capture.Stamp));
            WriteEntries(writer, capture, engine, progress, cancellation);
            bytes = writer.Complete();
            file.Sync();
        }
        catch (Exception failure) when (failure is StorageFullException or OperationCanceledException)
        {
            files.DeleteFile(temporary);
            throw;
        }

        engine.Context.SyncLog?.Invoke();
        files.Rename(temporary, path);
        files.SyncDirectory(directory);
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

    private static void WriteEntries(
        CheckpointWriter writer,
        CheckpointCapture capture,
        MemoryEngine engine,
        IProgress<CheckpointProgress>? progress,
        CancellationToken cancellation)
    {
        EngineStatistics statistics = engine.GetStatistics();
        long expected = statistics.ValueBytes + (statistics.Keys * CheckpointFormat.TypicalKeyAndHead);
        using MemoryCursor cursor = new(engine.Index, capture.Version);
        for (long entries = 0; cursor.MoveNext(); entries++)
        {
            if (cursor.ExpiresAt == 0 || cursor.ExpiresAt > capture.Stamp)
            {
                writer.Add(cursor);
            }

            if (entries % CheckEvery == 0)
            {
                cancellation.ThrowIfCancellationRequested();
                progress?.Report(new CheckpointProgress(writer.BytesSoFar, Math.Max(expected, writer.BytesSoFar)));
            }
        }
    }

    private static bool TryParse(string name, out long index)
    {
        index = 0;
        return name.StartsWith(Prefix, StringComparison.Ordinal)
            && name.Length == Prefix.Length + IndexDigits
            && long.TryParse(name.AsSpan(Prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out index);
    }
}
