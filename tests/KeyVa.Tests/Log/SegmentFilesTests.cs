using KeyVa.Io;
using KeyVa.Log;
using Xunit;

namespace KeyVa.Tests.Log;

/// <summary>The journal's files are made ahead of need, and never again once they were used.</summary>
public sealed class SegmentFilesTests
{
    private const string Folder = "/journal";

    private readonly MemoryFileSystem _disk = new();

    public SegmentFilesTests() => _disk.CreateDirectory(Folder);

    [Fact]
    public void ASpareIsHandedOutForItsSequenceAlone()
    {
        using SegmentFiles files = Files();
        files.PrepareSpare(2);
        Assert.True(_disk.FileExists(files.PathOf(2)));
        using StorageFile? spare = files.TryTake(2, 100, out _);
        Assert.Equal(files.PathOf(2), spare!.Path);
        using StorageFile? next = files.TryTake(3, 100, out _);
        Assert.Equal(files.PathOf(3), next!.Path);
    }

    // The sync thread reads the next sequence and may be late by as much as it takes to use that segment and to delete it.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ASpareAskedForLateIsNotMadeOnceItsSegmentIsGone(bool reserve)
    {
        using SegmentFiles files = Files();
        Assert.True(files.TryMakeReserve());
        (reserve ? files.TryTakeReserve(2, 100) : files.TryTake(2, 100, out _))!.Dispose();
        files.Delete(files.PathOf(2));
        files.PrepareSpare(2);
        Assert.False(_disk.FileExists(files.PathOf(2)));

        // And the late call has not taken the place of the spare that is needed.
        files.PrepareSpare(3);
        Assert.True(_disk.FileExists(files.PathOf(3)));
    }

    private SegmentFiles Files() => new(_disk, Folder, new JournalOptions { SegmentBytes = 4096, ReserveBytes = 4096 });
}
