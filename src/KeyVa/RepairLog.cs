namespace KeyVa;

/// <summary>What the steps of a repair report. One thread.</summary>
internal sealed class RepairLog
{
    public List<CorruptionException> Damages { get; } = [];

    public List<RepairLoss> Losses { get; } = [];

    public List<string> Notes { get; } = [];

    public int FilesKept { get; set; }

    public int FilesSalvaged { get; set; }

    public long RecordsReplayed { get; set; }

    public void Lose(string file, long offset, string detail, long? records = null, byte[]? behind = null, byte[]? before = null) =>
        Losses.Add(new RepairLoss { File = file, Offset = offset, Detail = detail, Records = records, Behind = behind, Before = before });
}
