using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Io;

public sealed class MemoryFileSystemTests : FileSystemSuite
{
    private readonly MemoryFileSystem _fileSystem = new();

    public MemoryFileSystemTests() => _fileSystem.CreateDirectory("/data");

    internal override IFileSystem FileSystem => _fileSystem;

    internal override string Root => "/data";

    [Fact]
    public void WhatWasSyncedSurvivesEveryPowerLoss()
    {
        _fileSystem.SyncDirectory("/");
        StorageFile file = _fileSystem.Create("/data/a");
        file.Write(0, Filled(10_000, 1));
        file.SyncData();
        _fileSystem.SyncDirectory("/data");
        file.Write(4096, Filled(3000, 2));
        file.Write(10_000, Filled(100, 3));
        var seen = new HashSet<string>();
        for (int seed = 0; seed < 300; seed++)
        {
            byte[] left = Bytes(_fileSystem.AfterPowerLoss(seed), "/data/a")!;
            Assert.All(left[..4096], b => Assert.Equal(1, b));
            Assert.All(left[4096..7096], b => Assert.InRange(b, 1, 2));
            Assert.All(left[7096..10_000], b => Assert.Equal(1, b));
            Assert.InRange(left.Length, 10_000, 10_100);
            Assert.Equal(left, Bytes(_fileSystem.AfterPowerLoss(seed), "/data/a"));
            seen.Add(Convert.ToHexString(left));
        }

        Assert.True(seen.Count > 250, "the seeds give the same few states");
    }

    [Fact]
    public void ANameIsDurableOnlyAfterItsFolderWasSynced()
    {
        _fileSystem.SyncDirectory("/");
        using (StorageFile file = _fileSystem.Create("/data/a"))
        {
            file.Write(0, Filled(10, 1));
            file.Sync();
        }

        int survived = Enumerable.Range(0, 100).Count(seed => _fileSystem.AfterPowerLoss(seed).FileExists("/data/a"));
        Assert.InRange(survived, 10, 90);
        _fileSystem.SyncDirectory("/data");
        Assert.All(Enumerable.Range(0, 100), seed => Assert.True(_fileSystem.AfterPowerLoss(seed).FileExists("/data/a")));
    }

    [Fact]
    public void ARenameIsOldOrNewNeverNeither()
    {
        _fileSystem.SyncDirectory("/");
        Put("/data/current", 1);
        _fileSystem.SyncDirectory("/data");
        Put("/data/temporary", 2);
        _fileSystem.Rename("/data/temporary", "/data/current");
        var seen = new HashSet<byte>();
        for (int seed = 0; seed < 100; seed++)
        {
            MemoryFileSystem left = _fileSystem.AfterPowerLoss(seed);
            byte content = Bytes(left, "/data/current")![0];
            Assert.False(content == 2 && left.FileExists("/data/temporary"), "one file under two names");
            seen.Add(content);
        }

        Assert.Equal(new byte[] { 1, 2 }, seen.Order());
        _fileSystem.SyncDirectory("/data");
        Assert.Equal(2, Bytes(_fileSystem.Crash(1), "/data/current")![0]);
    }

    [Fact]
    public void ARenameBetweenFoldersIsOneStepWhicheverIsSynced()
    {
        foreach (string synced in new[] { "/data/from", "/data/to" })
        {
            var disk = new MemoryFileSystem();
            disk.CreateDirectory("/data/from");
            disk.CreateDirectory("/data/to");
            disk.SyncDirectory("/");
            disk.SyncDirectory("/data");
            disk.Create("/data/from/a").Dispose();
            disk.Rename("/data/from/a", "/data/to/a");
            disk.SyncDirectory(synced);
            for (int seed = 0; seed < 50; seed++)
            {
                MemoryFileSystem left = disk.AfterPowerLoss(seed);
                Assert.True(left.FileExists("/data/to/a"));
                Assert.False(left.FileExists("/data/from/a"));
            }
        }
    }

    [Fact]
    public void ADeletedFileMayComeBackUntilItsFolderWasSynced()
    {
        _fileSystem.SyncDirectory("/");
        Put("/data/a", 1);
        _fileSystem.SyncDirectory("/data");
        _fileSystem.DeleteFile("/data/a");
        Assert.InRange(Enumerable.Range(0, 100).Count(seed => _fileSystem.AfterPowerLoss(seed).FileExists("/data/a")), 10, 90);
        _fileSystem.SyncDirectory("/data");
        Assert.All(Enumerable.Range(0, 50), seed => Assert.False(_fileSystem.AfterPowerLoss(seed).FileExists("/data/a")));
    }

