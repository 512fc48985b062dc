using KeyVa.Engines;
using KeyVa.Engines.Memory;
using KeyVa.Io;
using Xunit;

namespace KeyVa.Tests.Engines.Memory;

public class MemoryCheckpointTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(5_000)]
    public void ReopensWithExactlyWhatWasCaptured(int keys)
    {
        MemoryFileSystem files = new();
        long index;
        long version;
        using (MemoryEngineFixture fixture = new(files))
        {
            Fill(fixture, keys);
            fixture.Put([200], [1], fixture.Clock.UnixMilliseconds + 10);
            fixture.Put([201], [1], fixture.Clock.UnixMilliseconds + 10_000);
            fixture.Put([202], [1]);
            fixture.Remove([202]);
            fixture.Clock.UnixMilliseconds += 20;
            fixture.EndGroup();
            index = fixture.Engine.AppliedIndex;
            version = fixture.Engine.VisibleVersion;
            fixture.Engine.BeginFlush();

            // What comes after the capture is not in it.
            fixture.Put([203], [1]);
            fixture.Remove([201]);
            fixture.EndGroup();
            Assert.Equal(0, fixture.Engine.DurableIndex);
            fixture.Work.RunAll();
            Assert.Equal(index, fixture.Engine.DurableIndex);
            Assert.Equal(1, fixture.DurableAdvanced);
            Assert.Equal(0, fixture.Snapshots.Count);
            Assert.Empty(fixture.Engine.Verify(default));
        }

        using MemoryEngineFixture reopened = new(files.Crash(1));
        Assert.Equal(index, reopened.Engine.AppliedIndex);
        Assert.Equal(index, reopened.Engine.DurableIndex);
        Assert.Equal(version, reopened.Engine.VisibleVersion);
        Assert.Equal(keys + 1, reopened.Engine.GetStatistics().Keys);
        CheckFilled(reopened, keys);
        Assert.Null(reopened.Get([200]));
        Assert.NotNull(reopened.Get([201]));
        Assert.Null(reopened.Get([202]));
        Assert.Null(reopened.Get([203]));
    }

    [Fact]
    public void StartsByItselfAndKeepsOneFile()
    {
        MemoryFileSystem files = new();
        using MemoryEngineFixture fixture = new(files, new EngineOptions { CheckpointAfterBytes = 100_000 });
        for (int i = 0; i < 2_000; i++)
        {
            fixture.Put(MemoryEngineModelTests.Key(i % 50), new byte[500]);
            fixture.EndGroup();
            fixture.Work.RunAll();
        }

        Assert.True(fixture.DurableAdvanced >= 8);
        Assert.True(fixture.Engine.DurableIndex > 1_700);
        Assert.Equal(2, files.List(MemoryEngineFixture.Directory).Count);
        Assert.InRange(fixture.Engine.GetStatistics().StorageBytes, 25_000, 40_000);
    }

    /// <summary>
    /// The power may fail before every single operation on the files. Whatever is left opens, and holds all of the last
    /// checkpoint that was reported or of a newer one.
    /// </summary>
    [Fact]
    public void SurvivesPowerLossAtEveryOperation()
    {
        MemoryFileSystem files = new();
        List<(MemoryFileSystem Left, long Durable)> crashes = [];
        using (MemoryEngineFixture fixture = new(files))
        {
            files.Faults.Before = (_, _) =>
            {
                for (int seed = 0; seed < 6; seed++)
                {
                    crashes.Add((files.AfterPowerLoss((crashes.Count * 7) + seed), fixture.Engine.DurableIndex));
                }
            };
            for (int round = 0; round < 3; round++)
            {
                for (int i = 0; i < 200; i++)
                {
                    fixture.Put(MemoryEngineModelTests.Key(i), BitConverter.GetBytes(fixture.Engine.AppliedIndex + 1));
                }

                fixture.EndGroup();
                fixture.Engine.BeginFlush();
                fixture.Work.RunAll();
            }

            files.Faults.Before = null;
            crashes.Add((files.AfterPowerLoss(1), fixture.Engine.DurableIndex));
        }

        Assert.True(crashes.Count > 100);
        foreach ((MemoryFileSystem left, long durable) in crashes)
        {
            using MemoryEngineFixture reopened = new(left);
            Assert.InRange(reopened.Engine.AppliedIndex, durable, 3);
            Assert.Equal(reopened.Engine.AppliedIndex == 0 ? 0 : 200, reopened.Engine.GetStatistics().Keys);
            for (int i = 0; reopened.Engine.AppliedIndex > 0 && i < 200; i++)
            {
                Assert.Equal(
                    reopened.Engine.AppliedIndex, BitConverter.ToInt64(reopened.Get(MemoryEngineModelTests.Key(i))!));
            }

            Assert.InRange(left.List(MemoryEngineFixture.Directory).Count, 0, 2);
        }
    }

    [Fact]
    public void NoticesEveryFlippedByteAndEveryCut()
    {
        MemoryFileSystem files = new();
        using (MemoryEngineFixture fixture = new(files))
        {
            Fill(fixture, 20);
            fixture.EndGroup();
            fixture.Engine.BeginFlush();
            fixture.Work.RunAll();
        }

        string path = MemoryEngineFixture.Directory + "/" + CheckpointFolder.NameOf(1);
        long length;
        using (StorageFile file = files.Open(path, writable: false))
        {
            length = file.Length;
        }

        for (long offset = 0; offset < length; offset++)
        {
            files.Corrupt(path, offset, (byte)(1 << (int)(offset % 8)));
            CorruptionException damage = Assert.Single(CheckpointFolder.Verify(files, MemoryEngineFixture.Directory, default));
            Assert.Equal(path, damage.File);
            if (offset % 32 == 0)
            {
                Assert.Throws<CorruptionException>(() => new MemoryEngineFixture(files));
            }

            files.Corrupt(path, offset, (byte)(1 << (int)(offset % 8)));
        }

        new MemoryEngineFixture(files).Dispose();
        using StorageFile cut = files.Open(path, writable: true);
        while (--length >= 0)
        {
            cut.SetLength(length);
            Assert.Single(CheckpointFolder.Verify(files, MemoryEngineFixture.Directory, default));
        }
    }

    [Fact]
    public void WhatIsInForceIsNotWrittenAgain()
    {
        MemoryFileSystem files = new();
        MemoryEngineFixture? asked = null;
        int begun = 0;
        using MemoryEngineFixture fixture = new(files, beforeDurable: _ =>
        {
            if (begun++ == 0)
            {
                // While it is being written, somebody wants the same state on disk.
                asked!.Engine.BeginFlush();
            }
        });
        asked = fixture;
        Fill(fixture, 10);
        fixture.EndGroup();
        fixture.Engine.BeginFlush();
        fixture.Work.RunAll();
        Assert.Equal((1, 1, 1L), (begun, fixture.DurableAdvanced, fixture.Engine.DurableIndex));
        Assert.Equal(0, fixture.Snapshots.Count);
    }

    [Fact]
    public void WaitsForRoomOnAFullDisk()
    {
        MemoryFileSystem files = new();
        using MemoryEngineFixture fixture = new(files);
        Fill(fixture, 1_000);
        fixture.EndGroup();
        files.Capacity = files.Used + 10_000;
        fixture.Engine.BeginFlush();
        fixture.Work.RunAll();
        Assert.Equal(0, fixture.Engine.DurableIndex);
        Assert.Null(fixture.Engine.Failure);
        Assert.Empty(files.List(MemoryEngineFixture.Directory));
        Assert.Equal(1, fixture.Work.DelayedCount);
        files.Capacity = long.MaxValue;
        fixture.Work.DelayOver();
        fixture.Work.RunAll();
        Assert.Equal(1, fixture.Engine.DurableIndex);
        Assert.Equal(0, fixture.Snapshots.Count);
    }

    [Fact]
    public void AFailedSyncStopsTheEngineAndKeepsTheOldCheckpoint()
    {
        MemoryFileSystem files = new();
        using (MemoryEngineFixture fixture = new(files))
        {
            Fill(fixture, 10);
            fixture.EndGroup();
            fixture.Engine.BeginFlush();
            fixture.Work.RunAll();
            fixture.Put([1], [1]);
            fixture.EndGroup();
            files.Faults.FailNext(FileOperation.Sync);
            fixture.Engine.BeginFlush();
            fixture.Work.RunAll();
            Assert.IsType<StorageException>(fixture.Engine.Failure);
            Assert.Equal(1, fixture.Engine.DurableIndex);
            Assert.NotNull(fixture.Get([1]));
            Assert.Equal(0, fixture.Snapshots.Count);
        }

        using MemoryEngineFixture reopened = new(files);
        Assert.Equal(1, reopened.Engine.AppliedIndex);
    }

    [Fact]
    public void CopiesItsStateToAnotherFolder()
    {
        MemoryFileSystem files = new();
        using (MemoryEngineFixture fixture = new(files))
        {
            Fill(fixture, 3_000);
            fixture.EndGroup();
            Steps steps = new();
            files.CreateDirectory("/copy");
            files.SyncDirectory("/");
            CheckpointResult result = fixture.Engine.Checkpoint("/copy", steps, default);
            Assert.Equal(new CheckpointResult(1, fixture.Engine.VisibleVersion, fixture.Engine.VisibleStamp), result);
            Assert.Equal(steps.Last.BytesTotal, steps.Last.BytesDone);
            Assert.True(steps.Count > 2);
            Assert.Throws<OperationCanceledException>(
                () => fixture.Engine.Checkpoint("/none", null, new CancellationToken(canceled: true)));
            Assert.Empty(files.List("/none"));
        }

        MemoryFileSystem left = files.Crash(3);
        left.CreateDirectory(MemoryEngineFixture.Directory);
        left.Rename("/copy", MemoryEngineFixture.Directory);
        using MemoryEngineFixture restored = new(left);
        CheckFilled(restored, 3_000);
    }

    /// <summary>Checkpoints follow one another on a thread while the writer goes on; each group writes its index to all keys.</summary>
    [Fact]
    public void ACheckpointBesideTheWriterHoldsOneIndexOnly()
    {
        MemoryFileSystem files = new();
        using BackgroundThreads threads = new(1);
        using (MemoryEngineFixture fixture = new(files, work: threads))
        {
            for (int group = 1; fixture.DurableAdvanced < 20; group++)
            {
                for (int i = 0; i < 300; i++)
                {
                    fixture.Put(MemoryEngineModelTests.Key(i), BitConverter.GetBytes((long)group));
                }

                fixture.EndGroup();
                fixture.Engine.BeginFlush();
            }
        }

        using MemoryEngineFixture reopened = new(files);
        Assert.True(reopened.Engine.AppliedIndex > 0);
        for (int i = 0; i < 300; i++)
        {
            Assert.Equal(reopened.Engine.AppliedIndex, BitConverter.ToInt64(reopened.Get(MemoryEngineModelTests.Key(i))!));
        }
    }

    [Fact]
    public void WorksOnARealDisk()
    {
        string directory = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        DiskFileSystem files = new();
        files.CreateDirectory(directory);
        try
        {
            using (MemoryEngineFixture fixture = new(files, directory: directory))
            {
                Fill(fixture, 2_500);
                fixture.EndGroup();
                fixture.Engine.BeginFlush();
                fixture.Work.RunAll();
                Assert.Null(fixture.Engine.Failure);
                Assert.Empty(fixture.Engine.Verify(default));
            }

            using MemoryEngineFixture reopened = new(files, directory: directory);
            Assert.Equal(1, reopened.Engine.AppliedIndex);
            CheckFilled(reopened, 2_500);
        }
        finally
        {
            files.DeleteDirectory(directory);
        }
    }

    private static void Fill(MemoryEngineFixture fixture, int keys)
    {
        for (int i = 0; i < keys; i++)
        {
            fixture.Put([77, .. MemoryEngineModelTests.Key(i)], Value(i));
        }
    }

    private static void CheckFilled(MemoryEngineFixture fixture, int keys)
    {
        for (int i = 0; i < keys; i++)
        {
            Assert.Equal(Value(i), fixture.Get([77, .. MemoryEngineModelTests.Key(i)]));
        }
    }

    private static byte[] Value(int i)
    {
        byte[] value = new byte[i % 1000 == 7 ? 100_000 : i % 90];
        new Random(i).NextBytes(value);
        return value;
    }

    private sealed class Steps : IProgress<CheckpointProgress>
    {
        public int Count { get; private set; }

        public CheckpointProgress Last { get; private set; }

        public void Report(CheckpointProgress value)
        {
            Assert.True(value.BytesDone >= Last.BytesDone);
            Last = value;
            Count++;
        }
    }
}
