using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>Reads every byte of a value file and says what is damaged. No state of the engine is needed or touched.</summary>
internal static class ValueFileVerifier
{
    private const int StepBytes = 1 << 20;

    /// <summary>Reads the whole file and hands every damage to <paramref name="report"/>. Returns the records that are intact.</summary>
    /// <param name="files">Where the file is.</param>
    /// <param name="path">The value file.</param>
    /// <param name="expected">What the manifest says of it; null: not known.</param>
    /// <param name="report">Called with what is damaged.</param>
    /// <param name="cancellation">Looked at now and then.</param>
    public static long Verify(
        IFileSystem files, string path, ManifestValueFile? expected, Action<CorruptionException> report, CancellationToken cancellation)
    {
        if (!files.FileExists(path))
        {
            report(new CorruptionException(path, 0, "the value file is missing, though the manifest names it"));
            return 0;
        }

        using ValueFileWalk walk = new(files.Open(path, writable: false), expected);
        while (walk.Step(StepBytes, report, out _))
        {
            cancellation.ThrowIfCancellationRequested();
        }

        return walk.Intact;
    }
}