    [Fact]
    public void AKillKeepsEveryByteAndEndsLocksAndHandles()
    {
        StorageFile file = _fileSystem.Create("/data/a");
        file.Write(0, Filled(10, 1));
        IDisposable? hold = _fileSystem.TryLock("/data/LOCK");
        MemoryFileSystem left = _fileSystem.Kill();
        Assert.Equal(Filled(10, 1), Bytes(left, "/data/a"));
        Assert.NotNull(hold);
        Assert.NotNull(left.TryLock("/data/LOCK"));
        Assert.Throws<StorageException>(() => file.Write(0, "x"u8));
        Assert.Throws<StorageException>(() => _fileSystem.Create("/data/b"));
        file.Dispose();
    }

    [Fact]
    public void AFullDiskTakesWhatFitsAndSaysSo()
    {
        _fileSystem.Capacity = 1000;
        StorageFile file = _fileSystem.Create("/data/a");
        file.Write(0, Filled(900, 1));
        Assert.Throws<StorageFullException>(() => file.Write(900, Filled(101, 2)));
        Assert.Throws<StorageFullException>(() => file.Allocate(1001));
        file.Write(0, Filled(1000, 3));
        Assert.Equal(0, _fileSystem.FreeBytes("/data"));
        _fileSystem.DeleteFile("/data/a");
        Assert.Equal(0, _fileSystem.FreeBytes("/data"));
        file.Dispose();
        Assert.Equal(1000, _fileSystem.FreeBytes("/data"));
    }

    [Fact]
    public void PlannedFaultsHitTheOperationMeant()
    {
        using StorageFile file = _fileSystem.Create("/data/a");
        _fileSystem.Faults.FailNext(FileOperation.Write, skip: 2, path: "/a");
        file.Write(0, "x"u8);
        file.Write(1, "x"u8);
        Assert.Throws<StorageException>(() => file.Write(2, "x"u8));
        file.Write(2, "x"u8);
        Assert.Equal(4, _fileSystem.Faults.Count(FileOperation.Write));
    }

    [Fact]
    public void AfterAFailedSyncAnotherHandlesSyncSavesNothing()
    {
        _fileSystem.SyncDirectory("/");
        using StorageFile file = _fileSystem.Create("/data/a");
        _fileSystem.SyncDirectory("/data");
        file.Write(0, Filled(4096, 1));
        _fileSystem.Faults.FailNext(FileOperation.SyncData);
        Assert.Throws<StorageException>(file.SyncData);
        Assert.Throws<StorageException>(() => file.Write(0, "x"u8));
        Assert.Throws<StorageException>(file.SyncData);
        using StorageFile other = _fileSystem.Open("/data/a", writable: true);
        other.SyncData();
        Assert.Contains(Enumerable.Range(0, 50), seed => Bytes(_fileSystem.AfterPowerLoss(seed), "/data/a")!.Contains((byte)0));
    }

    [Fact]
    public void AFlippedBitIsFlippedForGood()
    {
        Put("/data/a", 1);
        _fileSystem.Corrupt("/data/a", 3, 0x80);
        Assert.Equal(0x81, Bytes(_fileSystem, "/data/a")![3]);
        Assert.Equal(0x81, Bytes(_fileSystem.Kill(), "/data/a")![3]);
    }

    private static byte[] Filled(int length, byte value)
    {
        byte[] bytes = new byte[length];
        bytes.AsSpan().Fill(value);
        return bytes;
    }

    private static byte[]? Bytes(MemoryFileSystem fileSystem, string path)
    {
        if (!fileSystem.FileExists(path))
        {
            return null;
        }

        using StorageFile file = fileSystem.Open(path, writable: false);
        byte[] bytes = new byte[file.Length];
        file.Read(0, bytes);
        return bytes;
    }

    private void Put(string path, byte value)
    {
        using StorageFile file = _fileSystem.Create(path);
        file.Write(0, Filled(100, value));
        file.Sync();
    }
}
