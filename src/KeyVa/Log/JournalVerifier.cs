using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// What a read-only check of a journal folder found: every segment's header and chain, every group's and record's
/// checksum. It changes nothing, and must not run while the journal is open.
/// </summary>
internal sealed record JournalVerifier
{
    public required int Segments { get; init; }

    public required long Groups { get; init; }

    public required long Records { get; init; }

    /// <summary>Bytes of groups.</summary>
    public required long Bytes { get; init; }

    /// <summary>The first damage, or null. What lies behind it cannot be trusted, so nothing there was checked.</summary>
    public required CorruptionException? Damage { get; init; }

    /// <summary>A tail that the next opening will cut; no damage.</summary>
    public required TornTail? Tail { get; init; }

    /// <summary>Checks the journal in a folder.</summary>
    public static JournalVerifier Verify(IFileSystem fileSystem, string directory)
    {
        JournalScan scan = JournalScan.Run(fileSystem, directory);
        return new JournalVerifier
        {
            Segments = scan.Segments.Count,
            Groups = scan.Groups,
            Records = scan.Records,
            Bytes = scan.Segments.Sum(segment => segment.End - segment.Header.Base),
            Damage = scan.Damage,
            Tail = scan.Tail,
        };
    }
}
