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
