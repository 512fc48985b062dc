using System.Buffers.Binary;
using KeyVa.Indexes;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Fuzz;

/// <summary>A catalog of hostile bytes is read or refused, also where its checksum fits.</summary>
public sealed class CatalogFuzzTests : Fuzzing
{
    private const string Directory = "/data";
    private const string Path = $"{Directory}/{Catalog.FileName}";

    [Fact]
    public void EveryCatalogIsReadOrRefused() => Run(20_000, [Sample(0), Sample(1), Sample(3), Sample(2, indexes: 3)], static (input, random) =>
    {
        if (random.Next(2) == 0 && input.Length >= 4)
        {
            // As if written so: what stands behind the checksum is looked at.
            BinaryPrimitives.WriteUInt32LittleEndian(input.AsSpan(input.Length - 4), Crc32C.Compute(input.AsSpan(0, input.Length - 4)));
        }

        MemoryFileSystem files = new();
        files.CreateDirectory(Directory);
        using (StorageFile file = files.Create(Path))
        {
            file.Write(0, input);
        }

        try
        {
            Catalog read = Catalog.Read(files, Directory);
            Assert.True(read.Partitions.Count <= input.Length && read.Indexes.Count <= input.Length);
            Assert.All(read.Indexes, static index => Assert.Null(StoredIndex.Check(index.Definition)));
        }
        catch (StoreException refused)
        {
            Assert.Contains(Catalog.FileName, refused.Message, StringComparison.Ordinal);
        }
    });

    private static byte[] Sample(int partitions, int indexes = 0)
    {
        MemoryFileSystem files = new();
        files.CreateDirectory(Directory);
        new Catalog
        {
            StoreId = Guid.NewGuid(),
            NextPartitionId = 5,
            Partitions = [.. Enumerable.Range(0, partitions).Select(static i => new PartitionDefinition(
                i, new KeyRange(new byte[] { (byte)(i + 1) }, new byte[] { (byte)(i + 2) }), i % 2 == 0 ? EngineKind.Lsm : EngineKind.Memory, i == 2))],
            NextIndexId = indexes + 1,
            Indexes = [.. Enumerable.Range(1, indexes).Select(static i => new StoredIndex(i, (IndexState)i, new IndexDefinition
            {
                Name = $"index-{i}",
                Fields = i == 2 ? ["size"] : ["a.b[0]", "tags[*]"],
                Unique = i == 1,
                Extractor = i == 2 ? "sizes" : null,
                ExtractorVersion = i == 2 ? 7 : 0,
            }))],
        }.Write(files, Directory);
        return DataFolder.ReadAll(files, Path);
    }
}
