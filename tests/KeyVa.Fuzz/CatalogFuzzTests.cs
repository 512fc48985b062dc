using System.Buffers.Binary;
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
    public void EveryCatalogIsReadOrRefused() => Run(20_000, [Sample(0), Sample(1), Sample(3)], static (input, random) =>
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
            Assert.True(read.Partitions.Count <= input.Length);
        }
        catch (StoreException refused)
        {
            Assert.Contains(Catalog.FileName, refused.Message, StringComparison.Ordinal);
        }
    });

    private static byte[] Sample(int partitions)
    {
        MemoryFileSystem files = new();
        files.CreateDirectory(Directory);
        new Catalog
        {
            StoreId = Guid.NewGuid(),
            NextPartitionId = 5,
            Partitions = [.. Enumerable.Range(0, partitions).Select(static i => new PartitionDefinition(
                i, new KeyRange(new byte[] { (byte)(i + 1) }, new byte[] { (byte)(i + 2) }), i % 2 == 0 ? EngineKind.Lsm : EngineKind.Memory, i == 2))],
        }.Write(files, Directory);
        return DataFolder.ReadAll(files, Path);
    }
}
