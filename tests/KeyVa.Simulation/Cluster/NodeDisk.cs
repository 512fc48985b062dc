using System.Diagnostics.CodeAnalysis;
using KeyVa.Io;
using KeyVa.Log;

namespace KeyVa.Simulation.Cluster;

/// <summary>What is wrong with a node's disk, over all its lives: errors, no room, bits that flipped. The files themselves change with each crash.</summary>
[SuppressMessage("Security", "CA5394", Justification = "Seeded randomness of a model, not a secret.")]
internal sealed class NodeDisk(Random random)
{
    private readonly int _thread = Environment.CurrentManagedThreadId;
    private double _readErrors;
    private double _writeErrors;

    public MemoryFileSystem Files { get; private set; } = new();

    /// <summary>Whether operations fail now, or have since the node started.</summary>
    public bool HasFailed { get; set; }

    public bool IsFull => Files.Capacity != long.MaxValue;

    /// <summary>Where a bit flipped; null: none did.</summary>
    public string? Damage { get; private set; }

    public int Errors { get; private set; }

    /// <summary>Goes on with what a crash left.</summary>
    public void Become(MemoryFileSystem files)
    {
        Files = files;
        Files.Faults.Decide = Decide;
    }

    public void Fail(double reads, double writes) => (_readErrors, _writeErrors, Files.Faults.Decide) = (reads, writes, Decide);

    /// <summary>Room for so many bytes more.</summary>
    public void Fill(long room) => Files.Capacity = Files.Used + room;

    public void MakeRoom() => Files.Capacity = long.MaxValue;

    /// <summary>
    /// Flips a bit in what was synced. Spared is the end of the journal, which cannot be told from a torn tail (docs/format.md, Where the journal ends), and
    /// what holds no data. False: there was nothing to damage.
    /// </summary>
    public bool TryDamage(string directory, long journalBytes)
    {
        List<(string Path, long Bytes)> files = [];
        (double reads, double writes) = (_readErrors, _writeErrors);
        Fail(0, 0);
        Collect(directory, files);
        (string path, long bytes) = files.Count == 0 ? default : files[random.Next(files.Count)];
        bytes = bytes > 0 && IsSegment(path) ? SafeBytes(path, bytes, journalBytes) : bytes;
        Fail(reads, writes);
        if (bytes <= 0)
        {
            return false;
        }

        long offset = random.NextInt64(bytes);
        Files.Corrupt(path, offset, (byte)(1 << random.Next(8)));
        Damage = $"{path} at {offset}";
        return true;
    }

    private static bool IsSegment(string path) => path.Contains("/journal/", StringComparison.Ordinal) && path.EndsWith(".journal", StringComparison.Ordinal);

    private void Collect(string directory, List<(string Path, long Bytes)> files)
    {
        foreach (string name in Files.List(directory))
        {
            string path = $"{directory}/{name}";
            if (Files.DirectoryExists(path))
            {
                Collect(path, files);
            }
            else if (name is not ("LOCK" or "reserve"))
            {
                using StorageFile file = Files.Open(path, writable: false);
                files.Add((path, file.Length));
            }
        }
    }

    /// <summary>Bytes of a segment before the journal's last group, which begins at <paramref name="journalBytes"/>.</summary>
    private long SafeBytes(string path, long bytes, long journalBytes)
    {
        using StorageFile file = Files.Open(path, writable: false);
        byte[] head = new byte[JournalFormat.SegmentHeaderBytes];
        SegmentHeader header = default;
        bool isBegun = file.Read(0, head) == head.Length && JournalFormat.TryReadSegmentHeader(head, path, out header)
            && header.Sequence == JournalFormat.SequenceOf(Path.GetFileName(path)) && journalBytes > header.Base;
        return isBegun ? Math.Min(bytes, journalBytes - header.Base + JournalFormat.SegmentHeaderBytes) : 0;
    }

    private int Decide(FileOperation operation, string path)
    {
        double share = operation is FileOperation.Read or FileOperation.Open or FileOperation.List ? _readErrors
            : operation is FileOperation.Lock or FileOperation.Prefetch ? 0
            : _writeErrors;
        if (share <= 0 || Environment.CurrentManagedThreadId != _thread || random.NextDouble() >= share)
        {
            return 0;
        }

        HasFailed = true;
        Errors++;
        return Posix.InputOutput;
    }
}
