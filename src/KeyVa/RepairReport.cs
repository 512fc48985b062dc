namespace KeyVa;

/// <summary>Something that a repair could not save.</summary>
public sealed record RepairLoss
{
    /// <summary>The file that had it; a folder, where a file is missing.</summary>
    public required string File { get; init; }

    /// <summary>Where in the file it was, in bytes.</summary>
    public long Offset { get; init; }

    /// <summary>How many entries are gone (a key counts once per version that was kept); null: not known.</summary>
    public long? Records { get; init; }

    /// <summary>The lost keys come behind this one; empty: not known.</summary>
    public ReadOnlyMemory<byte> Behind { get; init; }

    /// <summary>And before this one; empty: not known.</summary>
    public ReadOnlyMemory<byte> Before { get; init; }

    /// <summary>What is lost, in words.</summary>
    public required string Detail { get; init; }
}

/// <summary>What a repair found, saved and lost.</summary>
public sealed record RepairReport
{
    /// <summary>The repaired data folder; it opens, and its verification finds nothing.</summary>
    public required string Directory { get; init; }

    /// <summary>Where the replaced files of a repair in place are now; null if the repair wrote to another folder, or there was nothing to do.</summary>
    public string? DamagedDirectory { get; init; }

    /// <summary>Damage that was found in the original.</summary>
    public required IReadOnlyList<CorruptionException> Damages { get; init; }

    /// <summary>What is gone; empty: nothing that is known of.</summary>
    public required IReadOnlyList<RepairLoss> Losses { get; init; }

    /// <summary>What was done, and what could not be told.</summary>
    public required IReadOnlyList<string> Notes { get; init; }

    /// <summary>Tables and checkpoints taken over as they are.</summary>
    public int FilesKept { get; init; }

    /// <summary>Tables and checkpoints of which only parts could be taken over.</summary>
    public int FilesSalvaged { get; init; }

    /// <summary>Records of the journal that were applied.</summary>
    public long RecordsReplayed { get; init; }
}
