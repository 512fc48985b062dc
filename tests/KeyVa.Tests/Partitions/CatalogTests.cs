using KeyVa.Indexes;
using KeyVa.Io;
using KeyVa.Partitions;
using Xunit;

namespace KeyVa.Tests.Partitions;

public sealed class CatalogTests
{
    private static readonly Catalog Sample = new()
    {
        StoreId = Guid.NewGuid(),
        NextPartitionId = 9,
        Version = 77,
        Stamp = 1_700_000_000_000,
        Partitions =
        [
            new PartitionDefinition(3, new KeyRange(default, "m"u8.ToArray()), EngineKind.Lsm, false),
            new PartitionDefinition(8, new KeyRange("m"u8.ToArray(), default), EngineKind.Memory, true),
        ],
    };

    [Fact]
    public void WhatIsWrittenIsReadAlsoAfterPowerLoss()
    {
        var files = new MemoryFileSystem();
        files.CreateDirectory("/data");
        files.SyncDirectory("/");
        Sample.Write(files, "/data");
        Catalog read = Catalog.Read(files.Crash(1), "/data");
        Assert.Equal((Sample.StoreId, 9L, 77L, 1_700_000_000_000L), (read.StoreId, read.NextPartitionId, read.Version, read.Stamp));
        Assert.Equal(2, read.Partitions.Count);
        Assert.Equal("m"u8.ToArray(), read.Partitions[0].Range.To.ToArray());
        Assert.True(read.Partitions[1].IsVolatile);
        Assert.Equal(EngineKind.Memory, read.Partitions[1].Engine);
    }

    [Fact]
    public void IndexesRaiseTheFormatAndAreRead()
    {
        var files = new MemoryFileSystem();
        files.CreateDirectory("/data");
        var catalog = new Catalog
        {
            StoreId = Sample.StoreId,
            Partitions = Sample.Partitions,
            NextIndexId = 12,
            Indexes =
            [
                new StoredIndex(4, IndexState.Ready, new IndexDefinition { Name = "a", Fields = ["x.y", "z[*]"], Unique = true, Strict = true }),
                new StoredIndex(11, IndexState.Dropping, new IndexDefinition { Name = "b", Fields = ["f"], Sparse = true, Extractor = "e", ExtractorVersion = -3 }),
            ],
        };
        catalog.Write(files, "/data");
        Catalog read = Catalog.Read(files, "/data");
        Assert.Equal(12, read.NextIndexId);
        Assert.Equal(2, read.Partitions.Count);
        Assert.Equal([(4, IndexState.Ready), (11, IndexState.Dropping)], read.Indexes.Select(static index => (index.Id, index.State)));
        for (int i = 0; i < 2; i++)
        {
            IndexDefinition expected = catalog.Indexes[i].Definition;
            Assert.Equal(expected.Fields, read.Indexes[i].Definition.Fields);
            Assert.Equal(expected, read.Indexes[i].Definition with { Fields = expected.Fields });
        }

        using StorageFile file = files.Open("/data/CATALOG", writable: false);
        var format = new byte[1];
        file.Read(8, format);
        Assert.Equal(2, format[0]);
    }

    [Fact]
    public void EveryFlippedBitIsFound()
    {
        var files = new MemoryFileSystem();
        files.CreateDirectory("/data");
        Sample.Write(files, "/data");
        long length;
        using (StorageFile file = files.Open("/data/CATALOG", writable: false))
        {
            length = file.Length;
        }

        for (long offset = 0; offset < length; offset++)
        {
            for (int bit = 0; bit < 8; bit++)
            {
                files.Corrupt("/data/CATALOG", offset, (byte)(1 << bit));
                StoreException error = Assert.ThrowsAny<StoreException>(() => Catalog.Read(files, "/data"));
                Assert.Contains("CATALOG", error.Message, StringComparison.Ordinal);
                files.Corrupt("/data/CATALOG", offset, (byte)(1 << bit));
            }
        }

        Assert.Equal(9, Catalog.Read(files, "/data").NextPartitionId);
    }
}
