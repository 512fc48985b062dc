namespace KeyVa.Engines;

/// <summary>
/// Reads the files of one part of an open store (the journal, one partition) from the disk and checks every checksum, a bounded
/// piece at a time, past all caches. One thread at a time. What a file held when it was reached is read; files that go
/// meanwhile are left out.
/// </summary>
internal abstract class ScrubPass : IDisposable
{
    /// <summary>
    /// Reads about so many bytes on; false at the end. <paramref name="found"/> gets each damage, and the pass goes on behind it.
    /// </summary>
    public abstract bool Step(long bytes, Action<CorruptionException> found, out long read);

    public abstract void Dispose();
}
