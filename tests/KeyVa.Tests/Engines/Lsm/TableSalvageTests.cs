using KeyVa.Engines.Lsm;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Engines.Lsm;

/// <summary>What is saved of a table that cannot be opened any more.</summary>
public sealed class TableSalvageTests
{
    private const string Folder = "/salvage";

    public enum Lost
    {
        Footer,
        MetaIndex,
        Index,
        Filter,
        Dictionary,
    }

    [Theory]
    [InlineData(Lost.Footer)]
    [InlineData(Lost.MetaIndex)]
    [InlineData(Lost.Index)]
    [InlineData(Lost.Filter)]
    [InlineData(Lost.Dictionary)]
    public void BlocksCompressedWithTheTablesDictionaryAreFoundWithoutAnIndex(Lost lost)
    {
        using TableFile table = new() { Options = new() { Compression = Compression.Zstandard, ZstdDictionaryBytes = 4 << 10, BlockBytes = 1 << 10 } };
        List<TableRow> rows = TableFile.RandomRows(seed: 5, count: 6000);
        byte[] bytes = table.Write(rows);
        TableFooter.TryDecodeWhole(bytes.AsSpan(bytes.Length - TableFooter.Bytes), "table", bytes.Length, out TableLayout layout, out BlockPlace meta);
        layout = MetaIndex.Decode(bytes.AsSpan((int)meta.Offset, meta.Length), "table", meta);
        Assert.True(layout.Dictionary.Exists, "the samples give a dictionary");
        Assert.NotEqual(0u, layout.Compressions & (1u << BlockFormat.ZstandardWithDictionary));
        long at = lost switch
        {
            Lost.Footer => bytes.Length - 20,
            Lost.MetaIndex => meta.Offset + 5,
            Lost.Index => layout.Index.Offset + 30,
            Lost.Filter => layout.Filter.Offset + 30,
            _ => layout.Dictionary.Offset + 30,
        };
        bytes[at] ^= 4;

        TableSalvage salvage = Salvage(bytes, out long entries);
        if (lost == Lost.Dictionary)
        {
            Assert.True(entries < rows.Count / 2 && salvage.LostEntries == rows.Count - entries);
            Assert.NotEmpty(salvage.Lost);
            return;
        }

        Assert.Equal((rows.Count, 0), (entries, salvage.LostEntries));
        Assert.Empty(salvage.Lost);
    }

    private static TableSalvage Salvage(byte[] bytes, out long entries)
    {
        MemoryFileSystem files = new();
        files.CreateDirectory(Folder);
        using (StorageFile file = files.Create($"{Folder}/broken"))
        {
            file.Write(0, bytes);
        }

        using BlockCache cache = new(1 << 20);
        var salvage = new TableSalvage(files, $"{Folder}/broken", known: null, LsmFolder.ForReading(files, Folder, cache, TimeProvider.System));
        (TableProperties Properties, long Bytes)? written = salvage.Run($"{Folder}/saved", CancellationToken.None);
        entries = written?.Properties.Entries ?? 0;
        return salvage;
    }
}
