using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>
/// Writes again what a segment held when the journal was opened and no sync is known to have confirmed, before the first sync that
/// counts for it. A sync in the process that wrote it may have failed: the system then takes the pages for clean, reads go on
/// returning them, and a sync of today says nothing about them. Written once more they are dirty, and the next sync covers them.
/// <para>
/// The bytes are those that are in the file, read and checked a second time. So it does not matter where a crash interrupts this: of
/// each sector the disk has what it had before or what it was to have all along, and nothing claims yet that it is synced.
/// </para>
/// </summary>
/// <remarks>Thread-safe. Appends behind <paramref name="to"/> may go on meanwhile: they write other bytes.</remarks>
/// <param name="file">The segment's file.</param>
/// <param name="header">Its header.</param>
/// <param name="from">The absolute offset up to which all is known to be synced; below the segment's base or there, the header is not.</param>
/// <param name="to">The absolute offset behind the last group that was found.</param>
internal sealed class JournalRewriting(StorageFile file, SegmentHeader header, long from, long to)
{
    /// <summary>Groups are gathered to writes of so many bytes; a larger group is a write of its own.</summary>
    private const int PieceBytes = 1 << 20;

    private readonly Lock _running = new();
    private volatile bool _isDone;

    /// <summary>Everything was written again: from now on a sync of the file says that it is on the disk.</summary>
    public bool IsDone => _isDone;

    /// <summary>Writes what is left to be written; if it throws, a later call begins anew.</summary>
    public void Run()
    {
        if (_isDone)
        {
            return;
        }

        lock (_running)
        {
            if (_isDone)
            {
                return;
            }

            if (from <= header.Base)
            {
                RewriteHeader();
            }

            RewriteGroups();
            _isDone = true;
        }
    }

    private void RewriteHeader()
    {
        Span<byte> bytes = stackalloc byte[JournalFormat.SegmentHeaderBytes];
        int read = file.Read(0, bytes);
        if (!JournalFormat.TryReadSegmentHeader(bytes[..read], file.Path, out SegmentHeader found) || found != header)
        {
            throw Changed(0, "the segment's header");
        }

        file.Write(0, bytes);
    }

    // What is synced is walked over too: only the chain of checksums tells that a group is the one that it should be.
    private void RewriteGroups()
    {
        long limit = to - header.Base + JournalFormat.SegmentHeaderBytes;
        using var scanner = new GroupScanner();
        using var piece = new NativeBuffer();
        scanner.Begin(file, header, limit);
        long pieceAt = scanner.Position;
        while (scanner.TryNext())
        {
            if (scanner.Offset <= from)
            {
                pieceAt = scanner.Position;
                continue;
            }

            ReadOnlySpan<byte> group = scanner.GroupBytes;
            if (piece.Length > 0 && piece.Length + group.Length > PieceBytes)
            {
                pieceAt = Write(piece, pieceAt);
            }

            piece.Append(group);
        }

        if (scanner.Position < limit)
        {
            throw Changed(scanner.Position, "a group");
        }

        if (piece.Length > 0)
        {
            Write(piece, pieceAt);
        }
    }

    private long Write(NativeBuffer piece, long at)
    {
        file.Write(at, piece.Written);
        at += piece.Length;
        piece.Clear(PieceBytes);
        return at;
    }

    // The system has dropped a page that it took for clean, and read again what the disk has. What was found when the journal was opened is not there any more.
    private CorruptionException Changed(long at, string what) =>
        new(file.Path, at, $"{what} that no sync had confirmed was intact a moment ago and is not any more: it had not come to the disk");
}
