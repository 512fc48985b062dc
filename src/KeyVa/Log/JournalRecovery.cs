using KeyVa.Io;

namespace KeyVa.Log;

/// <summary>What opening the journal found and did.</summary>
internal sealed record JournalRecovery
{
    /// <summary>Segments, groups and records that were read.</summary>
    public required int Segments { get; init; }

    public required long Groups { get; init; }

    public required long Records { get; init; }

    /// <summary>The oldest segment's sequence; 1 in a new journal.</summary>
    public required long FirstSequence { get; init; }

    /// <summary>The tail that was cut off, for a line in the log; null if there was none.</summary>
    public TornTail? Cut { get; init; }

    /// <summary>
    /// Brings the folder into order after a scan without damage: removes what follows the end, so that nothing of it can
    /// ever be taken for good, and returns the good segments opened. Power may fail at any line of it.
    /// </summary>
    public static List<JournalSegment> Repair(IFileSystem fileSystem, SegmentFiles files, JournalScan scan, JournalOptions options)
    {
        // What stands before the journal's beginning was to go, and what waited to become a segment is not in memory any more.
        foreach (string leftover in scan.Leftovers)
        {
            files.Delete(leftover);
        }

        RetiredSegments.DeleteLeftovers(fileSystem, files.Directory);

        // The last one first, each durably: a gap among segments would be damage to the next opening. And all before the
        // tail is cut, since a segment behind a shortened one would not fit it.
        for (int i = scan.Remains.Count - 1; i >= 0; i--)
        {
            files.Delete(scan.Remains[i]);
        }

        bool atOnce = options.Durability == Durability.Always || scan.End - scan.Synced <= options.RewriteAtOpening;
        var segments = new List<JournalSegment>();
        foreach (ScannedSegment scanned in scan.Segments)
        {
            StorageFile file = fileSystem.Open(scanned.Path, writable: true);
            long end = scanned.End - scanned.Header.Base + JournalFormat.SegmentHeaderBytes;
            if (scanned.HeaderLost)
            {
                JournalWriter.Start(file, scanned.Header);
                file.SyncData();
            }

            if (scan.Tail is { } tail && tail.File == scanned.Path)
            {
                CutTail(file, end, options.SegmentBytes);
            }

            bool groupSynced = scan.Synced > scanned.Header.Base;
            var segment = new JournalSegment
            {
                Path = scanned.Path,
                File = file,
                Header = scanned.Header,
                HeaderSynced = groupSynced,
                Rewriting = groupSynced && scanned.End <= scan.Synced ? null : new JournalRewriting(file, scanned.Header, scan.Synced, scanned.End),
                // Nothing is written behind groups of an older version: the next group begins a segment.
                Capacity = scanned.Header.Version == JournalFormat.Version ? Math.Max(file.Length, end) : end,
                End = scanned.End,
                Ranges = scanned.Ranges,
                Reached = scanned.Reached,
            };
            if (segment.Rewriting is not null)
            {
                // Written by a process that died before it synced, or whose sync failed: what is read now must not vanish later. Where
                // much of it is left to the first sync, this holds for the former only, and nothing counts as synced yet.
                if (atOnce)
                {
                    segment.Sync();
                }
                else
                {
                    file.SyncData();
                }
            }

            segments.Add(segment);
        }

        return segments;
    }

    /// <summary>Makes the journal's folder, durably, and those above it that are missing.</summary>
    public static void CreateDirectory(IFileSystem fileSystem, string directory)
    {
        if (!fileSystem.DirectoryExists(directory) && Path.GetDirectoryName(Path.GetFullPath(directory)) is { } parent)
        {
            // Each missing folder's name has to be made durable in the one above.
            CreateDirectory(fileSystem, parent);
            fileSystem.CreateDirectory(directory);
            fileSystem.SyncDirectory(parent);
        }
    }

    /// <summary>The first segment of a new journal.</summary>
    public static JournalSegment CreateFirst(SegmentFiles files, JournalOptions options)
    {
        const long sequence = 1;
        StorageFile file = files.TryTake(sequence, JournalFormat.SegmentHeaderBytes, out bool usedBefore)
            ?? throw new StorageFullException("fallocate", files.PathOf(sequence), Posix.NoSpace);
        var header = new SegmentHeader
        {
            Version = JournalFormat.Version,
            UsedBefore = usedBefore,
            Sequence = sequence,
            Salt = options.NextSalt(),
            Base = 0,
            Synced = 0,
            Previous = 0,
        };
        JournalWriter.Start(file, header);
        file.Sync();
        return new JournalSegment
        {
            Path = file.Path,
            File = file,
            Header = header,
            Capacity = file.Length,
            End = 0,
            Ranges = [],
            Reached = [],
        };
    }

    private static void CutTail(StorageFile file, long end, long segmentBytes)
    {
        file.SetLength(end);
        try
        {
            file.Allocate(Math.Max(segmentBytes, end));
        }
        catch (StorageFullException)
        {
            // A full disk must not keep the journal closed: the segment simply ends here, and removals use the reserve.
            file.SetLength(end);
        }

        file.Sync();
    }
}
